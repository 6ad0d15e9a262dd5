#pragma once
#include <filesystem>
#include <string>

#include "kmtool/core/file.hpp"
#include "question.hpp"

namespace kmtool::serve {

/// A socket that listens, not blocking. A unix socket's name is removed with it.
class Listener {
 public:
  /// `127.0.0.1:9321`, `[::1]:9321`, `unix:PATH`. Names are not resolved: which address would it be? Throws usage (64) for other
  /// texts, io (74) where the address cannot be had, busy (75) where another server answers there. A unix socket that nobody
  /// listens on any more is replaced.
  Listener(const std::string& text, unsigned socket_mode);
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) = delete;
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// As it was given, with the port that the kernel chose in the place of 0.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  void open_unix(const std::string& path, unsigned mode);
  void open_tcp(const std::string& text);
  Fd fd_;
  std::string name_;
  std::filesystem::path path_;  ///< of a unix socket
  std::uint64_t device_ = 0, inode_ = 0;
};

struct Accepted {
  Fd fd;
  Peer peer;
  int error = 0;  ///< errno; 0 and no fd: nobody is waiting
};
/// The next connection of a listening socket: not blocking, closed on exec, without Nagle's delay.
Accepted accept_from(int fd);

/// Raises the limit of open files to what is allowed, and returns it.
std::size_t raise_open_files();

}  // namespace kmtool::serve
