#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kmtool/core/progress.hpp"
#include "kmtool/core/time.hpp"

/// The gateway: answers the forward-auth requests of nginx, Traefik and Envoy out of a signed snapshot (kmtool-apikey-serve(1)).
/// It has neither home nor token, and denies whenever it does not know.
namespace kmtool::serve {

struct Options {
  std::filesystem::path snapshot;              ///< looked at fifty times a second
  std::vector<std::filesystem::path> signers;  ///< PEM: whose snapshots are served
  std::filesystem::path state;                 ///< the highest sequence, and the usage spool
  std::vector<std::string> listen;             ///< `ADDR:PORT`, `[V6]:PORT` (port 0: any), `unix:PATH`
  std::vector<std::string> admin_listen;       ///< /metrics and /healthz are answered only there, where there are any
  std::vector<std::string> trusted_proxies;    ///< networks, or `unix`
  std::string query_key = "api_key";           ///< parameter of the original URI that may hold the key; empty: none
  unsigned socket_mode = 0660;                 ///< of unix sockets
  int threads = 1;                             ///< 1…64
  std::size_t max_connections = 0;             ///< 0: what the limit of open files allows; further ones push out idle ones
  std::chrono::seconds header_timeout{10};     ///< for a head from its first byte on, and for whoever does not read our answers
  std::chrono::seconds idle_timeout{120};       ///< longer than the proxies keep theirs, so that they close first
  std::chrono::seconds flush_interval{60};     ///< of usage
  std::chrono::seconds grace{5};               ///< for what is in flight when told to stop
  Clock clock = system_clock();
};

/// What was done, for the line at the end.
struct Summary {
  std::uint64_t allowed = 0, denied = 0, bad_requests = 0, connections = 0;
};

/// One line for the operator, without its LF. May be called on any thread, one at a time.
using Log = std::function<void(const std::string& line)>;

/// Serves until `stop` is requested, finishes what is in flight, writes the usage and returns. SIGHUP looks at the snapshot at
/// once. Says `listening on …` for every address when it is ready, and READY=1 to systemd where NOTIFY_SOCKET is set. Throws
/// usage (64) for what is wrong in the options; missing (66), config (78), busy (75) or io (74) for signers, state and addresses
/// that cannot be used; io (74) at the end when the last usage could not be written. A snapshot that is missing or not accepted
/// is no error: everything is denied until a good one lies there.
Summary run(const Options& options, const StopToken& stop, const Log& log);

}  // namespace kmtool::serve
