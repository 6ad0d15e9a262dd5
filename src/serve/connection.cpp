#include "connection.hpp"

#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <utility>

namespace kmtool::serve {
namespace {

using boost::system::error_code;
using namespace std::chrono_literals;

/// How much may wait to be sent before the next request of a pipeline is looked at.
constexpr std::size_t much = 64 * 1024;
/// How much is read and thrown away after the last answer, so that closing does not cost the peer that answer (RFC 9112, 9.6).
constexpr std::size_t most_drained = 1024 * 1024;

}  // namespace

// -- a connection -------------------------------------------------------------------------------------------------------

Connection::Connection(Worker& worker, Accepted accepted, Gateway::Door door)
    : worker_(&worker), socket_(worker.io().get_executor(), accepted.fd.get()), peer_(accepted.peer), door_(door) {
  accepted.fd.release();
}

void Connection::begin() {
  now_waits(Waits::idle);
  read_more();
}

void Connection::now_waits(Waits what) {
  // A head has its time from its first byte on, however slowly the others come.
  if (what == Waits::head && waits_ == Waits::head && !another_head_) return;
  another_head_ = false;
  waits_ = what;
  worker_->move_to_back(*this, what == Waits::idle);
}

template <typename Step>
void Connection::guarded(Step step) noexcept {
  if (!socket_.is_open()) return;
  try {
    step();
  } catch (...) {
    close();
  }
}

void Connection::read_more() {
  cleanse(buffer_.data(), std::exchange(used_, 0));  // keys; and before the read, which may be done at once
  // A read into a buffer costs the reactor one system call less than waiting for the socket to be readable.
  socket_.async_read_some(boost::asio::buffer(buffer_), [self = shared_from_this()](const error_code& error, std::size_t size) {
    self->guarded([&] { error ? self->close() : self->on_read(size); });
  });
}

void Connection::on_read(std::size_t size) {
  used_ = size;
  if (waits_ == Waits::drain) {
    drained_ += size;
    return drained_ > most_drained ? close() : read_more();
  }
  if (in_.empty()) {
    proceed({buffer_.data(), size});
  } else {
    in_.append(buffer_.data(), size);
    std::string whole;
    whole.swap(in_);
    proceed(whole);
    cleanse(whole.data(), whole.size());
  }
}

void Connection::proceed(std::string_view data) {
  // An idle connection has no buffers: they are lent.
  if (out_.empty()) out_.swap(worker_->spare_);
  for (;;) {
    data.remove_prefix(serve(data));
    const bool gone = send_out();
    if (!socket_.is_open()) return;
    if (!gone) {
      if (!closing_) in_.assign(data);
      now_waits(Waits::write);
      socket_.async_wait(Stream::wait_write, [self = shared_from_this()](const error_code& error) {
        if (!error) self->guarded([&self] { self->on_writable(); });
      });
      return;
    }
    if (closing_ || incomplete_) break;
  }
  if (worker_->spare_.capacity() == 0 || out_.capacity() <= 2 * much) worker_->spare_.swap(out_);
  std::string().swap(out_);
  if (closing_) return drain();
  in_.assign(data);
  if (in_.empty()) std::string().swap(in_);
  if (in_.empty() && worker_->stopping_) return close();
  now_waits(in_.empty() ? Waits::idle : Waits::head);
  read_more();
}

void Connection::on_writable() {
  std::string whole;
  whole.swap(in_);
  proceed(whole);
}

std::size_t Connection::serve(std::string_view data) {
  std::size_t used = 0;
  incomplete_ = false;
  while (!closing_ && !incomplete_ && out_.size() < much) {
    if (used == data.size()) {
      incomplete_ = true;
      break;
    }
    Head& head = worker_->head_;
    const auto result = read_head(data.substr(used), head, seen_);
    if (result.state == HeadResult::State::incomplete) {
      incomplete_ = true;
      break;
    }
    seen_ = 0;
    another_head_ = true;
    used += result.size;
    Answer& answer = worker_->answer_;
    answer.status = 403;
    answer.fields.clear();
    answer.body.clear();
    answer.type = "text/plain; charset=utf-8";
    if (result.state == HeadResult::State::refused) {
      worker_->desk_.counters->bad_request(result.why);
      worker_->desk_.time = worker_->options_->clock();
      answer.status = result.status;
      answer.body.assign(result.why).append("\n");
      closing_ = true;
      respond(answer, false);
      break;
    }
    // A body is neither needed nor read: what follows it cannot be mistaken for a request when nothing follows it.
    closing_ = !head.keep_alive || head.has_body || worker_->stopping_;
    worker_->gateway_->answer(head, peer_, door_, worker_->desk_, answer);
    respond(answer, head.method == "HEAD");
  }
  return used;
}

void Connection::respond(const Answer& answer, bool head_only) {
  append_answer(out_, answer, worker_->date(worker_->desk_.time), closing_, head_only);
}

bool Connection::send_out() {
  while (sent_ < out_.size()) {
    const ssize_t put = send(socket_.native_handle(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (put < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
      close();
      return false;
    }
    sent_ += static_cast<std::size_t>(put);
  }
  sent_ = 0;
  out_.clear();
  return true;
}

void Connection::drain() {
  std::string().swap(in_);
  shutdown(socket_.native_handle(), SHUT_WR);
  now_waits(Waits::drain);
  read_more();
}

void Connection::expire() {
  Counters::add(worker_->desk_.counters->timed_out);
  if (waits_ == Waits::head) {
    Answer answer;
    answer.status = 408;
    worker_->desk_.time = worker_->options_->clock();
    closing_ = true;
    respond(answer, false);
    send_out();
  }
  close();
}

void Connection::finish() {
  if (waits_ != Waits::idle) return;
  // What has arrived was sent before we stopped; the read that is waiting for it will answer it.
  int arrived = 0;
  if (ioctl(socket_.native_handle(), FIONREAD, &arrived) != 0 || arrived == 0) close();
}

void Connection::close() {
  const auto self = shared_from_this();
  error_code ignored;
  socket_.close(ignored);
  cleanse(in_.data(), in_.size());
  worker_->forget(*this);
}

// -- a worker -----------------------------------------------------------------------------------------------------------

Worker::Worker(Gateway& gateway, const Options& options, std::size_t most)
    : gateway_(&gateway),
      options_(&options),
      most_(most),
      work_(boost::asio::make_work_guard(io_)),
      timer_(io_),
      desk_(gateway.desk()) {}

void Worker::run() {
  sweep_later();
  io_.run();
}

void Worker::hand(Accepted accepted, Gateway::Door door) {
  if (io_.get_executor().running_in_this_thread()) return adopt(std::move(accepted), door);
  boost::asio::post(io_, [this, door, held = std::make_shared<Accepted>(std::move(accepted))] { adopt(std::move(*held), door); });
}

void Worker::adopt(Accepted accepted, Gateway::Door door) {
  if (count() >= most_ && !evict()) return;
  Counters::add(desk_.counters->connections);
  std::shared_ptr<Connection> connection;
  try {
    connection = std::make_shared<Connection>(*this, std::move(accepted), door);
  } catch (const std::exception&) {
    return;  // the kernel would not watch another one
  }
  busy_.push_back(connection);
  connection->place_ = std::prev(busy_.end());
  connection->listed_ = true;
  connection->begin();
  desk_.counters->open.store(count(), std::memory_order_relaxed);
  if (stopping_) connection->finish();
}

void Worker::evict_later() {
  boost::asio::post(io_, [this] { evict(); });
}

bool Worker::evict() {
  auto& from = idle_.empty() ? busy_ : idle_;
  if (from.empty()) return false;
  Counters::add(desk_.counters->evicted);
  const auto oldest = from.front();
  oldest->close();
  return true;
}

void Worker::move_to_back(Connection& connection, bool idle) {
  auto& to = idle ? idle_ : busy_;
  to.splice(to.end(), connection.in_idle_ ? idle_ : busy_, connection.place_);
  connection.in_idle_ = idle;
  connection.deadline_ = Steady::now() + (idle ? options_->idle_timeout : options_->header_timeout);
}

void Worker::forget(Connection& connection) {
  if (!connection.listed_) return;
  connection.listed_ = false;
  (connection.in_idle_ ? idle_ : busy_).erase(connection.place_);
  desk_.counters->open.store(count(), std::memory_order_relaxed);
}

void Worker::sweep_later() {
  timer_.expires_after(stopping_ ? 20ms : 250ms);
  timer_.async_wait([this](const error_code& error) {
    if (!error) sweep();
  });
}

void Worker::sweep() {
  const auto now = Steady::now();
  for (auto* list : {&idle_, &busy_}) {
    while (!list->empty() && (list->front()->deadline_ <= now || (stopping_ && stop_by_ <= now))) {
      const auto connection = list->front();
      connection->expire();
    }
  }
  gateway_->freshen(desk_);
  if (stopping_ && count() == 0) {
    work_.reset();
    return;
  }
  sweep_later();
}

void Worker::stop() {
  boost::asio::post(io_, [this] {
    stopping_ = true;
    stop_by_ = Steady::now() + options_->grace;
    const std::vector<std::shared_ptr<Connection>> idle(idle_.begin(), idle_.end());
    for (const auto& connection : idle) connection->finish();
    timer_.cancel();
    sweep_later();
  });
}

const std::string& Worker::date(UnixTime now) {
  if (now != date_of_) {
    date_of_ = now;
    date_ = http_date(now);
  }
  return date_;
}

}  // namespace kmtool::serve
