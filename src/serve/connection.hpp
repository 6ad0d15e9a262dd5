#pragma once
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "gateway.hpp"
#include "listener.hpp"

namespace kmtool::serve {

class Worker;
using Steady = std::chrono::steady_clock;

/// What is read at once: most heads, and little enough for ten thousand connections.
inline constexpr std::size_t read_size = 2048;

/// Of this kind of loop and no other: nothing is looked up at run time.
using Stream = boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type>;

/// One connection. It belongs to one worker's thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Worker& worker, Accepted accepted, Gateway::Door door);

  void begin();
  /// Time is up, or the place is needed: says 408 where a head was begun, and closes.
  void expire();
  /// The server stops: answers what has arrived, and closes.
  void finish();
  void close();

 private:
  friend class Worker;
  enum class Waits { idle, head, write, drain };  ///< for what

  void read_more();
  /// A fault, such as too little memory, costs its connection and no other.
  template <typename Step>
  void guarded(Step step) noexcept;
  void on_read(std::size_t size);
  void on_writable();
  /// Answers every request in `data`, as far as the peer takes the answers.
  void proceed(std::string_view data);
  /// Answers requests until one is not whole, the connection is to end, or much is waiting to be sent; the bytes used.
  std::size_t serve(std::string_view data);
  void respond(const Answer& answer, bool head_only);
  bool send_out();  ///< true: everything has gone
  void drain();
  void now_waits(Waits what);

  Worker* worker_;
  Stream socket_;
  Peer peer_;
  Gateway::Door door_;
  std::array<char, read_size> buffer_{};
  std::string in_, out_;  ///< in use only while a head is not whole, or the peer does not read
  std::size_t used_ = 0;  ///< of buffer_
  std::size_t seen_ = 0, sent_ = 0, drained_ = 0;
  bool closing_ = false;       ///< after what is in out_
  bool incomplete_ = false;    ///< what is left is not a whole head
  bool another_head_ = false;  ///< than the one whose time is running
  Waits waits_ = Waits::idle;
  Steady::time_point deadline_{};
  std::list<std::shared_ptr<Connection>>::iterator place_{};
  bool listed_ = false, in_idle_ = false;
};

/// One thread with its connections.
class Worker {
 public:
  Worker(Gateway& gateway, const Options& options, std::size_t most);

  boost::asio::io_context& io() { return io_; }
  void run();  ///< until it was stopped and every connection is gone
  /// Thread-safe.
  void hand(Accepted accepted, Gateway::Door door);
  void stop();
  void evict_later();  ///< thread-safe

 private:
  friend class Connection;
  /// Makes room; false where there is nobody to send away.
  bool evict();
  void adopt(Accepted accepted, Gateway::Door door);
  void sweep();
  void sweep_later();
  void move_to_back(Connection& connection, bool idle);
  void forget(Connection& connection);
  [[nodiscard]] std::size_t count() const { return idle_.size() + busy_.size(); }
  const std::string& date(UnixTime now);

  Gateway* gateway_;
  const Options* options_;
  std::size_t most_;
  boost::asio::io_context io_{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO};  // one thread runs it; others only post
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  boost::asio::steady_timer timer_;
  Desk desk_;
  /// In the order of their deadlines: one list has one time-out, and whoever is touched goes to its end.
  std::list<std::shared_ptr<Connection>> idle_, busy_;
  Head head_;
  Answer answer_;
  std::string spare_;  ///< answers are written into it
  std::string date_;
  UnixTime date_of_ = -1;
  bool stopping_ = false;
  Steady::time_point stop_by_{};
};

}  // namespace kmtool::serve
