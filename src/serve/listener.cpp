#include "listener.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "kmtool/core/text.hpp"

namespace kmtool::serve {
namespace {

constexpr int backlog = 4096;  // the kernel takes the lower of it and net.core.somaxconn

union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
  sockaddr_un local;
  sockaddr_storage room;
};

Error cannot_listen(const std::string& name, int error_number) {
  const std::string message = "cannot listen on " + printable(name) + ": " + std::strerror(error_number);
  return error_number == EADDRINUSE ? Error::busy(message, "another program listens there") : Error::io(message);
}

Fd make_socket(int family, const std::string& name) {
  Fd fd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) throw cannot_listen(name, errno);
  return fd;
}

Error bad_address(const std::string& text) {
  return Error::usage("cannot listen on " + printable(text) + ": not an address",
                      "write 127.0.0.1:9321, [::1]:9321 or unix:/run/kmtool/gate.sock");
}

std::optional<Peer> peer_of(const SocketAddress& address) {
  switch (address.any.sa_family) {
    case AF_UNIX:
      return Peer{true, std::nullopt};
    case AF_INET:
      return Peer{false, apikey::Address::from_v4(reinterpret_cast<const std::uint8_t*>(&address.v4.sin_addr))};
    case AF_INET6:
      return Peer{false, apikey::Address::from_v6(reinterpret_cast<const std::uint8_t*>(&address.v6.sin6_addr))};
    default:
      return std::nullopt;
  }
}

/// A name in the file system that no server answers on: what a killed one left behind.
bool is_stale(const SocketAddress& address, socklen_t size, const std::string& name) {
  const Fd probe = make_socket(AF_UNIX, name);
  return connect(probe.get(), &address.any, size) != 0 && errno == ECONNREFUSED;
}

}  // namespace

Listener::Listener(const std::string& text, unsigned socket_mode) : name_(text) {
  if (text.starts_with("unix:")) {
    open_unix(text.substr(5), socket_mode);
  } else {
    open_tcp(text);
  }
  if (listen(fd_.get(), backlog) != 0) throw cannot_listen(text, errno);
}

Listener::~Listener() {
  if (!fd_ || path_.empty()) return;
  // Only our own: another server may have taken the name.
  struct stat status {};
  if (lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_) unlink(path_.c_str());
}

void Listener::open_unix(const std::string& path, unsigned mode) {
  SocketAddress address{};
  if (path.empty() || path.size() >= sizeof address.local.sun_path || path.find('\0') != std::string::npos)
    throw bad_address(name_);
  address.local.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.local.sun_path);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  fd_ = make_socket(AF_UNIX, name_);
  struct stat status {};
  if (lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode))
      throw Error::exists("cannot listen on " + printable(name_) + ": it exists and is not a socket");
    if (!is_stale(address, size, name_)) throw cannot_listen(name_, EADDRINUSE);
    unlink(path.c_str());
  }
  // Nobody can connect before listen(), so that the mode is set in time.
  if (bind(fd_.get(), &address.any, size) != 0) throw cannot_listen(name_, errno);
  path_ = std::filesystem::absolute(path);
  if (lstat(path.c_str(), &status) != 0 || chmod(path.c_str(), mode) != 0) throw cannot_listen(name_, errno);
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

void Listener::open_tcp(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) throw bad_address(text);
  std::string host = text.substr(0, colon);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const char* begin = text.data() + colon + 1;
  const char* end = text.data() + text.size();
  const auto [stopped, problem] = std::from_chars(begin, end, port);
  const auto where = apikey::Address::parse(host);
  if (problem != std::errc{} || stopped != end || !where || where->v6 != bracketed) throw bad_address(text);
  SocketAddress address{};
  socklen_t size = sizeof address.v4;
  if (where->v6) {
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(port);
    std::copy(where->bytes.begin(), where->bytes.end(), reinterpret_cast<std::uint8_t*>(&address.v6.sin6_addr));
    size = sizeof address.v6;
  } else {
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(port);
    std::copy_n(where->bytes.begin(), 4, reinterpret_cast<std::uint8_t*>(&address.v4.sin_addr));
  }
  fd_ = make_socket(where->v6 ? AF_INET6 : AF_INET, text);
  const int one = 1;
  setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);  // a restart need not wait for old connections
  if (bind(fd_.get(), &address.any, size) != 0) throw cannot_listen(text, errno);
  if (getsockname(fd_.get(), &address.any, &size) != 0) throw cannot_listen(text, errno);
  name_ = text.substr(0, colon + 1) + std::to_string(ntohs(where->v6 ? address.v6.sin6_port : address.v4.sin_port));
}

Accepted accept_from(int fd) {
  SocketAddress address{};
  socklen_t size = sizeof address;
  Fd got(accept4(fd, &address.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!got) return {Fd{}, {}, errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno};
  const auto peer = peer_of(address);
  if (!peer) return {Fd{}, {}, ECONNABORTED};
  const int one = 1;
  if (!peer->local) setsockopt(got.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return {std::move(got), *peer, 0};
}

std::size_t raise_open_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<std::size_t>(limit.rlim_cur) : 1024;
}

}  // namespace kmtool::serve
