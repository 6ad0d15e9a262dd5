#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::op {

/// Several sessions of the token at work at once (`--sessions N`): N requests in flight, results handed on in the order in which the
/// work came, memory bounded. With one session everything happens on the calling thread and none is started.
///
/// `work` runs on any thread with a token of its own; `sink` runs on the calling thread, inside push() and drain(). The first failure, in
/// the order of the work, is thrown from there.
template <class In, class Out>
class Workers {
 public:
  using Work = std::function<Out(pkcs11::Token&, const In&)>;
  using Sink = std::function<void(In&&, Out&&)>;

  Workers(Context& context, int sessions, Work work, Sink sink) : context_(context), work_(std::move(work)), sink_(std::move(sink)) {
    if (sessions <= 1) return;
    bound_ = static_cast<std::size_t>(sessions) * in_flight_each;
    for (int i = 0; i < sessions; ++i) threads_.emplace_back([this] { start(); });
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
      waiting_.clear();
    }
    work_there_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  void push(In in) {
    context_.check_stop();
    if (threads_.empty()) {
      Out out = work_(context_.token(), in);
      sink_(std::move(in), std::move(out));
      return;
    }
    while (order_.size() >= bound_) deliver();
    auto job = std::make_shared<Job>();
    job->in = std::move(in);
    order_.push_back(job);
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(job));
    }
    work_there_.notify_one();
  }

  /// Hands on all that is left.
  void drain() {
    while (!order_.empty()) deliver();
  }

 private:
  static constexpr std::size_t in_flight_each = 8;  ///< keeps the sessions busy while the caller seals and signs
  struct Job {
    In in;
    std::optional<Out> out;
    std::exception_ptr error;
    bool done = false;
  };

  /// A thread opens its own session: on a slow token they all open at once.
  void start() noexcept {
    std::optional<pkcs11::Token> token;
    std::exception_ptr error;
    try {
      token.emplace(context_.token().sibling());
    } catch (...) {
      error = std::current_exception();
    }
    serve(token ? &*token : nullptr, error);
  }

  void serve(pkcs11::Token* token, const std::exception_ptr& no_session) {
    for (;;) {
      std::shared_ptr<Job> job;
      {
        std::unique_lock lock(mutex_);
        work_there_.wait(lock, [this] { return over_ || !waiting_.empty(); });
        if (over_) return;
        job = std::move(waiting_.front());
        waiting_.pop_front();
      }
      std::optional<Out> out;
      std::exception_ptr error = no_session;
      try {
        if (token != nullptr) out = work_(*token, job->in);
      } catch (...) {
        error = std::current_exception();
      }
      const std::lock_guard lock(mutex_);
      job->out = std::move(out);
      job->error = error;
      job->done = true;
      done_.notify_one();
    }
  }

  void deliver() {
    const auto job = std::move(order_.front());
    order_.pop_front();
    {
      std::unique_lock lock(mutex_);
      done_.wait(lock, [&] { return job->done; });
    }
    if (job->error) std::rethrow_exception(job->error);
    sink_(std::move(job->in), std::move(*job->out));
  }

  Context& context_;
  Work work_;
  Sink sink_;
  std::size_t bound_ = 1;
  std::vector<std::thread> threads_;
  std::deque<std::shared_ptr<Job>> order_, waiting_;
  std::mutex mutex_;
  std::condition_variable work_there_, done_;
  bool over_ = false;
};

}  // namespace kmtool::op
