#pragma once
#include <filesystem>
#include <functional>
#include <vector>

#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/kek_out.hpp"

namespace kmtool::keys {

/// Makes one version's objects on the token, read back; fills in the public key of a pair.
void make_on_token(op::Context& context, op::VersionRecord& version);

/// Throws unavailable (69) where the token cannot copy such keys.
void require_backup_possible(const pkcs11::Token& token, Role role, KeyType type);

/// A bundle that is written before its keys exist on the token.
struct Birth {
  std::filesystem::path target;  ///< checked
  std::vector<op::VersionRecord> keks;
  std::vector<policy::Waiver> waivers;
};
/// A restore drill with a file that is written and not yet under its name: read back, signature and seals proven, every value opened
/// under each KEK and held against the key that was wrapped (`born`, in the file's order). Throws damaged (65), I/O (74).
void prove_backup(op::Context& context, const std::filesystem::path& file, const op::BundleRecord& written, const std::vector<op::Kek>& keks,
                  const std::vector<std::vector<pkcs11::FreshObject>>& born);
struct BackedUp {
  op::BundleRecord bundle;
  std::string kept;  ///< where the bundle that lay there was moved to; empty: nowhere
};
/// Backup at birth in DESIGN.md's order (promise 3). `rows` gives the catalog rows that come with a version; the plan names the keys.
BackedUp make_backed_up(op::Context& context, op::Plan plan, std::vector<op::VersionRecord>& versions, const Birth& birth,
                        const std::function<std::vector<journal::Change>(const op::VersionRecord&)>& rows);

/// The same for a KEK, to parents and public keys: one KEK, a bundle of kind `kek`.
struct KekBirth {
  std::filesystem::path target;  ///< checked
  std::vector<op::KekRecipient> recipients;
  std::vector<policy::Waiver> waivers;
  op::ValueLayer layer;
};
BackedUp make_kek_backed_up(op::Context& context, op::Plan plan, op::VersionRecord& version, const KekBirth& birth,
                            const std::vector<journal::Change>& rows);

}  // namespace kmtool::keys
