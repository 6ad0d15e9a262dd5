#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/transfer/rewrap.hpp"

namespace kmtool::transfer {

/// A bundle that was read once and proven, with the KEKs that open it and those that will.
struct Prepared {
  op::BundleRecord old;
  std::string digest;         ///< of the file as it was proven; the second reading must give it again
  std::size_t recipient = 0;  ///< whose KEK opens it
  pkcs11::Handle opens;
  WrapAlgorithm opens_by = WrapAlgorithm::aes_kwp;
  std::vector<op::VersionRecord> keks;  ///< of the new bundle, in the order of the old recipients
  WrapAlgorithm algorithm = WrapAlgorithm::aes_kwp;
  std::uint64_t records = 0;
  std::vector<policy::Waiver> waivers;
};

/// Token objects of KEK versions, looked up once each.
class KekObjects {
 public:
  explicit KekObjects(op::Context& context) : context_(context) {}
  const op::Kek& get(const op::VersionRecord& version);

 private:
  op::Context& context_;
  std::map<std::string, op::Kek> found_;
};

/// Reads and proves one bundle. The reason why it stays as it is goes into `left`.
std::optional<Prepared> prepare(op::Context& context, const RewrapRequest& request, const op::BundleRecord& bundle, KekObjects& keks,
                                std::vector<NotRewrapped>& left);

}  // namespace kmtool::transfer
