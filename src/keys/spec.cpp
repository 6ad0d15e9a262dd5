#include "kmtool/keys/spec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::keys {

namespace {

constexpr std::size_t most_keys = 100000;

template <class Value>
std::string known(const std::vector<Value>& values) {
  std::string text;
  for (const auto value : values) text += (text.empty() ? "" : ", ") + std::string(to_text(value));
  return text;
}

Role role_of(JsonReader& reader) {
  const auto text = reader.text("role");
  const auto role = role_from(text);
  if (!role) reader.fail("\"role\" is none of " + known(all_roles()));
  return *role;
}

KeyType type_of(JsonReader& reader, Role role) {
  const auto& types = types_of(role);
  const auto text = reader.optional_text("type");
  if (!text) return types.front();
  const auto type = key_type_from(*text);
  if (!type || std::find(types.begin(), types.end(), *type) == types.end()) reader.fail("\"type\" is none of " + known(types));
  return *type;
}

void read_backup(JsonReader& reader, GenRequest& request, const std::filesystem::path& folder) {
  const auto backup = reader.optional_text("backup");
  if (reader.has("kek")) request.keks = reader.texts("kek");
  if (backup.has_value() == request.keks.empty()) reader.fail("\"backup\" and \"kek\" go together");
  if (!backup) return;
  if (request.exportable) reader.fail("\"exportable\" and \"backup\" exclude each other");
  if (request.role == Role::kek)
    reader.fail("a kek is backed up with kmtool gen --backup or export-kek, for which somebody must pin the recipient");
  request.backup = folder / *backup;
}

GenRequest request_of(const Json& json, const JsonFail& fail, std::size_t number, const std::filesystem::path& folder) {
  JsonReader reader(json, fail, fmt::format("keys[{}]", number));
  GenRequest request;
  request.name = reader.text("name");
  if (!is_name(request.name)) reader.fail("\"name\" is not a name: 1 to 64 letters, digits, dots, underscores and hyphens");
  request.role = role_of(reader);
  request.type = type_of(reader, request.role);
  request.exportable = reader.optional_boolean("exportable").value_or(false);
  read_backup(reader, request, folder);
  if (const auto period = reader.optional_text("cryptoperiod")) {
    request.cryptoperiod = parse_duration(*period);
    if (!request.cryptoperiod) reader.fail("\"cryptoperiod\" is not a duration such as 90d or 1y");
  }
  request.owner = reader.optional_text("owner").value_or("");
  request.application = reader.optional_text("application").value_or("");
  if (const auto time = reader.optional_text("activate_at")) {
    request.activate_at = parse_rfc3339(*time);
    if (!request.activate_at) reader.fail("\"activate_at\" is not a time such as 2027-01-31T00:00:00Z");
  }
  request.count = static_cast<int>(reader.optional_integer("count", 1, static_cast<std::int64_t>(most_keys)).value_or(1));
  reader.finish();
  return request;
}

std::vector<std::string> names_of(const GenRequest& request) {
  if (request.count == 1) return {request.name};
  std::vector<std::string> names;
  for (int i = 1; i <= request.count; ++i) names.push_back(fmt::format("{}-{:04}", request.name, i));
  return names;
}

std::string yes_no(bool value) { return value ? "yes" : "no"; }
std::string or_none(const std::string& text) { return text.empty() ? "none" : text; }

void compare(const op::Context& context, const GenRequest& request, const op::KeyRecord& key, SpecResult& result) {
  const auto version = context.find_version(key.name, key.active.value_or(key.latest));
  const std::size_t before = result.differences.size();
  const auto hold = [&](const char* field, const std::string& wanted, const std::string& found) {
    if (wanted != found) result.differences.push_back({key.name, field, wanted, found});
  };
  hold("role", std::string(to_text(request.role)), std::string(to_text(key.role)));
  hold("type", std::string(to_text(request.type)), std::string(to_text(key.type)));
  if (version) {
    hold("exportable", yes_no(request.exportable), yes_no(version->extractable));
    if (request.backup) hold("backup", "yes", yes_no(version->backed_up));
    const bool waits = request.activate_at && version->state == State::pre_activation;
    if (!key.active && !waits) hold("state", "active", std::string(to_text(version->state)));
  }
  const auto period = [](const std::optional<std::int64_t>& seconds) {
    return seconds ? duration_text(*seconds) : std::string("the policy's");
  };
  hold("cryptoperiod", period(request.cryptoperiod), period(key.cryptoperiod));
  hold("owner", or_none(request.owner), or_none(key.owner));
  hold("application", or_none(request.application), or_none(key.application));
  if (result.differences.size() == before) result.unchanged.push_back(key.name);
}

/// The highest number of NAME-0001 … in the catalog, beyond those of the list: the list's count was greater once.
int counted_before(const op::Context& context, const GenRequest& request, const std::set<std::string>& listed) {
  int highest = 0;
  for (const auto& key : context.keys()) {
    const auto& name = key.name;
    const auto digits = name.size() > request.name.size() + 4 ? name.substr(request.name.size() + 1) : "";
    if (!name.starts_with(request.name + "-") || digits.size() > 6 || digits.find_first_not_of("0123456789") != std::string::npos) continue;
    const int number = digits.empty() ? 0 : std::stoi(digits);
    if (number > 0 && name == fmt::format("{}-{:04}", request.name, number) && !listed.contains(name)) highest = std::max(highest, number);
  }
  return highest;
}

/// In a dry run a KEK of the same list is not there yet: its part is left out of what is looked at.
GenResult preview(op::Context& context, GenRequest request, const std::set<std::string>& promised) {
  const bool waits = std::any_of(request.keks.begin(), request.keks.end(),
                                 [&](const auto& kek) { return promised.contains(kek) && !context.find_key(kek); });
  if (!waits) return generate(context, request);
  home::check_bundle_output(*request.backup, context.options.overwrite);
  request.backup.reset();
  request.keks.clear();
  auto made = generate(context, request);
  for (auto& version : made.keys) version.backed_up = true;
  return made;
}

}  // namespace

Spec parse_spec(const std::string& text, const std::string& name, const std::filesystem::path& folder) {
  const JsonFail fail = [&name](const std::string& what) {
    throw Error::config(printable(name) + ": " + printable(what), "see kmtool-spec(5)");
  };
  const Json json = parse_json(text, fail, {.comments = true});
  JsonReader reader(json, fail);
  if (reader.integer("kmspec", 0, 1000000) != 1) reader.fail("\"kmspec\" must be 1: this kmtool knows version 1");
  Spec spec;
  std::set<std::string> names;
  std::size_t total = 0;
  for (const auto& entry : reader.array("keys")) {
    spec.keys.push_back(request_of(entry, fail, spec.keys.size(), folder));
    total += static_cast<std::size_t>(spec.keys.back().count);
    if (total > most_keys) reader.fail(fmt::format("more than {} keys", most_keys));
    for (const auto& one : names_of(spec.keys.back())) {
      if (!is_name(one)) reader.fail("the name " + one + " is too long");
      if (!names.insert(one).second) reader.fail("the key " + one + " is listed twice");
    }
  }
  reader.finish();
  return spec;
}

Spec read_spec(const std::filesystem::path& path) {
  return parse_spec(read_file(path, std::size_t{16} << 20), path.string(), std::filesystem::absolute(path).parent_path());
}

void apply_spec(op::Context& context, const Spec& spec, SpecResult& result) {
  std::set<std::string> promised, listed;
  for (const auto& request : spec.keys) {
    for (auto& name : names_of(request)) listed.insert(std::move(name));
  }
  for (const auto& request : spec.keys) {
    if (const int before = counted_before(context, request, listed); before > (request.count == 1 ? 0 : request.count)) {
      result.differences.push_back({request.name, "count", std::to_string(request.count), std::to_string(before)});
      if (request.count == 1) continue;  // NAME alone would be a further key, and not the first of them
    }
    std::vector<std::string> missing;
    const auto names = names_of(request);
    for (const auto& name : names) {
      promised.insert(name);
      if (const auto key = context.find_key(name)) {
        compare(context, request, *key, result);
      } else {
        missing.push_back(name);
      }
    }
    if (missing.empty()) continue;
    std::vector<GenRequest> wanted{request};
    if (missing.size() < names.size()) {
      if (request.backup) {  // one bundle holds them all, and it is written already
        result.differences.push_back(
            {request.name, "count", std::to_string(names.size()), std::to_string(names.size() - missing.size())});
        continue;
      }
      wanted.assign(missing.size(), request);
      for (std::size_t i = 0; i < missing.size(); ++i) {
        wanted[i].name = missing[i];
        wanted[i].count = 1;
      }
    }
    for (const auto& one : wanted) {
      context.check_stop();
      auto made = context.options.dry_run ? preview(context, one, promised) : generate(context, one);
      for (auto& version : made.keys) result.made.push_back(std::move(version));
      if (made.bundle) result.backups.push_back(*std::move(made.bundle));
    }
  }
}

}  // namespace kmtool::keys
