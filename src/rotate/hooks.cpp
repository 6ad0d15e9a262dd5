#include "kmtool/rotate/hooks.hpp"

#include <fcntl.h>

#include <algorithm>

#include "kmtool/crypto/digest.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/keys/gen.hpp"

namespace kmtool::rotate {

std::vector<std::string> hook_words(const std::string& command) { return command_words(command, "--hook"); }

HookResult HookRunner::run(const OwedHook& hook, const std::string& home) {
  HookResult result{hook, 127, {}};
  Runner::Job job;
  try {
    job.words = hook_words(hook.command);
  } catch (const Error& error) {
    result.what = "could not be started: " + error.message();
    return result;
  }
  job.environment = {"KMTOOL_HOME=" + home, "KMTOOL_KEY=" + KeyRef::parse(hook.key).name, "KMTOOL_FROM=" + hook.from, "KMTOOL_TO=" + hook.key, "KMTOOL_URI=" + hook.uri};
  const int status = runner_.run(job);
  result.status = status == Runner::left_running ? std::nullopt : std::optional(status);
  result.what = Runner::outcome_of(status);
  return result;
}

bool can_start(const std::string& command) noexcept try {
  hook_words(command);
  return true;
} catch (const std::exception&) {
  return false;
}

std::optional<HookClaim> HookClaim::take(const home::Paths& paths, const std::string& key) {
  Fd fd(open((paths.root / "hooks.lock").c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  // One file for all keys, an octet of it for each: no file stays behind for a key.
  const auto digest = crypto::sha256(view(key));
  off_t place = 0;
  for (std::size_t i = 0; i < 7; ++i) place = place << 8 | digest[i];
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = place;
  lock.l_len = 1;
  if (fd && fcntl(fd.get(), F_OFD_SETLK, &lock) != 0 && (errno == EAGAIN || errno == EACCES)) return std::nullopt;
  return HookClaim(std::move(fd));
}

bool still_owed(op::Context& reader, const OwedHook& hook) {
  const auto rows = reader.journal().items("hook");
  return std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return row.id == hook.key; });
}

// -- the record -------------------------------------------------------------------------------------------------------------

journal::Change OwedHook::change() const {
  Json json{{"from", from}, {"uri", uri}, {"command", command}, {"failures", failures}};
  return {"hook", key, json};
}

OwedHook OwedHook::from_row(const journal::Item& item) {
  const Json json = item.json();
  JsonReader reader(json, [&item](const std::string& what) { throw Error::tampered("catalog row hook " + item.id + ": " + what, "run kmtool doctor"); });
  OwedHook hook;
  hook.key = item.id;
  hook.from = reader.text("from");
  hook.uri = reader.text("uri");
  hook.command = reader.text("command");
  hook.failures = static_cast<int>(reader.integer("failures", 0, 1000000));
  reader.finish();
  return hook;
}

std::vector<OwedHook> owed_hooks(op::Context& context) {
  std::vector<OwedHook> hooks;
  for (const auto& item : context.journal().proven_all("hook")) hooks.push_back(OwedHook::from_row(item));
  return hooks;
}

HookDebt hook_debt(op::Context& context, const std::string& command, const op::VersionRecord& from, const op::VersionRecord& to) {
  HookDebt debt;
  OwedHook hook{to.label(), from.label(), keys::uri_of(context, to), command, 0};
  int oldest = 0;
  for (const auto& owed : owed_hooks(context)) {
    const auto ref = KeyRef::parse(owed.key);
    if (ref.name != to.name || owed.key == hook.key) continue;
    debt.rows.push_back({"hook", owed.key, std::nullopt});
    const int version = ref.version.value_or(0);
    if (oldest == 0 || version < oldest) {
      oldest = version;
      hook.from = owed.from;
    }
    if (command.empty()) hook.command = owed.command;
  }
  if (hook.command.empty()) return debt;
  debt.rows.push_back(hook.change());
  debt.hook = std::move(hook);
  return debt;
}

bool any_hook_owed(op::Context& reader) { return !reader.journal().items("hook").empty(); }

void settle_hooks(op::Context& context, const std::vector<HookResult>& results) {
  for (const auto& result : results) {
    if (result.elsewhere) continue;
    auto hook = result.hook;
    Json details{{"command", hook.command}, {"status", result.status ? Json(*result.status) : Json(nullptr)}};
    if (result.what.empty()) {
      context.note("hook", hook.key, std::move(details), {{"hook", hook.key, std::nullopt}});
      continue;
    }
    ++hook.failures;
    details["what"] = result.what;
    std::vector<journal::Change> changes;
    if (context.journal().proven("hook", hook.key)) changes.push_back(hook.change());  // else a newer rotation has taken its place
    context.note("hook failed", hook.key, std::move(details), std::move(changes));
  }
}

}  // namespace kmtool::rotate
