#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/domain/name.hpp"
#include "kmtool/keys/adopt.hpp"

namespace kmtool::keys {

/// Why an object cannot be a key of kmtool.
struct Unfit {
  std::string why, hint;
  std::string wants = {};  ///< the options that would tell what the token does not: all of them
};

/// The objects of one CKA_ID as the parts of one key.
struct Candidate {
  op::VersionRecord version;  ///< role, type, id, label on the token; name and number are not chosen yet
  std::map<Part, pkcs11::Object> parts;
  std::optional<KeyRef> was;  ///< named and numbered as a home's own key
};

/// Throws Unfit.
Candidate candidate_of(op::Context& context, const std::vector<pkcs11::Object>& objects, const AdoptRequest& request);

/// What an object of this version should be.
pkcs11::ObjectSpec spec_of(const op::VersionRecord& version, Part part);

}  // namespace kmtool::keys
