#include "keys/make.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::keys {

namespace {

/// Opens one value of the file as a session object, which goes again, and holds it against the key that is about to be.
void compare(op::Context& context, const op::Kek& kek, const bundle::Recipient& recipient, const bundle::Record& record, ByteView wrapped,
             const std::vector<pkcs11::FreshObject>& born) {
  auto& token = context.token();
  const Part part = op::wrapped_part(record.role);
  std::optional<crypto::PublicKey> half;
  if (record.public_spki) half = crypto::PublicKey::from_spki(*record.public_spki);
  const pkcs11::ObjectSpec spec{record.role, record.type, part, label_of(record.name, record.version), record.id, false};
  const auto opened = token.unwrap(kek.wrap.handle, recipient.algorithm, wrapped, spec, false, half ? &*half : nullptr);
  bool same = part != Part::private_half || record.role != Role::sign || token.private_matches(token.read(opened.handle), half.value());
  for (const auto& object : born) {
    if (part == Part::private_half || object.spec.part != part) continue;
    same = token.same_key(token.read(opened.handle), token.read(object.handle), record.role, part);
  }
  token.destroy(opened.handle);
  if (!same) throw Error::tampered("the backup of " + spec.label + " does not open to the key that was wrapped", "nothing was made; look at the token with kmtool token");
}

}  // namespace

void prove_backup(op::Context& context, const std::filesystem::path& file, const op::BundleRecord& written, const std::vector<op::Kek>& keks,
                  const std::vector<std::vector<pkcs11::FreshObject>>& born) {
  LineReader reader(file, bundle::max_line);
  const auto summary = bundle::read(reader, {});
  if (summary.file_digest != written.digest || !bundle::signature_by(summary, context.document_key(), file.string())) {
    throw Error::io(file.string() + " cannot be read back as it was written", "check the disk; nothing was made");
  }
  for (std::size_t i = 0; i < keks.size(); ++i) {
    bundle::require_seal(summary, i, context.token().hmac_sha256(keks[i].seal.handle, summary.seal_message), file.string());
  }
  reader.rewind();
  std::size_t index = 0;
  const auto again = bundle::read(reader, [&](const bundle::Record& record, std::size_t) {
    for (std::size_t i = 0; i < keks.size(); ++i) compare(context, keks[i], summary.header.recipients[i], record, record.wrapped[i], born.at(index));
    context.progress("proving the backup", ++index, born.size());
  });
  if (again.file_digest != written.digest) throw Error::tampered(file.string() + " changed while it was read", "nothing was made");
}

}  // namespace kmtool::keys
