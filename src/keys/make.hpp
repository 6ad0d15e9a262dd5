#pragma once
#include <filesystem>
#include <functional>
#include <vector>

#include "kmtool/op/bundle_out.hpp"

namespace kmtool::keys {

/// Makes one version's objects on the token, read back; fills in the public key of a pair.
void make_on_token(op::Context& context, op::VersionRecord& version);

/// Throws usage (64) for a KEK, unavailable (69) where the token cannot copy such keys.
void require_backup_possible(const pkcs11::Token& token, Role role, KeyType type);

/// A bundle that is written before its keys exist on the token.
struct Birth {
  std::filesystem::path target;  ///< checked
  std::vector<op::VersionRecord> keks;
  std::vector<policy::Waiver> waivers;
};
/// Backup at birth in DESIGN.md's order (promise 3). `rows` gives the catalog rows that come with a version; the plan names the keys.
op::BundleRecord make_backed_up(op::Context& context, op::Plan plan, std::vector<op::VersionRecord>& versions, const Birth& birth,
                                const std::function<std::vector<journal::Change>(const op::VersionRecord&)>& rows);

}  // namespace kmtool::keys
