#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kmtool/core/file.hpp"
#include "kmtool/core/runner.hpp"
#include "kmtool/op/context.hpp"

namespace kmtool::rotate {

/// A command that is owed to a rotated key: a catalog row of kind `hook` from the rotation on, until the command has succeeded.
struct OwedHook {
  std::string key;  ///< label of the new version, the row's id
  std::string from, uri, command;  ///< from: what the last hook that succeeded went to, else what was rotated
  int failures = 0;

  [[nodiscard]] journal::Change change() const;
  static OwedHook from_row(const journal::Item& item);
};
std::vector<OwedHook> owed_hooks(op::Context& context);
/// What a rotation owes. A key owes one hook at most: the newer rotation takes the place of one that never succeeded. It then goes from the
/// version that the applications still have, and where the rotation names no hook of its own, it is the old command.
struct HookDebt {
  std::optional<OwedHook> hook;
  std::vector<journal::Change> rows;  ///< also the end of those it takes the place of
};
HookDebt hook_debt(op::Context& context, const std::string& command, const op::VersionRecord& from, const op::VersionRecord& to);
/// As stored, for deciding whether a runner will be needed.
bool any_hook_owed(op::Context& reader);

/// How a hook ended.
struct HookResult {
  OwedHook hook;
  std::optional<int> status;  ///< exit code; 128 + signal; 127 not started; nullopt: it was left running, or another kmtool runs one
  std::string what;           ///< empty: it succeeded
  bool elsewhere = false;     ///< another kmtool runs a hook of this key: this one was not started
};

/// COMMAND as words: split at blanks, no shell. The program must exist, be executable and not writable by others; throws usage (64),
/// missing (66), configuration (78).
std::vector<std::string> hook_words(const std::string& command);

/// True when hook_words() has nothing against it.
bool can_start(const std::string& command) noexcept;

/// The right to run hooks of a key: held by one process, from before a hook is started until what became of it is on record; gone with the
/// process. Started programs do not inherit it.
class HookClaim {
 public:
  /// nullopt: another process holds it. Where a lock cannot be had at all, hooks run without.
  static std::optional<HookClaim> take(const home::Paths& paths, const std::string& key);

 private:
  explicit HookClaim(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};
/// As stored: false once the hook has succeeded elsewhere, or a newer rotation has taken its place.
bool still_owed(op::Context& reader, const OwedHook& hook);

/// Starts hooks; made before a module is loaded (Runner says why).
class HookRunner {
 public:
  HookResult run(const OwedHook& hook, const std::string& home);

 private:
  Runner runner_;
};

/// Journals how the hooks ended: those that succeeded are owed no more; one that is not owed any more stays so.
void settle_hooks(op::Context& context, const std::vector<HookResult>& results);

}  // namespace kmtool::rotate
