#include <fmt/format.h>

#include "bundle/check.hpp"
#include "bundle/message.hpp"
#include "kmtool/core/encoding.hpp"

namespace kmtool::bundle {
namespace {

void refuse(const std::string& what) {
  throw Error::internal("a bundle that could not be read back was about to be written: " + what);
}

}  // namespace

Writer::Writer(AtomicFile& file, const Header& header)
    : file_(file),
      expected_(header.records),
      algorithms_(algorithms_of(header)),
      sha512_(crypto::Hash::sha512),
      sha256_(crypto::Hash::sha256) {
  check_header(header, refuse);
  line(dump(header));
}

void Writer::line(const std::string& text) {
  if (text.size() > max_line) refuse(fmt::format("a line of {} bytes", text.size()));
  const std::string whole = text + '\n';
  sha512_.update(view(whole));
  sha256_.update(view(whole));
  file_.write(whole);
}

void Writer::add(const Record& record) {
  if (written_ >= expected_) refuse(fmt::format("more than the {} records of its header", expected_));
  check_record(record, algorithms_, refuse);
  line(dump(record));
  ++written_;
  remember(seen_, record, static_cast<std::size_t>(written_) + 1);
}

std::string Writer::finish(const SealFunction& seal, const SignFunction& sign, const std::string& signer_fingerprint) {
  if (written_ != expected_) refuse(fmt::format("{} of the {} records of its header", written_, expected_));
  if (const auto [again, first] = repeated(seen_); again != 0) {
    refuse(fmt::format("lines {} and {} share a key name and version, or an id", first, again));
  }
  const Bytes message = seal_message(sha512_.value());
  std::vector<Seal> seals;
  for (std::size_t i = 0; i < algorithms_.size(); ++i) seals.push_back({.recipient = i, .value = seal(i, message)});
  check_seals(seals, algorithms_.size(), refuse);
  line(dump(seals));
  const Signature signature{.key = signer_fingerprint, .value = sign(sha256_.value())};
  check_signature(signature, refuse);
  line(dump(signature));
  return hex(sha256_.value());
}

}  // namespace kmtool::bundle
