// A request to the gateway: its head, and what is taken out of it.
#include "serve/question.hpp"

#include "target.hpp"

using namespace kmtool;
using State = serve::HeadResult::State;

namespace {

/// The same bytes in pieces, as a slow network brings them.
serve::HeadResult in_pieces(std::string_view bytes, std::size_t piece, serve::Head& head) {
  serve::HeadResult result;
  std::size_t seen = 0;
  for (std::size_t size = 0; size < bytes.size() && result.state == State::incomplete;) {
    size = std::min(size + piece, bytes.size());
    result = serve::read_head(bytes.substr(0, size), head, seen);
  }
  return result;
}

void ask(const serve::Head& head) {
  static const auto trusted = [] {
    serve::TrustedProxies out;
    out.add("10.0.0.0/8");
    return out;
  }();
  const serve::Peer proxy{false, apikey::Address::parse("10.0.0.1")}, stranger{false, apikey::Address::parse("198.51.100.1")};
  serve::Question through, direct;
  serve::read_question(head, proxy, trusted, "api_key", through);
  serve::read_question(head, stranger, trusted, "api_key", direct);
  fuzz::require(direct.client.address == stranger.address && !direct.client.garbled && direct.attributes.scopes.empty());
  fuzz::require(!through.client.address || !through.client.garbled);
  fuzz::require(through.key == direct.key && through.two_keys == direct.two_keys);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto bytes = fuzz::text_of(data, size);
  serve::Head head;
  std::size_t seen = 0;
  const auto result = serve::read_head(bytes, head, seen);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{2048}}) {
    serve::Head other;
    const auto same = in_pieces(bytes, piece, other);
    fuzz::require(size == 0 || (same.state == result.state && same.size == result.size && std::string_view(same.why) == result.why));
    fuzz::require(other.fields.size() == head.fields.size());
  }
  if (result.state != State::complete) return 0;
  fuzz::require(result.size <= serve::max_head && bytes.find("\r\n\r\n") + 4 == result.size);
  fuzz::require(!head.target.empty() && head.target[0] == '/');
  for (const auto& field : head.fields) fuzz::require(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
  ask(head);
  return 0;
}
