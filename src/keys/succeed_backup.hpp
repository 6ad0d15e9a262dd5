#pragma once
#include <string>
#include <vector>

#include "kmtool/keys/succeed.hpp"

namespace kmtool::keys {

/// The KEKs under which a key's successor is backed up: those that were named, else those of the bundle that holds the old version, as they
/// are now. Throws missing (66) where neither is known.
std::vector<op::VersionRecord> recipients_of(const op::Context& context, const SuccessorRequest& request);

/// To whom a KEK's successor goes: whoever was named, else whoever the old one's backups are for. Throws refused (77, G-VAULT) where a backup
/// of the old one opens with a quorum, or it is not known whether it does, and the successor's would not; missing (66) where nobody is known.
std::vector<op::KekRecipient> kek_recipients_of(op::Context& context, const SuccessorRequest& request, std::vector<std::string>& notes);

/// Says what to do about a missing backup, and for whom it will be (77, G-VAULT).
[[noreturn]] void refuse_without_backup(op::Context& context, const SuccessorRequest& request);

}  // namespace kmtool::keys
