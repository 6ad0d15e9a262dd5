#pragma once
#include <filesystem>
#include <functional>
#include <vector>

#include "kmtool/op/context.hpp"
#include "kmtool/share/quorum.hpp"

namespace kmtool::share {

struct ReissueRequest {
  std::filesystem::path bundle;
  std::vector<std::filesystem::path> shares;  ///< old ones
  std::filesystem::path folder;               ///< the new bundle and the new shares
  std::optional<Quorum> quorum;               ///< the old one's where it is not given
  std::vector<Custodian> custodians;
  bool qr = false;
  std::function<void(const bundle::Summary&)> require_trusted;  ///< throws for a signer that is not known here
};
struct ReissueResult {
  op::BundleRecord bundle;
  std::string old_bundle;  ///< id
  std::vector<WrittenShare> shares;
  std::vector<std::string> warnings;
};
/// Takes a quorum's layer off and lays another over the same wrapped values: a
/// new gate secret, a new bundle with an id of its own, sealed anew by the KEK
/// and its parents, which must be on this token, and signed by this home. The
/// old shares still open old copies of the old bundle. Throws missing (66)
/// where a KEK that has to seal is not here.
ReissueResult reissue(op::Context& context, const ReissueRequest& request);

}  // namespace kmtool::share
