#pragma once
#include <optional>

#include "common.hpp"
#include "kmtool/share/quorum.hpp"

namespace kmtool::cmd {

struct QuorumOptions {
  std::string quorum, folder;
  std::vector<std::string> custodians;
  bool qr = false;
};
/// --quorum, --shares, --custodian, --qr: of export-kek, and of gen and rotate
/// for a KEK's backup; without --shares of share reissue.
void add_quorum(CLI::App* sub, QuorumOptions& o, bool with_folder = true);
/// nullopt where none was asked for. Throws usage (64) for half of one.
std::optional<share::QuorumRequest> quorum_of(const QuorumOptions& o);
Json shares_json(const std::vector<share::WrittenShare>& shares);
std::string share_line(const share::WrittenShare& share);
void print_shares(Globals& globals, const std::vector<share::WrittenShare>& shares);

}  // namespace kmtool::cmd
