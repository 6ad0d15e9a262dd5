#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/op/context.hpp"

namespace kmtool::transfer {

struct WrapRequest {
  std::vector<std::string> keys;  ///< references; empty with all
  bool all = false;
  std::optional<Role> role;       ///< with all
  std::vector<std::string> keks;
  std::filesystem::path out;
  int sessions = 0;  ///< in flight; 0: the policy's
};
struct WrapResult {
  op::BundleRecord bundle;
  std::vector<bundle::Recipient> recipients;
  std::vector<std::string> skipped;  ///< with all: keys that may not leave the token, and why
  std::string kept;                  ///< where the bundle that lay there was moved to: it is the only one with some key; empty: nowhere
  std::vector<std::string> exposed = {};  ///< labels of keys that were under a compromised KEK: the bundle calls them compromised
};
/// Wraps key versions under one or more KEKs into a bundle (DESIGN.md). One C_WrapKey per key and KEK. With `all`: every
/// exportable version that may be wrapped; non-exportable ones are named in `skipped`.
WrapResult wrap(op::Context& context, const WrapRequest& request);

/// Who signed, as far as it is known here.
struct SignerFound {
  bool trusted = false;
  std::string who;  ///< `this home`, a pinned name, `--signer`; for an unknown one its fingerprint
};
/// Holds the signature against `pem` (when given), else this home's own signers and the pinned ones. A signature that
/// names a known key but is bad throws damaged (65).
SignerFound find_signer(op::Context* context, const std::optional<std::filesystem::path>& pem, const bundle::Summary& summary,
                        const std::string& file);

struct VerifyResult {
  bundle::Summary summary;
  SignerFound signer;
  std::vector<std::string> seals;  ///< per seal, in their order: `ok` or `not checked`
};
/// Structure and signature; seals of the KEKs that the context's token holds (context may be null: no home).
VerifyResult verify(op::Context* context, const std::filesystem::path& file, const std::optional<std::filesystem::path>& signer);

struct UnwrapRequest {
  std::filesystem::path file;
  std::vector<std::string> names;  ///< empty: all records
  std::string as;                  ///< new name, for a single key
  bool activate = false, check = false;
  std::optional<std::filesystem::path> signer;
  int sessions = 0;  ///< in flight; 0: the policy's
};
struct UnwrapResult {
  std::vector<op::VersionRecord> keys;
  bool checked = false;  ///< a drill was made; false in a dry run of one
  std::vector<std::string> compared;  ///< drill: labels that were compared with the key on the token
};
/// Restores keys. Signature (of a trusted signer) and seal are verified before any C_UnwrapKey; restored keys are process-only
/// (deactivated) unless `activate`, still within their originator period, and as policy asks of a key made here (policy::judge_activation).
/// A name that exists is refused, but for further versions of a key that was restored too. A key that is suspended here is refused under
/// whatever name. `check`: as session objects, compared, then gone.
UnwrapResult unwrap(op::Context& context, const UnwrapRequest& request);

}  // namespace kmtool::transfer
