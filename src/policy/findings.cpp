#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/policy/objects.hpp"
#include "policy/tools.hpp"

namespace kmtool::policy {
namespace {

/// One word of a shell's command line, whatever is in it; what cannot be shown is escaped, and then names nothing.
std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (const char c : printable(text)) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// As pkcs11-tool calls it.
const char* tool_type(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::secret:
      return "secrkey";
    case ObjectKind::private_half:
      return "privkey";
    case ObjectKind::public_half:
      return "pubkey";
    case ObjectKind::certificate:
      return "cert";
    default:
      return "data";
  }
}

std::string delete_command(const ObjectFacts& object) {
  if (object.id.empty() && object.label.empty()) return "destroy it with the vendor's tool: it has neither label nor id";
  return fmt::format("pkcs11-tool --login --delete-object --type {} {}", tool_type(object.kind),
                     object.id.empty() ? "--label " + shell_word(object.label) : "--id " + object.id);
}

void fill(std::string& text, const std::string& name, const std::string& value) {
  for (auto at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size())) text.replace(at, name.size(), value);
}

std::string fix_of(const Check& check, const ObjectFacts& object) {
  const bool own = object.record.has_value() && check.own[0] != '\0';
  std::string fix = own ? check.own : check.fix;
  const std::string version = object.record ? printable(object.record->label) : "KEY";
  fill(fix, "{delete}", delete_command(object));
  fill(fix, "{id}", object.id.empty() ? "HEX" : object.id);
  fill(fix, "{type}", tool_type(object.kind));
  fill(fix, "{version}", version);
  fill(fix, "{key}", name_in(version));
  fill(fix, "{label}", shell_word(object.label));
  return fix;
}

bool resembles_version_label(const std::string& label) {
  const auto at = label.find('@');
  if (at == 0 || at == std::string::npos || at > 64 || at + 1 == label.size() || label.size() - at > 7) return false;
  const auto in = [](char c, std::string_view more) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || more.find(c) != std::string_view::npos;
  };
  return in(label[0], "") && std::all_of(label.begin(), label.begin() + static_cast<std::ptrdiff_t>(at), [&](char c) { return in(c, "._-"); }) &&
         std::all_of(label.begin() + static_cast<std::ptrdiff_t>(at) + 1, label.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// What a door lets pass by waiver; a waiver for one thing must not hide another that falls under the same rule.
bool is_waivable(std::string_view check) {
  constexpr std::array<std::string_view, 5> at_the_door{"strength", "exportable-signature-key", "extractable", "no-wrap-with-trusted", "weaker-kek"};
  return std::find(at_the_door.begin(), at_the_door.end(), check) != at_the_door.end();
}

Finding begin(const Check& check, std::string evidence, std::optional<Severity> severity) {
  Finding found;
  found.rule = check.rule;
  found.check = check.id;
  found.severity = severity.value_or(check.severity);
  found.evidence = std::move(evidence);
  found.why = check.why;
  found.attack = check.attack;
  return found;
}

}  // namespace

std::string_view to_text(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::secret:
      return "secret-key";
    case ObjectKind::private_half:
      return "private-key";
    case ObjectKind::public_half:
      return "public-key";
    case ObjectKind::certificate:
      return "certificate";
    case ObjectKind::data:
      return "data";
    case ObjectKind::other:
      break;
  }
  return "other";
}

bool ObjectFacts::kmtool_made() const {
  if (owner != Owner::nobody) return true;
  const bool sealed = !holds_secret() || (is_private.value_or(false) && sensitive.value_or(false));
  return resembles_version_label(label) && id.size() == 32 && sealed && modifiable == false;
}

std::string ObjectFacts::usages() const {
  std::vector<std::string> names;
  const auto add = [&](bool is, const char* name) {
    if (is) names.emplace_back(name);
  };
  add(encrypt, "encrypt");
  add(decrypt, "decrypt");
  add(sign, "sign");
  add(verify, "verify");
  add(wrap, "wrap");
  add(unwrap, "unwrap");
  add(derive, "derive");
  add(sign_recover, "sign-recover");
  add(verify_recover, "verify-recover");
  return names.empty() ? "none" : join(names, ", ");
}

std::string ObjectFacts::named() const {
  const std::string name = !label.empty() ? printable(label) : id.empty() ? "an object without name" : "id " + id;
  return fmt::format("{} ({}{})", name, key.text(), kind == ObjectKind::public_half ? ", public half" : kind == ObjectKind::private_half ? ", private half" : "");
}

Finding finding_of(std::string_view check, const ObjectFacts& object, std::string evidence, std::optional<Severity> severity) {
  const Check& what = check_of(check);
  Finding found = begin(what, std::move(evidence), severity);
  found.object = {object.label, object.id, std::string(to_text(object.kind))};
  found.fix = fix_of(what, object);
  for (const auto& waiver : object.waivers) {
    if (waiver.rule == found.rule && is_waivable(check)) found.waived = waiver.reason;
  }
  return found;
}

Finding finding_of(std::string_view check, const TokenTraits& token, const std::string& evidence, std::optional<Severity> severity) {
  const Check& what = check_of(check);
  Finding found = begin(what, token.named() + ": " + evidence, severity);
  found.object = {token.label, "", "token"};
  found.fix = what.fix;
  return found;
}

void sort_findings(std::vector<Finding>& findings) {
  std::stable_sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
    if (a.waived.empty() != b.waived.empty()) return a.waived.empty();
    if (a.severity != b.severity) return a.severity > b.severity;
    if (a.object.label != b.object.label) return a.object.label < b.object.label;
    return a.check < b.check;
  });
}

}  // namespace kmtool::policy
