#include "question.hpp"

#include <algorithm>
#include <cctype>

#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::serve {
namespace {

constexpr std::string_view white_space = " \t";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(white_space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(white_space) - begin + 1);
}

bool same_word(std::string_view a, std::string_view small) {
  return std::equal(a.begin(), a.end(), small.begin(), small.end(),
                    [](char x, char y) { return std::tolower(static_cast<unsigned char>(x)) == y; });
}

// -- the client ---------------------------------------------------------------------------------------------------------

/// Calls `visit` with every hop from the right until it returns false.
template <typename Visit>
void hops_from_right(const Head& head, Visit visit) {
  for (auto field = head.fields.rbegin(); field != head.fields.rend(); ++field) {
    if (field->name != Name::forwarded_for) continue;
    std::string_view rest = field->value;
    for (;;) {
      const auto comma = rest.rfind(',');
      if (!visit(trimmed(comma == std::string_view::npos ? rest : rest.substr(comma + 1)))) return;
      if (comma == std::string_view::npos) break;
      rest = rest.substr(0, comma);
    }
  }
}

// -- the key ------------------------------------------------------------------------------------------------------------

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char small = static_cast<char>(c | 0x20);
  return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

/// Percent-escapes decoded; what is none stays, so that it is no key.
std::string decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
    out += escape ? static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])) : text[i];
    if (escape) i += 2;
  }
  return out;
}

class Keys {
 public:
  explicit Keys(Question& question) : question_(question) {}

  void add(std::string_view key) {
    if (key.empty()) return;
    if (question_.key.empty()) question_.key = key;
    if (question_.key != key) question_.two_keys = true;
  }

  void add_bearer(std::string_view value) {
    const auto space = value.find_first_of(white_space);
    if (space == std::string_view::npos || !same_word(value.substr(0, space), "bearer")) return;
    add(trimmed(value.substr(space)));
  }

  /// Every parameter of that name in the query of `uri`.
  void add_query(std::string_view uri, std::string_view name) {
    const auto mark = uri.find('?');
    if (mark == std::string_view::npos || name.empty()) return;
    std::string_view query = uri.substr(mark + 1);
    query = query.substr(0, query.find('#'));
    while (!query.empty()) {
      const auto end = query.find('&');
      const std::string_view pair = query.substr(0, end);
      query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
      const auto equals = pair.find('=');
      if (equals == std::string_view::npos || decoded(pair.substr(0, equals)) != name) continue;
      add_decoded(decoded(pair.substr(equals + 1)));
    }
  }

 private:
  void add_decoded(std::string value) {
    if (question_.key.empty()) {
      question_.decoded = std::move(value);
      add(question_.decoded);
    } else {
      add(value);  // compared only: it would not outlive this call
      cleanse(value.data(), value.size());
    }
  }
  Question& question_;
};

/// What follows /auth/envoy.
constexpr std::string_view envoy_prefix = "/auth/envoy", nginx_path = "/auth/nginx";

bool below(std::string_view target, std::string_view prefix) {
  return target.starts_with(prefix) &&
         (target.size() == prefix.size() || target[prefix.size()] == '/' || target[prefix.size()] == '?');
}

Profile profile_of(std::string_view target) {
  if (below(target, envoy_prefix)) return Profile::envoy;
  return path_of(target) == nginx_path ? Profile::nginx : Profile::plain;
}

void add_scopes(std::string_view value, std::vector<std::string_view>& scopes) {
  while (!value.empty()) {
    const auto end = value.find_first_of(" \t,");
    if (end != 0) scopes.push_back(value.substr(0, end));
    value = end == std::string_view::npos ? std::string_view{} : value.substr(end + 1);
  }
}

}  // namespace

TrustedProxies::TrustedProxies(const std::vector<std::string>& texts) {
  for (const auto& text : texts) add(text);
}

void TrustedProxies::add(const std::string& text) {
  if (text == "unix") {
    local = true;
    return;
  }
  const bool everything = text.ends_with("/0");
  if (!everything) networks.push_back(apikey::Network::parse(text));
  if (everything || apikey::cover_most(networks)) {
    throw Error::usage("trusted proxy " + printable(text) + ": with it most addresses are trusted, and nearly every client could say that it is another",
                       "name the proxies alone: --trusted-proxy 127.0.0.1, or the network that only they are in");
  }
}

bool TrustedProxies::contains(const apikey::Address& address) const {
  return std::any_of(networks.begin(), networks.end(),
                     [&address](const apikey::Network& network) { return network.contains(address); });
}

bool TrustedProxies::contains(const Peer& peer) const { return peer.local ? local : peer.address && contains(*peer.address); }

Client client_of(const Head& head, const Peer& peer, const TrustedProxies& trusted) {
  if (!trusted.contains(peer)) return {peer.address, false};
  Client client;
  hops_from_right(head, [&](std::string_view hop) {
    client.address = apikey::Address::parse(hop);
    client.garbled = !client.address;
    return client.address && trusted.contains(*client.address);
  });
  return client;
}

std::string_view path_of(std::string_view target) { return target.substr(0, target.find_first_of("?#")); }

bool came_through_proxy(const Head& head) {
  return head.has(Name::proxied) || head.has(Name::forwarded_for) || head.has(Name::forwarded_uri) ||
         head.has(Name::original_uri);
}

void read_question(const Head& head, const Peer& peer, const TrustedProxies& trusted, std::string_view query_key,
                   Question& question) {
  question.profile = profile_of(head.target);
  question.client = client_of(head, peer, trusted);
  Keys keys(question);
  // In the order of the manual; the views of the first key found are what is decided upon.
  for (const auto& field : head.fields) {
    if (field.name == Name::authorization) keys.add_bearer(field.value);
  }
  for (const auto& field : head.fields) {
    if (field.name == Name::api_key) keys.add(field.value);
  }
  keys.add_query(head.field(Name::original_uri), query_key);
  keys.add_query(head.field(Name::forwarded_uri), query_key);
  if (question.profile == Profile::envoy) keys.add_query(head.target, query_key);
  auto& attributes = question.attributes;
  attributes.client = question.client.address;
  attributes.referrer = head.field(Name::referrer);
  attributes.android_package = head.field(Name::android_package);
  attributes.android_certificate = head.field(Name::android_cert);
  attributes.ios_bundle = head.field(Name::ios_bundle);
  if (!trusted.contains(peer)) return;  // a client must not choose what it is asked for
  for (const auto& field : head.fields) {
    if (field.name == Name::scope) add_scopes(field.value, attributes.scopes);
  }
}

}  // namespace kmtool::serve
