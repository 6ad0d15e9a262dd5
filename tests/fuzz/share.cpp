// A share's text, as a custodian may have typed it from paper. What is accepted is written again in one way, which is read as the
// same share; and a share with one digit changed is refused.
#include <algorithm>

#include "kmtool/share/share.hpp"
#include "target.hpp"

using namespace kmtool;

namespace {

SecretBytes secret(std::string_view text) { return SecretBytes(view(text)); }
std::string plain(const SecretBytes& text) { return to_text(text.reveal()); }

void same(const share::Share& one, const share::Share& other) {
  fuzz::require(one.bundle == other.bundle && one.index == other.index && one.custodian == other.custodian);
  fuzz::require(one.quorum.needed == other.quorum.needed && one.quorum.shares == other.quorum.shares);
  fuzz::require(std::ranges::equal(one.value.reveal(), other.value.reveal()) && share::commitment(one) == share::commitment(other));
}

/// One digit of the rows changed into another: the row's check or the whole's finds it.
void mistyped(std::string text, std::size_t which) {
  const auto rows = text.find("\n1 ");
  const auto digit = [&](std::size_t at) { return (text[at] >= '0' && text[at] <= '9') || (text[at] >= 'A' && text[at] <= 'Z'); };
  std::size_t at = rows + 11 + which % (text.size() - rows - 11);
  while (at < text.size() && (!digit(at) || text[at - 1] == '\n' || text[at + 1] == ' ')) ++at;
  if (at >= text.size() || text.find("check", rows) <= at) return;
  text[at] = text[at] == '7' ? 'X' : '7';
  bool refused = false;
  try {
    share::parse(secret(text), "share");
  } catch (const Error& error) {
    refused = error.exit() == ExitCode::damaged;
  }
  fuzz::require(refused);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  fuzz::expect_refusal([&] {
    const auto share = share::parse(secret(text), "share");
    fuzz::require(share.index >= 1 && share.index <= share.quorum.shares && share.quorum.needed >= 2);
    const auto written = plain(share::dump(share));
    const auto again = share::parse(secret(written), "share");
    same(share, again);
    fuzz::require(plain(share::dump(again)) == written);
    mistyped(written, size);
  });
  fuzz::expect_refusal([&] {
    const auto quorum = share::Quorum::parse(std::string(text));
    fuzz::require(quorum.needed >= 2 && quorum.needed <= quorum.shares && quorum.shares <= 255);
    fuzz::require(std::to_string(quorum.needed) + "/" + std::to_string(quorum.shares) == text);
  });
  return 0;
}
