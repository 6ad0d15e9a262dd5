#include "kmtool/op/kek_out.hpp"

#include "kmtool/core/host.hpp"

namespace kmtool::op {

namespace {

bundle::Record record_of_part(const VersionRecord& version, Part part, const pkcs11::Object& object) {
  bundle::Record record;
  record.name = version.name;
  record.version = version.version;
  record.id = version.id;
  record.type = part == Part::kek_seal ? KeyType::hmac_sha256 : version.type;
  record.role = Role::kek;
  record.strength = strength_of(record.type);
  record.state = version.state;
  record.created = version.created;
  record.expires = version.expires;
  record.extractable = version.extractable;
  record.local = object.local.value_or(false);
  record.always_sensitive = object.always_sensitive.value_or(false);
  record.never_extractable = object.never_extractable.value_or(false);
  record.usage = usage_of(Role::kek, version.type, part);
  record.plaintext_length = value_length(record.type);
  return record;
}

Bytes wrap_for(pkcs11::Token& token, const KekRecipient& recipient, const pkcs11::Object& object) {
  if (recipient.key) return token.wrap_to(*recipient.key, object.handle, recipient.line.transport);
  return token.wrap(recipient.parent.value().wrap.handle, object.handle, recipient.line.algorithm);
}

}  // namespace

KekOut::KekOut(Context& context, AtomicFile& file, std::vector<KekRecipient> recipients, const std::string& id,
               const std::vector<policy::Waiver>& waivers, ValueLayer layer)
    : context_(context), file_(file), recipients_(std::move(recipients)), layer_(std::move(layer)) {
  const auto& info = context.token().info();
  header_.kind = "kek";
  header_.id = id;
  header_.created = context.now();
  header_.creator = std::string("kmtool ") + KMTOOL_VERSION;
  header_.token = {info.label, info.serial, info.manufacturer, info.model, info.hardware};
  for (const auto& recipient : recipients_) header_.recipients.push_back(recipient.line);
  header_.records = 2;
  for (const auto& waiver : waivers) header_.waivers.push_back({waiver.rule, waiver.reason});
  if (layer_.describe) layer_.describe(header_);
}

BundleRecord KekOut::write(const VersionRecord& version, const pkcs11::Object& wrap, const pkcs11::Object& seal) {
  auto& token = context_.token();
  bundle::Writer writer(file_, header_);
  const std::pair<Part, const pkcs11::Object*> parts[] = {{Part::kek_wrap, &wrap}, {Part::kek_seal, &seal}};
  for (std::size_t number = 0; number < std::size(parts); ++number) {
    auto record = record_of_part(version, parts[number].first, *parts[number].second);
    for (std::size_t i = 0; i < recipients_.size(); ++i) {
      context_.check_stop();
      Bytes value = wrap_for(token, recipients_[i], *parts[number].second);
      record.wrapped.push_back(layer_.put_on ? layer_.put_on(header_, number, i, value) : std::move(value));
    }
    writer.add(record);
  }
  const auto algorithm = token.wrap_algorithm(KeyType::hmac_sha256).value_or(WrapAlgorithm::aes_kwp);
  const bundle::PairProof pair{algorithm, token.wrap(wrap.handle, seal.handle, algorithm)};
  BundleRecord row;
  row.digest = writer.finish(
      [&](std::size_t recipient, ByteView message) {
        return token.hmac_sha256(recipient == bundle::Seal::own ? seal.handle : recipients_[recipient].parent.value().seal.handle, message);
      },
      [this](ByteView digest) { return context_.sign_document(digest); }, context_.document_key().fingerprint(), pair);
  file_.sync();
  if (layer_.before_commit) layer_.before_commit(header_);
  row.take(header_);
  row.path = file_.target().string();
  row.host = host_name();
  row.keys = {version.label()};
  return row;
}

Json describe(const std::vector<KekRecipient>& recipients) {
  Json list = Json::array();
  for (const auto& recipient : recipients) {
    Json one;
    one[recipient.key ? "public_key" : "kek"] = recipient.key ? recipient.line.public_key : recipient.line.kek;
    one["type"] = to_text(recipient.line.type);
    one["strength"] = recipient.line.strength;
    one["algorithm"] = recipient.line.algorithm_text();
    if (recipient.key) one["pinned_by"] = recipient.pinned_by;
    list.push_back(std::move(one));
  }
  return list;
}

std::vector<std::string> remarks_on(const std::vector<KekRecipient>& recipients) {
  std::vector<std::string> remarks;
  for (const auto& recipient : recipients) {
    if (!recipient.key || recipient.line.transport.hash != "SHA-1") continue;
    remarks.push_back(recipient.facts.label + ": OAEP with SHA-1, the only hash that both tokens are known to do; its weakness, collisions, does not matter in OAEP");
  }
  return remarks;
}

std::vector<policy::Waiver> judge_recipients(Context& context, const VersionRecord& kek, const std::vector<KekRecipient>& recipients, bool at_birth) {
  const auto& rules = context.home.policy;
  std::vector<policy::Violation> violations;
  for (const auto& recipient : recipients) {
    for (auto& violation : policy::judge_export(rules, recipient.facts, kek.facts(), context.now(), at_birth)) violations.push_back(std::move(violation));
  }
  return policy::enforce(rules, violations, context.options.waivers);
}

}  // namespace kmtool::op
