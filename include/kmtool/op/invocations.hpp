#pragma once
#include "kmtool/op/context.hpp"

namespace kmtool::op {

/// How often a key version has been used, or may have been, with AES-GCM. Kind `gcm`, id = CKA_ID in hex.
struct Invocations {
  std::uint64_t used = 0;
  std::uint64_t most = 0;      ///< policy::gcm_invocations() for where the key comes from
  bool uncertain = false;      ///< the journal was put back to an older state meanwhile: nobody knows
};
Invocations invocations_of(Context& context, const VersionRecord& version);

/// The catalog row that sets `count` more invocations aside; the caller journals it in the entry that grants the use, before the token is
/// asked: a crash costs some, and never lets one be used twice. Throws refused (77, G-WORK) where the key would pass its number
/// (SP 800-38D, 8.3) and asks for its rotation.
journal::Change reserve_invocations(Context& context, const VersionRecord& version, std::uint64_t count);

}  // namespace kmtool::op
