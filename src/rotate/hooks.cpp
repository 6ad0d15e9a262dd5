#include "kmtool/rotate/hooks.hpp"

#include "kmtool/domain/name.hpp"

namespace kmtool::rotate {

std::vector<std::string> hook_words(const std::string& command) { return command_words(command, "--hook"); }

HookResult HookRunner::run(const OwedHook& hook, const std::string& home) {
  HookResult result{hook, 127, {}};
  Runner::Job job;
  try {
    job.words = hook_words(hook.command);
  } catch (const Error& error) {
    result.what = error.message();
    return result;
  }
  job.environment = {"KMTOOL_HOME=" + home, "KMTOOL_KEY=" + KeyRef::parse(hook.key).name, "KMTOOL_FROM=" + hook.from, "KMTOOL_TO=" + hook.key, "KMTOOL_URI=" + hook.uri};
  result.status = runner_.run(job);
  result.what = Runner::outcome_of(result.status);
  return result;
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

bool any_hook_owed(op::Context& reader) { return !reader.journal().items("hook").empty(); }

void settle_hooks(op::Context& context, const std::vector<HookResult>& results) {
  for (const auto& result : results) {
    auto hook = result.hook;
    Json details{{"command", hook.command}, {"status", result.status}};
    if (result.what.empty()) {
      context.note("hook", hook.key, std::move(details), {{"hook", hook.key, std::nullopt}});
      continue;
    }
    ++hook.failures;
    details["what"] = result.what;
    context.note("hook failed", hook.key, std::move(details), {hook.change()});
  }
}

}  // namespace kmtool::rotate
