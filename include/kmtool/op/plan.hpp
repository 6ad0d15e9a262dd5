#pragma once
#include <map>
#include <string>
#include <vector>

#include "kmtool/core/json.hpp"
#include "kmtool/domain/attributes.hpp"
#include "kmtool/journal/entry.hpp"

namespace kmtool::op {

/// A key that will be made: its objects all carry this label and CKA_ID.
struct PlannedKey {
  std::string label;
  Bytes id;
  Role role = Role::data;
  KeyType type = KeyType::aes256;
  bool extractable = false;
  bool imported = false;  ///< unwrapped: LOCAL, ALWAYS_SENSITIVE and NEVER_EXTRACTABLE will be false
};

/// A bundle that will be written.
struct PlannedFile {
  std::string final_path, temporary_path;
  std::string bundle;     ///< its id: tells our file from another under the same name
  std::string replaces;   ///< id of the bundle that lies under this name until then; empty: none
  std::string kept_path;  ///< where that one is kept; empty: it is gone when the new one lands
};

/// What an intent says before the token acts: enough to finish or undo after a crash at any point.
struct Plan {
  std::string command, target;
  std::vector<PlannedKey> keys;
  std::vector<PlannedFile> files;
  std::vector<journal::Change> finish;         ///< catalog rows to set when the files turn out to have landed
  bool each_alone = false;                     ///< files stand for themselves: some may have landed and others not (re-wrapping)
  std::vector<std::string> destroys;           ///< versions whose objects will go; `begin` says that they are destroyed
  std::vector<journal::Change> begin;          ///< rows that hold from the intent on
  std::vector<journal::Change> back;           ///< rows that take `begin` back when nothing was destroyed; not kept in the intent
  std::map<std::string, std::size_t> nameless; ///< objects without label and id that were there before, by fingerprint; run() fills it
  Json details = Json::object();

  /// As catalog rows of kind `intent` under this random id; each row fits a journal entry.
  [[nodiscard]] std::vector<journal::Change> to_changes(const std::string& id) const;
  /// The rows that remove it.
  [[nodiscard]] std::vector<journal::Change> removal(const std::string& id) const;
  static std::string row_id(const std::string& id, std::size_t number);
  static Plan from_rows(const std::vector<Json>& rows);
};

/// What acting gave.
struct Outcome {
  std::vector<journal::Change> changes;
  Json details = Json::object();
};

}  // namespace kmtool::op
