#include "kmtool/domain/attributes.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool {
namespace {

constexpr std::array<std::pair<Part, std::string_view>, 6> part_names{{{Part::value, "value"},
                                                                       {Part::kek_wrap, "kek-wrap"},
                                                                       {Part::kek_seal, "kek-seal"},
                                                                       {Part::private_half, "private"},
                                                                       {Part::public_half, "public"},
                                                                       {Part::anchor, "anchor"}}};

Usage transport_usage(KeyType type, Part part) {
  const bool is_private = part == Part::private_half;
  // The host does the sender's half (anyone may encrypt to a transport key), so an EC public half needs no usage at all.
  if (is_rsa(type)) return is_private ? Usage{.unwrap = true} : Usage{.wrap = true};
  return is_private ? Usage{.derive = true} : Usage{};
}

}  // namespace

std::string_view to_text(Part part) {
  for (const auto& [value, name] : part_names) {
    if (value == part) return name;
  }
  throw Error::internal("no such part of a key");
}

std::optional<Part> part_from(std::string_view text) {
  for (const auto& [value, name] : part_names) {
    if (name == text) return value;
  }
  return std::nullopt;
}

const std::vector<Part>& parts_of(Role role) {
  static const std::vector<Part> single{Part::value};
  static const std::vector<Part> kek{Part::kek_wrap, Part::kek_seal};
  static const std::vector<Part> pair{Part::private_half, Part::public_half};
  switch (role) {
    case Role::kek:
      return kek;
    case Role::data:
    case Role::mac:
      return single;
    case Role::sign:
    case Role::transport:
      return pair;
  }
  throw Error::internal("no such role");
}

Usage usage_of(Role role, KeyType type, Part part) {
  if (part == Part::anchor) return {};
  const auto& parts = parts_of(role);
  if (std::find(parts.begin(), parts.end(), part) == parts.end()) {
    throw Error::internal("a key of role " + std::string(to_text(role)) + " has no part " + std::string(to_text(part)));
  }
  switch (role) {
    case Role::kek:
      return part == Part::kek_wrap ? Usage{.wrap = true, .unwrap = true} : Usage{.sign = true, .verify = true};
    case Role::data:
      return {.encrypt = true, .decrypt = true};
    case Role::mac:
      return {.sign = true, .verify = true};
    case Role::sign:
      return part == Part::private_half ? Usage{.sign = true} : Usage{.verify = true};
    case Role::transport:
      return transport_usage(type, part);
  }
  throw Error::internal("no such role");
}

std::string to_text(const Usage& usage) {
  std::vector<std::string> names;
  const auto add = [&](bool set, const char* name) {
    if (set) names.emplace_back(name);
  };
  add(usage.encrypt, "encrypt");
  add(usage.decrypt, "decrypt");
  add(usage.sign, "sign");
  add(usage.verify, "verify");
  add(usage.wrap, "wrap");
  add(usage.unwrap, "unwrap");
  add(usage.derive, "derive");
  return names.empty() ? "none" : join(names, ",");
}

}  // namespace kmtool
