#include "kmtool/audit/log.hpp"

#include <fmt/format.h>

#include <deque>

#include "kmtool/core/text.hpp"

namespace kmtool::audit {

namespace {

bool is_version_of(std::string_view id, std::string_view name) { return id == name || (id.starts_with(name) && id.substr(name.size()).starts_with('@')); }

/// In a target such as `payments@1, ledger`.
bool names(std::string_view target, std::string_view name) {
  for (std::size_t at = target.find(name); at != std::string_view::npos; at = target.find(name, at + 1)) {
    constexpr std::string_view in_names = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const bool begins = at == 0 || in_names.find(target[at - 1]) == std::string_view::npos;
    const char after = at + name.size() < target.size() ? target[at + name.size()] : ' ';
    const bool number = name.find('@') != std::string_view::npos;
    if (begins && in_names.find(after) == std::string_view::npos && !(number && after == '@')) return true;
  }
  return false;
}

bool holds(const Json& value, const std::string& name) {
  if (value.is_string()) return is_version_of(value.get_ref<const std::string&>(), name);
  if (!value.is_structured()) return false;
  for (const auto& inner : value) {
    if (holds(inner, name)) return true;
  }
  return false;
}

bool concerns(const Json& entry, const std::string& key) {
  if (names(entry.value("target", ""), key)) return true;
  for (const auto& change : entry.value("changes", Json::array())) {
    const auto kind = change.value("kind", "");
    if ((kind == "key" || kind == "version") && is_version_of(change.value("id", ""), key)) return true;
    if ((kind == "bundle" || kind == "bundle-part" || kind == "intent" || kind == "hook") && change.contains("value") && holds(change["value"], key)) return true;
  }
  return false;
}

/// `"time":"…"` stands at a fixed place: an entry too old is passed over unread.
std::string_view time_of(const journal::Entry& entry) {
  const auto at = entry.bytes.find(",\"time\":\"");
  return at > 48 ? std::string_view{} : std::string_view(entry.bytes).substr(at + 9, 20);
}

}  // namespace

bool LogFilter::passes(const journal::Entry& entry) const {
  const auto time = time_of(entry);
  if (since && time < std::string_view(rfc3339(*since))) return false;
  if (until && time >= std::string_view(rfc3339(*until))) return false;
  if (!key.empty() && entry.bytes.find(key) == std::string::npos) return false;
  if (key.empty() && command.empty() && user.empty() && result.empty()) return true;
  const Json json = entry.json();
  if (!key.empty() && !concerns(json, key)) return false;
  const auto said = json.value("command", "");
  if (!command.empty() && said != command && !said.starts_with(command + " ")) return false;
  if (!user.empty() && json.value("actor", Json::object()).value("user", "") != user) return false;
  return result.empty() || json.value("result", json.value("phase", "")) == result;
}

std::uint64_t each_passing(const journal::Journal& journal, std::uint64_t from, const LogFilter& filter,
                           const std::function<bool(const journal::Entry&)>& visit) {
  std::uint64_t next = from;
  std::deque<journal::Entry> kept;
  if (filter.last && from == 0 && !filter.since && !filter.until && filter.key.empty() && filter.command.empty() && filter.user.empty() && filter.result.empty()) {
    const auto size = journal.size();
    next = size > *filter.last ? size - *filter.last : 0;
  }
  bool stopped = false;
  journal.each_entry(next, [&](const journal::Entry& entry) {
    next = entry.seq + 1;
    if (!filter.passes(entry)) return true;
    if (!filter.last) return !(stopped = !visit(entry));
    kept.push_back(entry);
    if (kept.size() > *filter.last) kept.pop_front();
    return true;
  });
  for (const auto& entry : kept) {
    if (!visit(entry)) break;
  }
  return next;
}

std::string log_heading() { return fmt::format("{:>7}  {:20}  {:12}  {:8}  {:22}  {}", "ENTRY", "TIME", "USER", "RESULT", "COMMAND", "TARGET"); }

std::string log_remark(const Json& details) {
  for (const auto* name : {"message", "reason"}) {
    if (details.contains(name) && details[name].is_string()) return details[name].get<std::string>();
  }
  if (details.contains("policy")) return "what was accepted before is not on record";
  if (!details.contains("changed") || !details["changed"].is_array()) return {};
  std::vector<std::string> texts;
  for (const auto& change : details["changed"]) {
    if (!change.is_object() || !change.contains("field") || !change["field"].is_string()) continue;
    const auto value = [&change](const char* name) { return change.contains(name) && !change[name].is_null() ? dump_json(change[name]) : std::string("none"); };
    texts.push_back(change["field"].get<std::string>() + " " + value("old") + " → " + value("new"));
  }
  const auto untold = details.contains("untold") && details["untold"].is_string() ? "; the sink so far was not told: " + details["untold"].get<std::string>() : std::string();
  return (texts.empty() ? "no value changed" : join(texts, ", ")) + untold;
}

std::string log_line(const journal::Entry& entry) {
  const Json json = entry.json();
  const auto actor = json.value("actor", Json::object());
  auto result = json.value("result", json.value("phase", ""));
  if (json.value("authenticated", true) == false) result += "*";
  std::string line = fmt::format("{:>7}  {:20}  {:12}  {:8}  {:22}  {}", entry.seq, printable(json.value("time", "")), printable(actor.value("user", "")), printable(result),
                                 printable(json.value("command", "")), printable(json.value("target", "")));
  if (const auto remark = log_remark(json.value("details", Json::object())); !remark.empty()) line += ": " + printable(remark);
  while (line.ends_with(' ')) line.pop_back();
  return line;
}

std::string ascii_json(const Json& json) {
  std::string safe;
  for (const char c : json.dump(-1, ' ', true)) {
    if (c == '\x7f') safe += "\\u007f";
    else safe += c;
  }
  return safe;
}

std::string log_jsonl(const journal::Entry& entry) { return printable(entry.bytes) == entry.bytes ? entry.bytes : ascii_json(entry.json()); }

}  // namespace kmtool::audit
