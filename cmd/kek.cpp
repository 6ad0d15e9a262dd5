#include "kek.hpp"

#include "kmtool/bundle/request.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

void add_public_destinations(CLI::App* sub, op::KekDestinations& to) {
  repeatable(sub->add_option("--to-public-key", to.public_keys, "a transport key elsewhere: PEM, certificate, or its site's signed request; may be repeated")->type_name("PEM"));
  repeatable(sub->add_option("--fingerprint", to.fingerprints, "SHA-256 of that public key, from the receiving site; one for each")->type_name("HEX"));
  sub->add_option("--algorithm", to.algorithm, "how to wrap to public keys, e.g. RSA-OAEP-SHA256 (the best that both tokens are known to do)")->type_name("ALGORITHM");
}

void ask_fingerprints(const Globals& globals, op::KekDestinations& to) {
  if (!to.fingerprints.empty()) return;
  for (const auto& file : to.public_keys) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(file, error) || bundle::looks_like_request(read_file(file))) continue;
    const auto said = ask(globals, "fingerprint of the key in " + file.string() + ", as the receiving site says it: ");
    if (said && !said->empty()) to.fingerprints.push_back(*said);
  }
}

void print_recipients(Globals& globals, const std::vector<op::KekRecipient>& recipients) {
  for (const auto& recipient : recipients) {
    const auto& line = recipient.line;
    std::string text = "to         " + (line.is_public() ? "public key " + line.public_key : "kek " + line.kek);
    text += ", " + std::string(to_text(line.type)) + ", by " + std::string(line.algorithm_text());
    if (line.is_public()) text += ", pinned by " + printable(recipient.pinned_by);
    globals.out.line(text);
  }
  for (const auto& remark : op::remarks_on(recipients)) note(globals, remark);
}

Json recipients_json(const std::vector<op::KekRecipient>& recipients) {
  Json list = Json::array();
  for (const auto& recipient : recipients) {
    const auto& line = recipient.line;
    Json one = line.is_public() ? Json{{"public_key", line.public_key}} : Json{{"kek", line.kek}, {"id", hex(line.id)}};
    one["type"] = to_text(line.type);
    one["strength"] = line.strength;
    one["algorithm"] = line.algorithm_text();
    if (line.is_public()) one["pinned_by"] = recipient.pinned_by;
    list.push_back(std::move(one));
  }
  return list;
}

}  // namespace kmtool::cmd
