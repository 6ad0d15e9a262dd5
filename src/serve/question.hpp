#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "head.hpp"
#include "kmtool/apikey/request.hpp"
#include "kmtool/core/secret.hpp"

namespace kmtool::serve {

/// Who speaks at the other end of a connection.
struct Peer {
  bool local = false;                      ///< a unix socket
  std::optional<apikey::Address> address;  ///< of TCP
};

/// Whose X-Forwarded-For is believed.
struct TrustedProxies {
  std::vector<apikey::Network> networks;
  bool local = false;  ///< everybody on the unix socket

  TrustedProxies() = default;
  /// `unix`, or a network, each; throws usage (64), also where together they are every address.
  explicit TrustedProxies(const std::vector<std::string>& texts);
  void add(const std::string& text);
  [[nodiscard]] bool contains(const apikey::Address& address) const;
  [[nodiscard]] bool contains(const Peer& peer) const;
};

/// Where a request came from, as far as somebody trustworthy says so.
struct Client {
  std::optional<apikey::Address> address;  ///< nullopt: nobody said
  bool garbled = false;                    ///< X-Forwarded-For has no address where one is needed
};

/// The peer itself, unless it is a trusted proxy: then the rightmost hop of X-Forwarded-For (all its lines, in order) that is not
/// one of the trusted; the leftmost where all are. What stands left of that hop was written by strangers and is not looked at. A
/// trusted proxy that names nobody leaves the client unknown: it must not lend its own address to everybody who comes through it.
Client client_of(const Head& head, const Peer& peer, const TrustedProxies& trusted);

/// Which proxy asks, told by the path: only the answer to a rate that is used up differs.
enum class Profile {
  plain,  ///< every path but the others
  nginx,  ///< /auth/nginx: 403 instead of 429, which auth_request takes for a failure
  envoy,  ///< /auth/envoy and what follows, which is the original path and query
};

/// A request for a verdict.
struct Question {
  Profile profile = Profile::plain;
  std::string_view key;   ///< empty: none was given; a view of the head or of `decoded`
  std::string decoded;    ///< a key out of a query, its percent-escapes decoded; cleansed on destruction
  bool two_keys = false;  ///< different keys: whose request would it be?
  Client client;
  apikey::Request attributes;  ///< the times are left to the caller

  Question() = default;
  Question(const Question&) = delete;
  Question& operator=(const Question&) = delete;
  ~Question() { cleanse(decoded.data(), decoded.size()); }
};

/// Fills `question` from a head. The key is looked for in every place: `Authorization: Bearer`, `X-Api-Key`, and the parameter
/// `query_key` (empty: nowhere) of the original URI's query: X-Original-URI, X-Forwarded-Uri, Envoy's path. The same key in
/// several places is one key. X-Kmtool-Scope is what the proxy demands of the key; of peers that are no trusted proxies it is not
/// looked at.
void read_question(const Head& head, const Peer& peer, const TrustedProxies& trusted, std::string_view query_key,
                   Question& question);

/// The path of a target, without its query.
std::string_view path_of(std::string_view target);
/// Whether somebody stands between the client and us: such a request must not reach what is not a check.
bool came_through_proxy(const Head& head);

}  // namespace kmtool::serve
