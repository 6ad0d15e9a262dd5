#include "limits.hpp"

#include <array>
#include <cstring>

#include "mechanism_names.hpp"

namespace kmtool::pkcs11 {

namespace {

constexpr std::size_t most_mechanisms = 1024;

/// PKCS#11 v2.40, 2.4: four digits of year, two of month, two of day; an empty one is none.
std::string date_of(const Session& session, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type) {
  std::array<char, 8> digits{};
  CK_ATTRIBUTE attribute{type, digits.data(), digits.size()};
  if (session.get_attributes(key, {&attribute, 1}) != CKR_OK || attribute.ulValueLen != digits.size()) return {};
  const std::string text(digits.begin(), digits.end());
  if (text.find_first_not_of("0123456789") != std::string::npos || text == "00000000") return {};
  return text.substr(0, 4) + "-" + text.substr(4, 2) + "-" + text.substr(6, 2);
}

std::vector<std::string> mechanisms_of(const Session& session, CK_OBJECT_HANDLE key, std::size_t length) {
  std::vector<CK_MECHANISM_TYPE> numbers(length / sizeof(CK_MECHANISM_TYPE));
  if (numbers.empty() || numbers.size() > most_mechanisms) return {};
  CK_ATTRIBUTE attribute{CKA_ALLOWED_MECHANISMS, numbers.data(), numbers.size() * sizeof(CK_MECHANISM_TYPE)};
  if (session.get_attributes(key, {&attribute, 1}) != CKR_OK || attribute.ulValueLen > numbers.size() * sizeof(CK_MECHANISM_TYPE)) return {};
  numbers.resize(attribute.ulValueLen / sizeof(CK_MECHANISM_TYPE));
  std::vector<std::string> names;
  names.reserve(numbers.size());
  for (const auto number : numbers) names.push_back(mechanism_name(number));
  return names;
}

}  // namespace

Limits read_limits(const Session& session, CK_OBJECT_HANDLE key) {
  std::array<CK_ATTRIBUTE, 4> lengths{{{CKA_START_DATE, nullptr, 0}, {CKA_END_DATE, nullptr, 0}, {CKA_ALLOWED_MECHANISMS, nullptr, 0}, {CKA_WRAP_TEMPLATE, nullptr, 0}}};
  if (session.get_attributes(key, lengths) != CKR_OK) {
    // A module may stop at the first that it does not know.
    for (auto& one : lengths) {
      one.ulValueLen = 0;
      if (session.get_attributes(key, {&one, 1}) != CKR_OK) one.ulValueLen = 0;
    }
  }
  const auto set = [&](std::size_t i) { return lengths[i].ulValueLen != 0 && lengths[i].ulValueLen != unavailable_length; };
  Limits limits;
  if (set(0)) limits.start_date = date_of(session, key, CKA_START_DATE);
  if (set(1)) limits.end_date = date_of(session, key, CKA_END_DATE);
  if (set(2)) limits.mechanisms = mechanisms_of(session, key, lengths[2].ulValueLen);
  limits.wrap_template = set(3);
  return limits;
}

}  // namespace kmtool::pkcs11
