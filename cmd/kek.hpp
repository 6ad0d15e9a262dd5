#pragma once
#include "common.hpp"
#include "kmtool/op/kek_out.hpp"

namespace kmtool::cmd {

/// --to-public-key, --fingerprint, --algorithm: of export-kek, and of gen for a KEK's backup.
void add_public_destinations(CLI::App* sub, op::KekDestinations& to);
/// Where no fingerprint was given, asks a person for that of each public key that is not in a request. Before the home is opened: nobody waits
/// for the person.
void ask_fingerprints(const Globals& globals, op::KekDestinations& to);
/// One line each: to whom, by what.
void print_recipients(Globals& globals, const std::vector<op::KekRecipient>& recipients);
Json recipients_json(const std::vector<op::KekRecipient>& recipients);

}  // namespace kmtool::cmd
