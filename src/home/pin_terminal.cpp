#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "home/pin_reading.hpp"
#include "kmtool/core/file.hpp"

namespace kmtool::home {
namespace {

volatile std::sig_atomic_t caught_signal = 0;
constexpr std::array watched{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

/// Signals are held back but while poll waits, so that none can leave the terminal without echo.
class SignalsHeld {
 public:
  SignalsHeld() {
    caught_signal = 0;
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : watched) sigaddset(&set, signal);
    pthread_sigmask(SIG_BLOCK, &set, &before_);
    struct sigaction action {};
    action.sa_handler = [](int signal) { caught_signal = signal; };
    for (std::size_t i = 0; i < watched.size(); ++i) sigaction(watched[i], &action, &actions_[i]);
  }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;
  ~SignalsHeld() {
    for (std::size_t i = 0; i < watched.size(); ++i) sigaction(watched[i], &actions_[i], nullptr);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  [[nodiscard]] sigset_t mask_for_poll() const {
    sigset_t set = before_;
    for (const int signal : watched) sigdelset(&set, signal);
    return set;
  }

 private:
  sigset_t before_{};
  std::array<struct sigaction, watched.size()> actions_{};
};

class EchoOff {
 public:
  explicit EchoOff(int terminal) : terminal_(terminal) {
    if (tcgetattr(terminal_, &before_) != 0) throw Error::from_errno("read", "/dev/tty", errno);
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL);
    quiet.c_lflag |= static_cast<tcflag_t>(ICANON | ISIG);
    if (tcsetattr(terminal_, TCSAFLUSH, &quiet) != 0) throw Error::from_errno("write", "/dev/tty", errno);
  }
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;
  ~EchoOff() {
    tcsetattr(terminal_, TCSAFLUSH, &before_);
    write_all_quietly("\n");
  }
  void write_all_quietly(std::string_view text) const {
    if (::write(terminal_, text.data(), text.size()) < 0) return;
  }

 private:
  int terminal_;
  termios before_{};
};

/// The signal that ended the prompt, or 0.
int prompt_once(int terminal, PinCollector& collector) {
  const SignalsHeld held;
  const EchoOff quiet(terminal);
  quiet.write_all_quietly("PIN: ");
  const sigset_t mask = held.mask_for_poll();
  while (!collector.has_line()) {
    pollfd wanted{terminal, POLLIN, 0};
    const int ready = ppoll(&wanted, 1, nullptr, &mask);
    if (caught_signal != 0) return caught_signal;
    if (ready < 0 && errno != EINTR) throw Error::from_errno("read", "/dev/tty", errno);
    if (ready > 0 && !collector.read_from(terminal)) break;
  }
  return 0;
}

}  // namespace

SecretBytes pin_from_terminal(bool no_input) {
  if (no_input) {
    throw Error::refused("pin", "the PIN would have to be asked for, and --no-input forbids it",
                         std::string("give --pin-source ") + pin_forms);
  }
  const Fd terminal(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal) {
    throw Error::refused("pin", "the PIN would have to be asked for, and there is no terminal",
                         std::string("give --pin-source ") + pin_forms);
  }
  for (;;) {
    PinCollector collector("the terminal");
    const int signal = prompt_once(terminal.get(), collector);
    if (signal == 0) return collector.take();
    // Now that the terminal is as it was.
    if (raise(signal) != 0 || signal != SIGTSTP) throw Error::busy("stopped");
  }
}

}  // namespace kmtool::home
