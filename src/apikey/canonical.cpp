#include <algorithm>

#include "kmtool/apikey/restrictions.hpp"
#include "kmtool/core/error.hpp"

namespace kmtool::apikey {

namespace {

/// JSON in the order and the spelling of to_json(), taken from the front. What has an escape in it is left to the JSON parser.
class Canonical {
 public:
  explicit Canonical(std::string_view text) : rest_(text) {}

  bool take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  /// `"name":` of the next member, where that is the next.
  bool member(std::string_view name) {
    auto rest = rest_;
    if (!first_) {
      if (!rest.starts_with(',')) return false;
      rest.remove_prefix(1);
    }
    if (rest.size() < name.size() + 3 || rest[0] != '"' || rest.substr(1, name.size()) != name || rest.substr(name.size() + 1, 2) != "\":") return false;
    rest_ = rest.substr(name.size() + 3);
    first_ = false;
    return true;
  }
  std::optional<std::string_view> quoted() {
    if (!take("\"")) return std::nullopt;
    const auto end = std::min(rest_.find('"'), rest_.size());
    const auto text = rest_.substr(0, end);
    const auto plain = [](char c) { return static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f && c != '\\'; };
    if (end == rest_.size() || !std::all_of(text.begin(), text.end(), plain)) return std::nullopt;
    rest_.remove_prefix(end + 1);
    return text;
  }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  bool first_ = true;
};

std::string text_of(const std::string& text) { return text; }
std::string text_of(const AndroidApp& app) { return app.package + "=" + app.certificate; }
template <class T>
std::string text_of(const T& value) {
  return value.text();
}

/// False: not in the one spelling. Absent is fine, empty is not.
template <class T, class F>
bool list(Canonical& text, std::string_view name, std::vector<T>& to, F&& parse) {
  if (!text.member(name)) return true;
  if (!text.take("[")) return false;
  do {
    const auto entry = text.quoted();
    if (!entry) return false;
    to.push_back(parse(*entry));
    if (text_of(to.back()) != *entry) return false;
  } while (text.take(","));
  return text.take("]");
}

std::string checked(std::string_view text, bool fits) {
  if (!fits) throw Error::usage("not well-formed");
  return std::string(text);
}

bool parse(Canonical& text, Restrictions& to) {
  bool good = text.take("{") && list(text, "ip", to.ip, [](auto entry) { return Network::parse(entry); });
  good = good && list(text, "referrer", to.referrer, [](auto entry) { return ReferrerPattern::parse(entry); });
  good = good && list(text, "android", to.android, [](auto entry) { return AndroidApp::parse(entry); });
  good = good && list(text, "ios", to.ios, [](auto entry) { return checked(entry, is_ios_bundle(entry)); });
  good = good && list(text, "scopes", to.scopes, [](auto entry) { return checked(entry, is_scope(entry)); });
  good = good && list(text, "windows", to.windows, [](auto entry) { return TimeWindow::parse(entry); });
  if (good && text.member("rate")) {
    const auto rate = text.quoted();
    if (!rate) return false;
    to.rate = Rate::parse(*rate);
    good = to.rate->text() == *rate;
  }
  if (good && text.member("unrestricted")) good = to.unrestricted = text.take("true");
  return good && text.take("}") && text.at_end();
}

}  // namespace

SharedRestrictions::SharedRestrictions() {
  static const auto none = std::make_shared<const Restrictions>();
  held_ = none;
}

std::optional<Restrictions> Restrictions::from_canonical(std::string_view text) {
  Canonical rest(text);
  Restrictions restrictions;
  try {
    if (parse(rest, restrictions)) return restrictions;
  } catch (const Error&) {
    return std::nullopt;  // from_json() says what is wrong
  }
  return std::nullopt;
}

}  // namespace kmtool::apikey
