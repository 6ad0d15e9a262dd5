#include <fmt/format.h>

#include "bundle/check.hpp"
#include "bundle/message.hpp"
#include "bundle/parse.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/secret.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::bundle {
namespace {

[[noreturn]] void damaged(const std::string& name, std::size_t line, const std::string& what) {
  throw Error::tampered(fmt::format("{}: line {}: {}", printable(name), line, what));
}

/// The lines of one pass, each refused under its own number.
class Lines {
 public:
  explicit Lines(LineReader& input) : input_(input) {
    input_.rewind();
    fail_ = [this](const std::string& what) { damaged(input_.name(), input_.line(), what); };
  }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;
  std::string_view need(const char* what) {
    const auto line = input_.next();
    if (!line) damaged(input_.name(), input_.line() + 1, fmt::format("the file ends where {} expected", what));
    return *line;
  }
  void end() {
    if (input_.next()) fail_("something follows the signature");
  }
  [[nodiscard]] const JsonFail& fail() const { return fail_; }
  [[nodiscard]] std::size_t number() const { return input_.line(); }
  [[nodiscard]] const std::string& name() const { return input_.name(); }

 private:
  LineReader& input_;
  JsonFail fail_;
};

void update(crypto::Digest& digest, std::string_view line) {
  digest.update(view(line));
  digest.update(view("\n"));
}

}  // namespace

Summary read(LineReader& input, const std::function<void(const Record&, std::size_t line)>& on_record) {
  Lines lines(input);
  crypto::Digest sha512(crypto::Hash::sha512), sha256(crypto::Hash::sha256);
  Summary summary;
  const auto take = [&](const char* what) {
    const std::string_view line = lines.need(what);
    update(sha256, line);
    return line;
  };
  std::string_view line = take("the header is");
  summary.header = parse_header(line, lines.fail());
  update(sha512, line);

  Seen seen;
  std::optional<Record> kek;  // the AES key of one
  for (std::uint64_t i = 0; i < summary.header.records; ++i) {
    line = take("a record is");
    const Record record = parse_record(line, summary.header, lines.fail());
    update(sha512, line);
    if (!summary.header.of_kek()) {
      remember(seen, record, lines.number());
    } else if (kek) {
      check_second(*kek, record, lines.fail());
    } else {
      kek = record;
    }
    if (on_record) on_record(record, lines.number());
  }
  if (const auto [again, first] = repeated(seen); again != 0) {
    damaged(lines.name(), again, fmt::format("the same key name and version, or the same id, as line {}", first));
  }

  summary.seal_message = seal_message(sha512.value());
  line = take("the seals are");
  summary.seals_line = lines.number();
  summary.seals = parse_seals(line, summary.header, lines.fail());
  summary.signed_digest = sha256.value();
  line = take("the signature is");
  summary.signature_line = lines.number();
  summary.signature = parse_signature(line, lines.fail());
  summary.file_digest = hex(sha256.value());
  lines.end();
  return summary;
}

Header read_header(LineReader& input) {
  Lines lines(input);
  const std::string_view line = lines.need("the header is");
  return parse_header(line, lines.fail());
}

bool signature_by(const Summary& summary, const crypto::PublicKey& signer, const std::string& file_name) {
  const bool named = signer.fingerprint() == summary.signature.key;
  const bool good = signer.verify_ecdsa_digest(summary.signed_digest, summary.signature.value);
  if (named && good) return true;
  if (named) damaged(file_name, summary.signature_line, "the signature is wrong: the file was changed after it was signed");
  if (good) damaged(file_name, summary.signature_line, "the signature names another key than the one that made it");
  return false;
}

const Seal* seal_of(const Summary& summary, std::size_t recipient) {
  for (const Seal& seal : summary.seals) {
    if (seal.recipient == recipient) return &seal;
  }
  return nullptr;
}

void require_seal(const Summary& summary, std::size_t recipient, ByteView expected, const std::string& file_name) {
  const Seal* seal = seal_of(summary, recipient);
  if (seal == nullptr) throw Error::internal("a seal was asked for that the bundle does not have");
  if (SecretBytes(ByteView(seal->value)).equals(SecretBytes(expected))) return;  // the comparison that takes constant time
  const std::string kek = recipient == Seal::own ? "the kek itself" : printable(summary.header.recipients.at(recipient).kek);
  damaged(file_name, summary.seals_line, fmt::format("the seal of {} is wrong: the file was changed after it was sealed", kek));
}

}  // namespace kmtool::bundle
