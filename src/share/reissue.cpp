#include "kmtool/share/reissue.hpp"

#include "kmtool/core/file.hpp"
#include "kmtool/core/host.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/bundle_out.hpp"

namespace kmtool::share {

namespace {

struct Old {
  bundle::Summary summary;
  std::vector<bundle::Record> records;
};

Old read_old(const ReissueRequest& request) {
  LineReader reader(request.bundle, bundle::max_line);
  Old old;
  if (!bundle::read_header(reader).quorum)
    throw Error::usage(printable(request.bundle.string()) + " has no quorum: nothing can be issued anew",
                       "kmtool export-kek --quorum makes one");
  old.summary = bundle::read(reader, [&](const bundle::Record& record, std::size_t) { old.records.push_back(record); });
  request.require_trusted(old.summary);
  return old;
}

/// The objects that seal, by recipient number and Seal::own; each old seal is
/// held against them first.
std::map<std::size_t, pkcs11::Handle> sealers(op::Context& context, const Old& old, const std::string& file) {
  std::map<std::size_t, pkcs11::Handle> handles;
  const auto versions = context.versions();
  for (const auto& seal : old.summary.seals) {
    const bool own = seal.recipient == bundle::Seal::own;
    const auto& id = own ? old.records.front().id : old.summary.header.recipients.at(seal.recipient).id;
    const auto name = own ? label_of(old.records.front().name, old.records.front().version)
                          : old.summary.header.recipients.at(seal.recipient).kek;
    for (const auto& version : versions) {
      if (version.role != Role::kek || version.id != id || version.state == State::destroyed) continue;
      const auto kek = op::keks_on_token(context, {version}, context.objects_of({version})).front();
      bundle::require_seal(old.summary, seal.recipient, context.token().hmac_sha256(kek.seal.handle, old.summary.seal_message),
                           file);
      handles[seal.recipient] = kek.seal.handle;
    }
    if (!handles.contains(seal.recipient)) {
      throw Error::missing("the kek " + printable(name) + ", which seals the bundle, is not on this token",
                           "issue shares anew where it is, or import it first");
    }
  }
  return handles;
}

op::BundleRecord row_of(const bundle::Header& header, const std::filesystem::path& target, const bundle::Record& record,
                        const std::string& digest) {
  op::BundleRecord row;
  row.take(header);
  row.path = target.string();
  row.digest = digest;
  row.host = host_name();
  row.keys = {label_of(record.name, record.version)};
  return row;
}

bundle::Header new_header(op::Context& context, const bundle::Header& old, const std::string& id) {
  bundle::Header header = old;
  header.id = id;
  header.created = context.now();
  header.creator = std::string("kmtool ") + KMTOOL_VERSION;
  header.quorum.reset();
  return header;
}

std::string fewer(const Quorum& now, const Quorum& before) {
  const auto words = [](const Quorum& quorum) { return std::to_string(quorum.needed) + " of " + std::to_string(quorum.shares) + " shares"; };
  return "the new bundle opens with " + words(now) + "; the old one needs " + words(before);
}

/// The new bundle's file. Its folder is made only when the deed begins; a file in one that is not there is in nobody's way.
std::filesystem::path target_of(const op::Context& context, const ReissueRequest& request) {
  const auto name = request.bundle.filename();
  auto folder = std::filesystem::absolute(request.folder).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // DIR/
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::symlink_status(folder, ignored))) return home::check_bundle_output(folder / name, context.options.overwrite);
  home::check_folder(folder);
  auto missing = folder;
  while (missing.has_parent_path() && !std::filesystem::exists(missing.parent_path(), ignored)) missing = missing.parent_path();
  home::check_bundle_output(missing, false);  // that somebody may make it
  return folder / name;
}

}  // namespace

ReissueResult reissue(op::Context& context, const ReissueRequest& request) {
  const auto old = read_old(request);
  const auto& before = old.summary.header;
  const auto seals = sealers(context, old, request.bundle.string());
  const auto open = opener(context, request.shares);
  open.before_open(before);
  ReissueResult result;
  result.old_bundle = before.id;
  const auto target = target_of(context, request);
  Maker maker(context,
              {request.quorum.value_or(Quorum{before.quorum->needed, before.quorum->shares}), request.folder, request.custodians,
               request.qr},
              target);
  result.warnings = maker.warnings();
  if (maker.quorum().needed < before.quorum->needed) result.warnings.push_back(fewer(maker.quorum(), {before.quorum->needed, before.quorum->shares}));
  result.shares = maker.shares();
  const auto id = op::new_bundle_id(context);
  auto header = new_header(context, before, id);
  std::vector<bundle::Record> records = old.records;
  for (std::size_t number = 0; number < records.size(); ++number) {
    for (std::size_t i = 0; i < header.recipients.size(); ++i)
      records[number].wrapped[i] = open.take_off(before, number, i, records[number].wrapped[i]);
  }
  result.bundle = row_of(header, target, records.front(), {});
  if (context.options.dry_run) return result;

  op::Plan plan;
  plan.command = "share reissue";
  plan.target = label_of(records.front().name, records.front().version);
  plan.files.push_back(op::planned_file(context, target, id, {plan.target}));
  plan.details = {{"bundle", id},
                  {"out", target.string()},
                  {"instead_of", before.id},
                  {"quorum", std::to_string(maker.quorum().needed) + "/" + std::to_string(maker.quorum().shares)}};
  context.run(plan, [&] {
    make_private_dir(target.parent_path());
    const auto layer = maker.layer();
    layer.describe(header);
    AtomicFile file(target, context.options.overwrite, plan.files[0].temporary_path);
    bundle::Writer writer(file, header);
    for (std::size_t number = 0; number < records.size(); ++number) {
      for (std::size_t i = 0; i < header.recipients.size(); ++i)
        records[number].wrapped[i] = layer.put_on(header, number, i, records[number].wrapped[i]);
      writer.add(records[number]);
    }
    const auto* own = bundle::seal_of(old.summary, bundle::Seal::own);
    const auto digest = writer.finish(
        [&](std::size_t recipient, ByteView message) { return context.token().hmac_sha256(seals.at(recipient), message); },
        [&](ByteView signed_digest) { return context.sign_document(signed_digest); }, context.document_key().fingerprint(),
        {own->pair_algorithm, own->pair});
    file.sync();
    layer.before_commit(header);
    op::keep_replaced(plan.files[0]);
    file.commit();
    result.bundle = row_of(header, target, records.front(), digest);
    auto changes = op::replaced_changes(context, plan.files[0], result.bundle);
    for (auto& change : result.bundle.changes()) changes.push_back(std::move(change));
    return op::Outcome{std::move(changes), {{"bundle", id}, {"digest", digest}}};
  });
  maker.keep();
  return result;
}

}  // namespace kmtool::share
