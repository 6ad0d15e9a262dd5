#include "kmtool/serve/serve.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/signal_set.hpp>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "connection.hpp"

namespace kmtool::serve {
namespace {

using boost::asio::posix::stream_descriptor;
using boost::system::error_code;
using namespace std::chrono_literals;

/// Descriptors that are not connections: files, sockets, pipes of our own.
constexpr std::size_t reserved = 64;
/// How many connections are taken from a socket before others are looked at.
constexpr int at_once = 128;

/// systemd's notification protocol: a datagram to the socket that the environment names (sd_notify(3)).
void notify(const char* what) {
  const char* name = std::getenv("NOTIFY_SOCKET");
  if (name == nullptr || (name[0] != '/' && name[0] != '@')) return;
  sockaddr_un address{};
  const std::size_t size = std::strlen(name);
  if (size >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name, size);
  if (name[0] == '@') address.sun_path[0] = '\0';
  const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return;
  sendto(fd.get(), what, std::strlen(what), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
         static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size));
}

/// Takes connections from one socket and deals them out.
class Acceptor {
 public:
  Acceptor(Listener& listener, Gateway::Door door, std::vector<std::unique_ptr<Worker>>& workers, std::size_t& turn,
           const Log& log)
      : name_(listener.name()),
        door_(door),
        workers_(&workers),
        turn_(&turn),
        log_(&log),
        socket_(workers.front()->io(), fcntl(listener.fd(), F_DUPFD_CLOEXEC, 0)),
        pause_(workers.front()->io()) {}

  void wait() {
    socket_.async_wait(stream_descriptor::wait_read, [this](const error_code& error) {
      if (!error && take_all()) wait();
    });
  }
  /// The last ones, who had connected before we were told to stop.
  void stop() {
    pause_.cancel();
    if (!socket_.is_open()) return;
    for (int i = 0; i < 32; ++i) take_all();
    error_code ignored;
    socket_.close(ignored);
  }

 private:
  /// False: not now, there are no descriptors.
  bool take_all() {
    for (int i = 0; i < at_once; ++i) {
      Accepted accepted = accept_from(socket_.native_handle());
      if (accepted.fd) {
        Worker& worker = *(*workers_)[(*turn_)++ % workers_->size()];
        worker.hand(std::move(accepted), door_);
        continue;
      }
      if (accepted.error == 0) return true;
      if (accepted.error == EMFILE || accepted.error == ENFILE || accepted.error == ENOBUFS || accepted.error == ENOMEM) {
        back_off(accepted.error);
        return false;
      }
      // Anything else concerns the one connection that was lost before we took it.
    }
    return true;
  }

  /// Sends the idlest away and waits a moment; without that a waiting connection would keep us spinning.
  void back_off(int error) {
    if (!complained_)
      (*log_)("warning: no more connections on " + name_ + ": " + std::strerror(error) + "; idle ones are closed for them");
    complained_ = true;
    for (const auto& worker : *workers_) worker->evict_later();
    pause_.expires_after(20ms);
    pause_.async_wait([this](const error_code& cancelled) {
      if (!cancelled) wait();
    });
  }

  std::string name_;
  Gateway::Door door_;
  std::vector<std::unique_ptr<Worker>>* workers_;
  std::size_t* turn_;
  const Log* log_;
  stream_descriptor socket_;
  boost::asio::steady_timer pause_;
  bool complained_ = false;
};

void require_sensible(const Options& options) {
  if (options.listen.empty())
    throw Error::usage("there is nothing to listen on", "give --listen 127.0.0.1:9321 or --listen unix:PATH");
  if (options.signers.empty())
    throw Error::usage("whose snapshots are to be served", "give --signer PEM, the home's signers/document.pem");
  if (options.threads < 1 || options.threads > 64) throw Error::usage("--threads must be 1 to 64");
}

/// The sockets, the threads, and the order in which all of it ends.
class Server {
 public:
  Server(const Options& options, std::vector<Listener> listeners, Gateway& gateway, const StopToken& stop, const Log& log)
      : gateway_(gateway), stop_(stop), log_(log), listeners_(std::move(listeners)) {
    const std::size_t files = raise_open_files();
    const std::size_t possible = files > 2 * reserved ? files - reserved : reserved;
    const std::size_t most = options.max_connections == 0 ? possible : std::min(options.max_connections, possible);
    const auto threads = static_cast<std::size_t>(options.threads);
    for (std::size_t i = 0; i < threads; ++i)
      workers_.push_back(std::make_unique<Worker>(gateway, options, std::max<std::size_t>(1, most / threads)));
    const auto door = options.admin_listen.empty() ? Gateway::Door::both : Gateway::Door::checks;
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
      acceptors_.push_back(std::make_unique<Acceptor>(listeners_[i], i < options.listen.size() ? door : Gateway::Door::admin,
                                                      workers_, turn_, log_));
    }
  }

  void run() {
    boost::asio::signal_set hangup(main_io(), SIGHUP);
    wait_for_hangup(hangup);
    boost::asio::steady_timer timer(main_io());
    watch_stop(timer, hangup);
    for (const auto& acceptor : acceptors_) acceptor->wait();
    for (const auto& listener : listeners_) log_("listening on " + listener.name());
    notify("READY=1");
    std::vector<std::thread> threads;
    for (std::size_t i = 1; i < workers_.size(); ++i) threads.emplace_back([this, i] { run(*workers_[i]); });
    run(*workers_.front());
    for (auto& thread : threads) thread.join();
    if (fault_) std::rethrow_exception(fault_);
  }

 private:
  boost::asio::io_context& main_io() { return workers_.front()->io(); }

  /// A fault on one thread ends them all: half a server would be worse than one that is started again.
  void run(Worker& worker) {
    try {
      worker.run();
    } catch (...) {
      const std::lock_guard hold(fault_mutex_);
      fault_ = std::current_exception();
      for (const auto& other : workers_) other->io().stop();
    }
  }

  void wait_for_hangup(boost::asio::signal_set& hangup) {
    hangup.async_wait([this, &hangup](const error_code& error, int) {
      if (error) return;
      gateway_.poke();
      wait_for_hangup(hangup);
    });
  }

  void watch_stop(boost::asio::steady_timer& timer, boost::asio::signal_set& hangup) {
    timer.expires_after(50ms);
    timer.async_wait([this, &timer, &hangup](const error_code& error) {
      if (error) return;
      if (!stop_.requested()) return watch_stop(timer, hangup);
      notify("STOPPING=1");
      log_("stopping");
      for (const auto& acceptor : acceptors_) acceptor->stop();
      listeners_.clear();
      for (const auto& worker : workers_) worker->stop();
      error_code ignored;
      hangup.cancel(ignored);
    });
  }

  Gateway& gateway_;
  const StopToken& stop_;
  const Log& log_;
  std::vector<Listener> listeners_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  std::size_t turn_ = 0;
  std::mutex fault_mutex_;
  std::exception_ptr fault_;
};

/// Those of checks first.
std::vector<Listener> listen_on(const Options& options) {
  std::vector<Listener> listeners;
  for (const auto* texts : {&options.listen, &options.admin_listen}) {
    for (const auto& text : *texts) listeners.emplace_back(text, options.socket_mode);
  }
  return listeners;
}

}  // namespace

Summary run(const Options& options, const StopToken& stop, const Log& log) {
  require_sensible(options);
  std::mutex mutex;
  const Log one_at_a_time = [&mutex, &log](const std::string& line) {
    const std::lock_guard hold(mutex);
    log(line);
  };
  // Nobody is answered yet, but what is wrong with an address is said before anything is served.
  auto listeners = listen_on(options);
  Gateway gateway(options, one_at_a_time);
  Server(options, std::move(listeners), gateway, stop, one_at_a_time).run();
  gateway.finish();
  const Totals totals = gateway.totals();
  return {totals.allowed, totals.denied, totals.bad_requests, totals.connections};
}

}  // namespace kmtool::serve
