#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/transfer/rewrap.hpp"
#include "transfer/compromises.hpp"

namespace kmtool::transfer {

/// A bundle that was read once and proven, with the KEKs that open it and those that will.
struct Prepared {
  op::BundleRecord old;
  std::size_t recipient = 0;  ///< whose KEK opens it
  pkcs11::Handle opens, seal;
  bundle::Summary summary;
  WrapAlgorithm opens_by = WrapAlgorithm::aes_kwp;
  std::vector<op::VersionRecord> keks;  ///< of the new bundle, in the order of the old recipients
  WrapAlgorithm algorithm = WrapAlgorithm::aes_kwp;
  std::uint64_t records = 0;
  std::vector<policy::Waiver> waivers;
  std::vector<std::string> labels;  ///< of its keys; in a dry run only
  std::vector<std::string> compromised;  ///< labels of keys that the bundle does not call compromised yet
  std::vector<std::string> exposed;      ///< the same of keys that a compromised KEK was over
  std::string compromised_kek;           ///< a recipient that was called compromised; empty: none
  std::vector<journal::Change> exposures;  ///< the catalog's rows for that, of keys that have none yet
};

/// Records as the catalog has their keys now: a bundle is older than that.
class Today {
 public:
  explicit Today(op::Context& context);
  /// Sets the state, and the end of the period, of the version that the record is. Compromised it is by a copy too. A key that was merely
  /// destroyed may come back as what it was. `exposed`: its bundle is under a compromised KEK, so that it is compromised too.
  void bring_up_to_date(bundle::Record& record, bool exposed);
  [[nodiscard]] std::string compromised_kek(const bundle::Header& header) { return compromises_.compromised_kek(header); }
  /// A compromised KEK was over it, and no more than that is known against it.
  [[nodiscard]] bool only_exposed(const bundle::Record& record);
  /// The catalog's row for a key of a bundle under a compromised KEK; nullopt where it is there.
  [[nodiscard]] std::optional<journal::Change> exposure(const bundle::Record& record, const std::string& kek) const;

 private:
  op::Context& context_;
  Compromises compromises_;
  std::map<Bytes, std::pair<State, std::optional<UnixTime>>> versions_;  ///< by CKA_ID
};

/// The home's KEK versions by CKA_ID, and their token objects, looked up once each.
class KekObjects {
 public:
  explicit KekObjects(op::Context& context);
  /// nullptr: unknown here, or destroyed.
  [[nodiscard]] const op::VersionRecord* version_with(const Bytes& id) const;
  /// nullptr: the token has lost it.
  const op::Kek* find(const op::VersionRecord& version);
  /// Throws missing (66) then.
  const op::Kek& get(const op::VersionRecord& version);

 private:
  op::Context& context_;
  std::map<Bytes, op::VersionRecord> versions_;
  std::map<std::string, std::optional<op::Kek>> found_;
};

/// Reads and proves the bundles, in their order; the reason why one stays as it is goes into `left`. `take` may throw.
void prepare_all(op::Context& context, const RewrapRequest& request, KekObjects& keks, Today& today, std::vector<NotRewrapped>& left,
                 const std::function<void(Prepared&&)>& take);

}  // namespace kmtool::transfer
