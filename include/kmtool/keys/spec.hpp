#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "kmtool/keys/gen.hpp"

namespace kmtool::keys {

/// A list of keys that shall exist (kmtool-spec(5)).
struct Spec {
  std::vector<GenRequest> keys;
};
/// Strict JSON with comments. Backup files are looked for from `folder` on. Throws config (78) naming the key and the field.
Spec parse_spec(const std::string& text, const std::string& name, const std::filesystem::path& folder);
Spec read_spec(const std::filesystem::path& path);

/// A key that exists and is not as the list has it. Nothing changes such a key: attributes are made with it.
struct Difference {
  std::string key, field, wanted, found;
};
struct SpecResult {
  std::vector<op::VersionRecord> made;    ///< in a dry run: what would be
  std::vector<op::BundleRecord> backups;  ///< of those
  std::vector<std::string> unchanged;     ///< names that exist as wanted
  std::vector<Difference> differences;
};
/// Makes what is missing, in the order of the list (a KEK that is listed first can back up a key that follows), and says where
/// what exists differs. Run again it changes nothing. Each entry is all or nothing; a failure leaves the entries before it done,
/// and `result` has them.
void apply_spec(op::Context& context, const Spec& spec, SpecResult& result);

}  // namespace kmtool::keys
