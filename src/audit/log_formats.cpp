#include <fmt/format.h>

#include <array>

#include "kmtool/audit/log.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::audit {

namespace {

/// An entry's members, absent ones empty.
struct Fields {
  Json json;
  std::string command, target, phase, result, user, host, message;
  std::int64_t uid = 0;
  UnixTime time = 0;
  bool authenticated = false;

  explicit Fields(const journal::Entry& entry) : json(entry.json()) {
    const auto text = [](const Json& in, const char* name) {
      const auto found = in.find(name);
      return found != in.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    command = text(json, "command");
    target = text(json, "target");
    phase = text(json, "phase");
    result = text(json, "result");
    const auto actor = json.value("actor", Json::object());
    user = text(actor, "user");
    host = text(actor, "host");
    uid = actor.value("uid", std::int64_t{0});
    time = parse_rfc3339(text(json, "time")).value_or(0);
    authenticated = json.value("authenticated", false);
    message = log_remark(json.value("details", Json::object()));
  }
};

struct Activity {
  const char* command;  ///< its first words
  int id;
  const char* name;
};
/// OCSF 1.3, class 3004.
constexpr std::array managing{
    Activity{"state activate", 10, "Activate"}, Activity{"state deactivate", 11, "Deactivate"}, Activity{"state suspend", 12, "Suspend"},
    Activity{"state resume", 13, "Resume"},     Activity{"state destroy", 4, "Delete"},         Activity{"state", 3, "Update"},
    Activity{"gen", 1, "Create"},               Activity{"init", 1, "Create"},                  Activity{"adopt", 6, "Enroll"},
    Activity{"wrap", 1, "Create"},              Activity{"unwrap --check", 2, "Read"},          Activity{"unwrap", 1, "Create"},
    Activity{"export-kek", 1, "Create"},        Activity{"import-kek --check", 2, "Read"},      Activity{"import-kek", 1, "Create"},
    Activity{"apikey create", 1, "Create"},     Activity{"apikey revoke", 4, "Delete"},         Activity{"apikey rotate", 3, "Update"},
    Activity{"rotate", 3, "Update"},            Activity{"signer trust", 6, "Enroll"},          Activity{"signer", 3, "Update"},
    Activity{"policy", 3, "Update"},            Activity{"doctor", 3, "Update"},                Activity{"bundles", 2, "Read"},
};
/// Commands that use a key and manage none: class 6003.
constexpr std::array using_keys{"encrypt", "decrypt", "mac", "sign", "verify-signature", "random", "csr", "cert", "apikey exec", "apikey check"};

bool begins(const std::string& command, std::string_view with) { return command == with || command.starts_with(std::string(with) + " "); }

Activity activity_of(const std::string& command) {
  for (const auto& one : managing) {
    if (begins(command, one.command)) return one;
  }
  return {"", 99, "Other"};
}

bool uses_keys(const std::string& command) {
  for (const auto* one : using_keys) {
    if (begins(command, one)) return true;
  }
  return false;
}

std::string entity_type(const Fields& entry) {
  for (const auto* kind : {"wrap", "bundles", "signer", "policy", "init", "doctor", "apikey"}) {
    if (!begins(entry.command, kind)) continue;
    if (std::string_view(kind) == "wrap" || std::string_view(kind) == "bundles") return "Key bundle";
    if (std::string_view(kind) == "signer") return "Signer";
    if (std::string_view(kind) == "policy") return "Policy";
    return std::string_view(kind) == "apikey" ? "API key" : "Key store";
  }
  return "Key";
}

std::string sentence(const Fields& entry) {
  std::string text = entry.command + (entry.target.empty() ? "" : " " + entry.target) + ": " + (entry.result.empty() ? entry.phase : entry.result);
  return entry.message.empty() ? text : text + " (" + entry.message + ")";
}


/// CEF: \ and | in the header, \ and = in values, line ends as \n; other control characters as printable() spells them.
std::string cef(const std::string& text, bool header) {
  std::string out;
  for (const auto& line : split(text, '\n')) {
    for (const char c : printable(line)) {
      if (c == '\\' || (header && c == '|') || (!header && c == '=')) out += '\\';
      out += c;
    }
    out += header ? " " : "\\n";
  }
  out.resize(out.size() - (header ? 1 : 2));
  return out;
}

}  // namespace

std::string log_ocsf(const journal::Entry& entry, const std::string& origin) {
  const Fields fields(entry);
  const bool api = uses_keys(fields.command);
  const Activity activity = api ? Activity{"", 99, "Other"} : activity_of(fields.command);
  const int class_uid = api ? 6003 : 3004;
  const bool failed = fields.result == "refused" || fields.result == "failed";
  Json json;
  json["metadata"] = {{"version", "1.3.0"},
                      {"product", {{"name", "kmtool"}, {"vendor_name", "kmtool"}, {"version", KMTOOL_VERSION}}},
                      {"log_name", origin},
                      {"uid", origin + "/" + std::to_string(entry.seq)},
                      {"sequence", entry.seq},
                      {"original_time", rfc3339(fields.time)}};
  json["time"] = fields.time * 1000;
  json["category_uid"] = api ? 6 : 3;
  json["category_name"] = api ? "Application Activity" : "Identity & Access Management";
  json["class_uid"] = class_uid;
  json["class_name"] = api ? "API Activity" : "Entity Management";
  json["activity_id"] = activity.id;
  json["activity_name"] = activity.id == 99 ? fields.command : activity.name;
  json["type_uid"] = class_uid * 100 + activity.id;
  json["type_name"] = std::string(api ? "API Activity: " : "Entity Management: ") + activity.name;
  json["severity_id"] = fields.result == "refused" ? 3 : failed ? 2 : 1;
  json["severity"] = fields.result == "refused" ? "Medium" : failed ? "Low" : "Informational";
  json["status_id"] = failed ? 2 : fields.result == "done" ? 1 : 99;
  json["status"] = failed ? "Failure" : fields.result == "done" ? "Success" : fields.result.empty() ? fields.phase : fields.result;
  if (!fields.message.empty()) json["status_detail"] = fields.message;
  json["message"] = sentence(fields);
  json["actor"] = {{"user", {{"name", fields.user}, {"uid", std::to_string(fields.uid)}}}, {"process", {{"name", "kmtool"}}}};
  if (api) {
    json["api"] = {{"operation", fields.command}, {"service", {{"name", "kmtool"}}}};
    json["src_endpoint"] = {{"hostname", fields.host}};
    json["resources"] = Json::array({{{"type", "Key"}, {"name", fields.target}}});
  } else {
    json["entity"] = {{"type", entity_type(fields)}, {"name", fields.target}};
    json["device"] = {{"hostname", fields.host}, {"type_id", 0}};
  }
  json["unmapped"] = {{"phase", fields.phase}, {"authenticated", fields.authenticated}, {"details", fields.json.value("details", Json::object())}};
  return ascii_json(json);
}

std::string log_cef(const journal::Entry& entry, const std::string& origin) {
  const Fields fields(entry);
  const int severity = fields.result == "refused" ? 6 : fields.result == "failed" ? 4 : 2;
  const auto word = fields.command.substr(0, fields.command.find(' '));
  std::string line = fmt::format("CEF:0|kmtool|kmtool|{}|{}|{}|{}|", cef(KMTOOL_VERSION, true), cef(word, true),
                                 cef(fields.command + " " + (fields.result.empty() ? fields.phase : fields.result), true), severity);
  const auto add = [&line](const char* name, const std::string& value) {
    if (value.empty()) return;
    if (line.back() != '|') line += ' ';
    line += std::string(name) + "=" + cef(value, false);
  };
  const bool failed = fields.result == "refused" || fields.result == "failed";
  add("rt", std::to_string(fields.time * 1000));
  add("externalId", std::to_string(entry.seq));
  add("dvchost", fields.host);
  add("suser", fields.user);
  add("suid", std::to_string(fields.uid));
  add("act", fields.command);
  add("outcome", fields.result.empty() ? "" : failed ? "failure" : "success");
  add("cs1Label", fields.target.empty() ? "" : "target");
  add("cs1", fields.target);
  add("cs2Label", "phase");
  add("cs2", fields.phase);
  add("cs3Label", "log");
  add("cs3", origin);
  add("cs4Label", "authenticated");
  add("cs4", fields.authenticated ? "true" : "false");
  add("reason", fields.message);
  return line;
}

}  // namespace kmtool::audit
