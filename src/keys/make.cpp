#include "keys/make.hpp"

#include "kmtool/core/file.hpp"

namespace kmtool::keys {

namespace {

/// Takes over what the token shows of a pair's public half.
void note_public(op::Context& context, op::VersionRecord& version, const pkcs11::Object& object) {
  if (object.object_class == pkcs11::ObjectClass::public_key) version.public_spki = context.token().public_key(object).spki();
}

using Rows = std::function<std::vector<journal::Change>(const op::VersionRecord&)>;

op::Outcome act(op::Context& context, std::vector<op::VersionRecord>& versions, op::BundleOut& out, AtomicFile& file,
                const op::PlannedFile& planned, const std::vector<op::Kek>& keks, const Rows& rows, op::BundleRecord& bundle) {
  auto& token = context.token();
  std::vector<std::vector<pkcs11::FreshObject>> fresh;
  for (auto& version : versions) {
    context.check_stop();
    fresh.push_back(token.generate(version.role, version.type, version.label(), version.id, true));
    std::optional<pkcs11::Object> wrapped;
    for (const auto& part : fresh.back()) {
      auto object = token.read(part.handle);
      note_public(context, version, object);
      if (part.spec.part == op::wrapped_part(version.role)) wrapped = std::move(object);
    }
    out.add(version, wrapped.value());
    context.progress("backing up", fresh.size(), versions.size());
  }
  bundle = out.finish();
  prove_backup(context, planned.temporary_path, bundle, keks, fresh);
  op::Outcome outcome;
  for (std::size_t i = 0; i < versions.size(); ++i) {
    for (const auto& part : fresh[i]) token.persist(part, versions[i].extractable);
    for (auto& change : rows(versions[i])) outcome.changes.push_back(std::move(change));
  }
  op::keep_replaced(planned);
  file.commit();
  for (auto& change : op::replaced_changes(context, planned, bundle)) outcome.changes.push_back(std::move(change));
  for (auto& change : bundle.changes()) outcome.changes.push_back(std::move(change));
  return outcome;
}

}  // namespace

void make_on_token(op::Context& context, op::VersionRecord& version) {
  auto& token = context.token();
  const bool pair = class_of(version.type) == KeyClass::pair;
  if (!token.profile().copies || (pair && !token.profile().private_pairs_copy)) {
    for (const auto& object : token.generate_on_token(version.role, version.type, version.label(), version.id, version.extractable)) {
      note_public(context, version, object);
    }
    return;
  }
  for (const auto& fresh : token.generate(version.role, version.type, version.label(), version.id, version.extractable)) {
    note_public(context, version, token.persist(fresh, version.extractable));
  }
}

void require_backup_possible(const pkcs11::Token& token, Role role, KeyType type) {
  const bool pair = class_of(type) == KeyClass::pair;
  if (!token.profile().copies || (pair && !token.profile().private_pairs_copy)) {
    throw Error::unavailable("this token cannot copy keys, which backup at birth needs",
                             role == Role::kek ? "make the kek --exportable and back it up with kmtool export-kek"
                                               : "make the key --exportable and back it up with kmtool wrap");
  }
}

BackedUp make_backed_up(op::Context& context, op::Plan plan, std::vector<op::VersionRecord>& versions, const Birth& birth, const Rows& rows) {
  const auto algorithm = op::common_algorithm(context.token(), versions);
  const auto keks = op::keks_on_token(context, birth.keks, context.objects_of(birth.keks));
  const auto id = op::new_bundle_id(context);
  std::vector<std::string> labels;
  labels.reserve(versions.size());
  for (const auto& version : versions) labels.push_back(version.label());
  plan.files.push_back(op::planned_file(context, birth.target, id, labels));
  for (const auto& version : versions) {
    for (auto& change : rows(version)) plan.finish.push_back(std::move(change));
  }
  BackedUp result;
  result.kept = plan.files[0].kept_path;
  context.run(plan, [&] {
    AtomicFile file(birth.target, context.options.overwrite, plan.files[0].temporary_path);
    op::BundleOut out(context, file, keks, id, versions.size(), birth.waivers, algorithm);
    return act(context, versions, out, file, plan.files[0], keks, rows, result.bundle);
  });
  return result;
}

namespace {

/// What lies on the disk is what was written, and each parent opens it to these two keys. Only the other site can open it for a public key.
void prove_kek_backup(op::Context& context, const std::filesystem::path& path, const op::BundleRecord& written, const std::vector<op::KekRecipient>& recipients,
                      const std::vector<pkcs11::FreshObject>& born, bool layered) {
  std::vector<bundle::Record> records;
  LineReader reader(path, bundle::max_line);
  const auto summary = bundle::read(reader, [&](const bundle::Record& record, std::size_t) { records.push_back(record); });
  if (summary.file_digest != written.digest) throw Error::tampered(path.string() + " reads back as something else than was written", "the disk is not to be trusted; write elsewhere");
  auto& token = context.token();
  for (std::size_t i = 0; i < recipients.size(); ++i) {
    if (!recipients[i].parent || layered) continue;
    for (std::size_t part = 0; part < born.size(); ++part) {
      const auto& spec = born[part].spec;
      const auto opened = token.unwrap(recipients[i].parent->wrap.handle, recipients[i].line.algorithm, records.at(part).wrapped.at(i), spec, false);
      const bool same = token.same_key(token.read(opened.handle), token.read(born[part].handle), Role::kek, spec.part);
      token.destroy(opened.handle);
      if (!same) throw Error::tampered("the backup of " + spec.label + " opens under " + recipients[i].line.kek + " to another key", "nothing was made");
    }
  }
}

}  // namespace

BackedUp make_kek_backed_up(op::Context& context, op::Plan plan, op::VersionRecord& version, const KekBirth& birth,
                            const std::vector<journal::Change>& rows) {
  const auto id = op::new_bundle_id(context);
  plan.files.push_back(op::planned_file(context, birth.target, id, {version.label()}));
  plan.finish = rows;
  BackedUp result;
  result.kept = plan.files[0].kept_path;
  context.run(plan, [&] {
    AtomicFile file(birth.target, context.options.overwrite, plan.files[0].temporary_path);
    auto& token = context.token();
    const auto fresh = token.generate(Role::kek, version.type, version.label(), version.id, true);
    op::KekOut out(context, file, birth.recipients, id, birth.waivers, birth.layer);
    result.bundle = out.write(version, token.read(fresh.at(0).handle), token.read(fresh.at(1).handle));
    prove_kek_backup(context, plan.files[0].temporary_path, result.bundle, birth.recipients, fresh, static_cast<bool>(birth.layer.put_on));
    for (const auto& part : fresh) token.persist(part, version.extractable);
    op::keep_replaced(plan.files[0]);
    file.commit();
    op::Outcome outcome{rows, {{"bundle", id}, {"digest", result.bundle.digest}}};
    for (auto& change : op::replaced_changes(context, plan.files[0], result.bundle)) outcome.changes.push_back(std::move(change));
    for (auto& change : result.bundle.changes()) outcome.changes.push_back(std::move(change));
    return outcome;
  });
  return result;
}

}  // namespace kmtool::keys
