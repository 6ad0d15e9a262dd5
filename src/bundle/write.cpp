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
      header_(header),
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
  if (written_ >= header_.records) refuse(fmt::format("more than the {} records of its header", header_.records));
  check_record(record, header_, refuse);
  if (header_.of_kek() && first_) check_second(*first_, record, refuse);
  line(dump(record));
  ++written_;
  if (!header_.of_kek()) {
    remember(seen_, record, static_cast<std::size_t>(written_) + 1);
  } else if (!first_) {
    first_ = record;
  }
}

std::string Writer::finish(const SealFunction& seal, const SignFunction& sign, const std::string& signer_fingerprint, const PairProof& pair) {
  if (written_ != header_.records) refuse(fmt::format("{} of the {} records of its header", written_, header_.records));
  if (const auto [again, first] = repeated(seen_); again != 0) {
    refuse(fmt::format("lines {} and {} share a key name and version, or an id", first, again));
  }
  const Bytes message = seal_message(sha512_.value());
  std::vector<Seal> seals;
  for (const std::size_t sealer : sealers_of(header_)) {
    Seal made{.recipient = sealer, .value = seal(sealer, message)};
    if (sealer == Seal::own) made.pair_algorithm = pair.algorithm, made.pair = pair.value;
    seals.push_back(std::move(made));
  }
  check_seals(seals, header_, refuse);
  line(dump(seals));
  const Signature signature{.key = signer_fingerprint, .value = sign(sha256_.value())};
  check_signature(signature, refuse);
  line(dump(signature));
  return hex(sha256_.value());
}

}  // namespace kmtool::bundle
