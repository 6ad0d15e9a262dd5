#include "head.hpp"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>

namespace kmtool::serve {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using boost::beast::iequals;
using boost::beast::string_view;
using Progress = HeadResult::State;

std::string_view as_view(string_view text) { return {text.data(), text.size()}; }

// -- bytes --------------------------------------------------------------------------------------------------------------
// Beast joins folded lines and looks for the end of a line only where it expects one. The bytes are looked at before it sees
// them.

/// A control character other than tab, CR and LF.
bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t' && c != '\r' && c != '\n') || byte == 0x7f;
}

/// The LF at `i` ends an empty line.
bool ends_head(std::string_view bytes, std::size_t i) { return i >= 3 && bytes[i - 2] == '\n' && bytes[i - 1] == '\r'; }

/// What is wrong with the byte at `i`; nullptr where nothing is, or where what follows is not there yet.
const char* wrong_at(std::string_view bytes, std::size_t i) {
  const char c = bytes[i];
  if (is_control(c)) return "control-character";
  if (c == '\r') return i + 1 < bytes.size() && bytes[i + 1] != '\n' ? "bare-cr" : nullptr;
  if (c != '\n') return nullptr;
  if (i == 0 || bytes[i - 1] != '\r') return "bare-lf";
  if (ends_head(bytes, i)) return nullptr;  // what follows is no line of this head
  return i + 1 < bytes.size() && (bytes[i + 1] == ' ' || bytes[i + 1] == '\t') ? "folded-line" : nullptr;
}

struct Scan {
  std::size_t end = 0;  ///< of the head; 0: not there yet
  const char* why = nullptr;
};

Scan scan(std::string_view bytes, std::size_t from) {
  // Of the last byte looked at before, what follows was not known.
  for (std::size_t i = from > 0 ? from - 1 : 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if (byte >= 0x20 && byte != 0x7f) continue;
    if (const char* why = wrong_at(bytes, i)) return {0, why};
    if (bytes[i] == '\n' && ends_head(bytes, i)) return {i + 1, nullptr};
  }
  return {};
}

// -- fields -------------------------------------------------------------------------------------------------------------

struct KnownField {
  std::string_view text;
  Name name;
  bool once;  ///< a second one makes the request ambiguous
};
constexpr KnownField known_fields[] = {
    {"authorization", Name::authorization, false},  // several keys are compared
    {"x-api-key", Name::api_key, false},
    {"x-forwarded-for", Name::forwarded_for, false},  // a list, which may lie on several lines
    {"x-forwarded-uri", Name::forwarded_uri, true},
    {"x-original-uri", Name::original_uri, true},
    {"referer", Name::referrer, true},
    {"x-android-package", Name::android_package, true},
    {"x-android-cert", Name::android_cert, true},
    {"x-ios-bundle-identifier", Name::ios_bundle, true},
    {"x-kmtool-scope", Name::scope, false},
    {"forwarded", Name::proxied, false},
    {"via", Name::proxied, false},
    {"x-real-ip", Name::proxied, false},
};
constexpr std::string_view proxy_prefixes[] = {"x-forwarded-", "x-original-", "x-envoy-"};

bool starts_with(string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && iequals(text.substr(0, prefix.size()), string_view(prefix.data(), prefix.size()));
}

/// All digits, at most 18 of them (below 2^63).
bool is_length(std::string_view text) {
  return !text.empty() && text.size() <= 18 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Beast's parser, handing its views on. `why` says what is wrong where that is ours to say.
class Reader final : public http::basic_parser<true> {
 public:
  explicit Reader(Head& head) : head_(head) {
    header_limit(static_cast<std::uint32_t>(max_head));
    skip(true);  // bodies are the connection's business
  }
  [[nodiscard]] const char* why() const { return why_; }
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] bool length_seen() const { return lengths_ > 0; }
  [[nodiscard]] bool encoding_seen() const { return encodings_ > 0; }

  /// What no single field tells; called after the last.
  void finish() {
    if (lengths_ > 0 && encodings_ > 0) return refuse("length-and-encoding");
    if (encodings_ > 0 && version_ < 11) return refuse("encoding-in-1.0");
    if (version_ >= 11 && hosts_ == 0) return refuse("no-host");
    head_.has_body = body_;
    head_.keep_alive = version_ >= 11 && keep_alive();  // HTTP/1.0 need not be fast
  }

 protected:
  void on_request_impl(http::verb, string_view method, string_view target, int version, error_code& code) override {
    version_ = version;
    head_.method = as_view(method);
    head_.target = as_view(target);
    const auto odd = [](char c) { return static_cast<unsigned char>(c) > 0x7e; };
    if (target.front() != '/' || std::any_of(target.begin(), target.end(), odd)) refuse("bad-target", code);
  }

  void on_field_impl(http::field field, string_view name, string_view value, error_code& code) override {
    if (++count_ > max_fields) {
      status_ = 431;
      return refuse("too-many-fields", code);
    }
    switch (field) {
      case http::field::host:
        if (++hosts_ > 1) refuse("two-hosts", code);
        return;
      case http::field::content_length:
        if (++lengths_ > 1) return refuse("two-lengths", code);
        if (!is_length(as_view(value))) return refuse("bad-length", code);
        body_ = body_ || value.find_first_not_of('0') != string_view::npos;
        return;
      case http::field::transfer_encoding:
        if (++encodings_ > 1 || !iequals(value, "chunked")) return refuse("bad-encoding", code);
        body_ = true;
        return;
      default:
        return keep(name, value, code);
    }
  }

  void on_header_impl(error_code&) override {}
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(string_view, error_code&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view, error_code&) override { return 0; }
  void on_finish_impl(error_code&) override {}

 private:
  void keep(string_view name, string_view value, error_code& code) {
    for (const auto& known : known_fields) {
      if (name.size() != known.text.size() || !iequals(name, string_view(known.text.data(), known.text.size()))) continue;
      if (known.once && head_.has(known.name)) return refuse("repeated-field", code);
      head_.fields.push_back({known.name, as_view(value)});
      return;
    }
    const auto begins = [name](std::string_view prefix) { return starts_with(name, prefix); };
    if (std::any_of(std::begin(proxy_prefixes), std::end(proxy_prefixes), begins))
      head_.fields.push_back({Name::proxied, as_view(value)});
  }
  void refuse(const char* why) {
    if (why_ == nullptr) why_ = why;
  }
  void refuse(const char* why, error_code& code) {
    refuse(why);
    code = http::error::bad_field;
  }

  Head& head_;
  const char* why_ = nullptr;
  int status_ = 400;
  int version_ = 0;
  std::size_t count_ = 0;
  int hosts_ = 0, lengths_ = 0, encodings_ = 0;
  bool body_ = false;
};

HeadResult refused(int status, const char* why) { return {Progress::refused, 0, status, why}; }

/// Beast's complaint in one of our words.
HeadResult refused(const error_code& code, const Reader& reader) {
  if (code == http::error::bad_version) return refused(505, "bad-version");
  if (code == http::error::bad_method || code == http::error::bad_target) return refused(400, "bad-request-line");
  // It looks at these two itself before it hands them on.
  const bool length = code == http::error::bad_content_length, encoding = code == http::error::bad_transfer_encoding;
  if ((length && reader.encoding_seen()) || (encoding && reader.length_seen())) return refused(400, "length-and-encoding");
  if (code == http::error::multiple_content_length) return refused(400, "two-lengths");
  if (length) return refused(400, "bad-length");
  if (encoding) return refused(400, "bad-encoding");
  if (code == http::error::header_limit) return refused(431, "head-too-large");
  return refused(400, "bad-field");
}

}  // namespace

std::string_view Head::field(Name name) const {
  const auto found = std::find_if(fields.begin(), fields.end(), [name](const Field& field) { return field.name == name; });
  return found == fields.end() ? std::string_view{} : found->value;
}

bool Head::has(Name name) const {
  return std::any_of(fields.begin(), fields.end(), [name](const Field& field) { return field.name == name; });
}

const std::vector<std::string_view>& head_refusals() {
  static const std::vector<std::string_view> all{
      "control-character", "bare-cr",    "bare-lf",     "folded-line", "head-too-large",      "too-many-fields",
      "bad-request-line",  "bad-target", "bad-version", "bad-field",   "length-and-encoding", "encoding-in-1.0",
      "no-host",           "two-hosts",  "two-lengths", "bad-length",  "bad-encoding",        "repeated-field",
  };
  return all;
}

HeadResult read_head(std::string_view bytes, Head& head, std::size_t& seen) {
  const std::string_view window = bytes.substr(0, max_head);
  const Scan found = scan(window, seen);
  if (found.why != nullptr) return refused(400, found.why);
  seen = window.size();
  if (found.end == 0) return window.size() == max_head ? refused(431, "head-too-large") : HeadResult{};
  head = Head{{}, {}, false, false, std::move(head.fields)};
  head.fields.clear();
  Reader reader(head);
  error_code code;
  const std::size_t used = reader.put(boost::asio::const_buffer(bytes.data(), found.end), code);
  if (!code) reader.finish();
  if (reader.why() != nullptr) return refused(reader.status(), reader.why());
  if (code) return refused(code, reader);
  // Beast and the scan must agree about where the head ends: what lies between would be a second request.
  if (used != found.end || !reader.is_done()) return refused(400, "bad-field");
  return {Progress::complete, found.end, 0, ""};
}

}  // namespace kmtool::serve
