#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace kmtool {

/// `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`
bool is_name(std::string_view text);
/// Throws usage (64) naming the pattern and what kind of name it was (`what`: "key name", "signer name").
void require_name(std::string_view text, const std::string& what);

/// What a user writes: `payments` (the active version) or `payments@3`.
struct KeyRef {
  std::string name;
  std::optional<int> version;
  /// Throws usage (64). Versions are 1…999999 without leading zeros.
  static KeyRef parse(std::string_view text);
  [[nodiscard]] std::string text() const;
};

/// `payments@3`, the CKA_LABEL of a version.
std::string label_of(const std::string& name, int version);
/// Is this the label of a version? What KeyRef::parse() takes, with a version in it.
bool is_version_label(std::string_view text);
/// `payments` of `payments@3`: whose version a label names. A text without a version is all name.
std::string name_in(std::string_view label);

}  // namespace kmtool
