#include "ceremony/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "kmtool/core/json.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::ceremony {

namespace {

constexpr const char* forms =
    "exit N, contains TEXT, lacks TEXT, error contains TEXT, json PATH equals VALUE, json PATH count N, json PATH exists, file "
    "FILE exists, file FILE absent";

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 10 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// What follows so many words, blanks and all; quotes around the whole are taken off.
std::string rest_of(std::string_view text, std::size_t words) {
  for (; words > 0; --words) {
    text.remove_prefix(std::min(text.find(' '), text.size()));
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  }
  const bool quoted = text.size() > 1 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front();
  return std::string(quoted ? text.substr(1, text.size() - 2) : text);
}

/// A step of a path: a name, a place, or every place.
struct Part {
  std::string name;
  std::optional<std::size_t> place;
  bool every = false;
};

/// `keys[0].state`, `seals[*]`; nullopt where it is not well-formed.
std::optional<std::vector<Part>> path_of(const std::string& text) {
  std::vector<Part> parts;
  std::size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '[') {
      const auto end = text.find(']', at);
      if (end == std::string::npos) return std::nullopt;
      const auto inside = text.substr(at + 1, end - at - 1);
      if (inside == "*") {
        parts.push_back({{}, std::nullopt, true});
      } else if (is_number(inside)) {
        parts.push_back({{}, std::stoul(inside), false});
      } else {
        return std::nullopt;
      }
      at = end + 1;
      if (at < text.size() && text[at] == '.') ++at;
      continue;
    }
    const auto end = std::min(text.find_first_of(".[", at), text.size());
    if (end == at) return std::nullopt;
    parts.push_back({text.substr(at, end - at), std::nullopt, false});
    at = end;
    if (at < text.size() && text[at] == '.') ++at;
  }
  if (parts.empty() || text.back() == '.') return std::nullopt;
  return parts;
}

/// Every value that a path means; empty where one is missing.
std::vector<const Json*> values_of(const Json& document, const std::vector<Part>& path) {
  std::vector<const Json*> found{&document};
  for (const auto& part : path) {
    std::vector<const Json*> next;
    for (const auto* value : found) {
      if (part.every) {
        if (!value->is_array()) return {};
        for (const auto& element : *value) next.push_back(&element);
      } else if (part.place) {
        if (!value->is_array() || *part.place >= value->size()) return {};
        next.push_back(&(*value)[*part.place]);
      } else {
        if (!value->is_object() || !value->contains(part.name)) return {};
        next.push_back(&(*value)[part.name]);
      }
    }
    found = std::move(next);
  }
  return found;
}

std::string shown(const Json& value) { return value.is_string() ? value.get<std::string>() : dump_json(value); }

/// Empty where it holds, else what was found instead.
std::string json_problem(const Check& check, const Ran& ran) {
  Json document;
  try {
    document = parse_json(ran.out, [](const std::string& what) { throw Error::tampered(what); });
  } catch (const Error& error) {
    return "what it printed is not one JSON document (is --json missing?)";
  }
  const auto found = values_of(document, path_of(check.subject).value());
  if (found.empty()) return "there is no " + check.subject;
  for (const auto* value : found) {
    if (check.kind == Check::Kind::json_equals && shown(*value) != check.value) return "it is " + printable(shown(*value));
    if (check.kind == Check::Kind::json_count) {
      if (!value->is_array() && !value->is_object()) return "it is no list";
      if (std::to_string(value->size()) != check.value) return fmt::format("there are {}", value->size());
    }
  }
  return {};
}

std::string problem(const Check& check, const Ran* ran, const std::filesystem::path& folder) {
  std::error_code ignored;
  switch (check.kind) {
    case Check::Kind::exit:
      return std::to_string(ran->exit) == check.value ? "" : fmt::format("it ended with {}", ran->exit);
    case Check::Kind::contains:
      return ran->out.find(check.value) != std::string::npos ? "" : "it is not there";
    case Check::Kind::lacks:
      return ran->out.find(check.value) == std::string::npos ? "" : "it is there";
    case Check::Kind::error_contains:
      return ran->err.find(check.value) != std::string::npos ? "" : "it is not there";
    case Check::Kind::file_exists:
      return std::filesystem::exists(folder / check.subject, ignored) ? "" : "there is no such file";
    case Check::Kind::file_absent:
      return std::filesystem::exists(folder / check.subject, ignored) ? "it exists" : "";
    default:
      return json_problem(check, *ran);
  }
}

}  // namespace

Check parse_check(const std::string& text, std::size_t line, const std::function<void(const std::string& what)>& fail) {
  Check check;
  check.text = text;
  check.line = line;
  std::vector<std::string> words;
  try {
    words = split_command(text);
  } catch (const Error& error) {
    fail(error.message());
  }
  const auto is = [&words](std::size_t place, std::string_view word, std::size_t least) {
    return words.size() >= least && words.size() > place && words[place] == word;
  };
  if (is(0, "exit", 2) && words.size() == 2 && is_number(words[1])) {
    check.value = words[1];
  } else if (is(0, "contains", 2) || is(0, "lacks", 2)) {
    check.kind = words[0] == "lacks" ? Check::Kind::lacks : Check::Kind::contains;
    check.value = rest_of(text, 1);
  } else if (is(0, "error", 3) && words[1] == "contains") {
    check.kind = Check::Kind::error_contains;
    check.value = rest_of(text, 2);
  } else if (is(0, "file", 3) && words.size() == 3 && (words[2] == "exists" || words[2] == "absent")) {
    check.kind = words[2] == "exists" ? Check::Kind::file_exists : Check::Kind::file_absent;
    check.subject = words[1];
  } else if (is(0, "json", 3) && path_of(words[1])) {
    check.subject = words[1];
    check.kind = Check::Kind::json_exists;
    if (is(2, "equals", 4)) {
      check.kind = Check::Kind::json_equals;
      check.value = rest_of(text, 3);
    } else if (is(2, "count", 4) && words.size() == 4 && is_number(words[3])) {
      check.kind = Check::Kind::json_count;
      check.value = words[3];
    } else if (!(words.size() == 3 && words[2] == "exists")) {
      fail("this check is not understood; checks are " + std::string(forms));
    }
  } else {
    fail("this check is not understood; checks are " + std::string(forms));
  }
  return check;
}

std::vector<Verdict> judge(const std::vector<Check>& checks, const Ran* ran, const std::filesystem::path& folder) {
  std::vector<Verdict> verdicts;
  for (const auto& check : checks) {
    const bool of_a_file = check.kind == Check::Kind::file_exists || check.kind == Check::Kind::file_absent;
    if (ran == nullptr && !of_a_file) {
      verdicts.push_back({Verdict::Kind::unknown, check.text});
      continue;
    }
    const auto what = problem(check, ran, folder);
    verdicts.push_back(
        {what.empty() ? Verdict::Kind::ok : Verdict::Kind::failed, what.empty() ? check.text : check.text + ": " + what});
  }
  return verdicts;
}

}  // namespace kmtool::ceremony
