#include "kmtool/core/file.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/transfer/kek.hpp"

namespace kmtool::transfer {

namespace {

Json waivers_json(const std::vector<policy::Waiver>& waivers) {
  Json list = Json::array();
  for (const auto& waiver : waivers) list.push_back({{"rule", waiver.rule}, {"reason", waiver.reason}});
  return list;
}

void require_not_itself(const op::VersionRecord& kek, const std::vector<op::KekRecipient>& recipients) {
  for (const auto& recipient : recipients) {
    if (!recipient.parent || recipient.parent->version.id != kek.id) continue;
    throw Error::usage(kek.label() + " would be wrapped under itself", "name another parent kek");
  }
}

op::BundleRecord preview(const std::filesystem::path& target, const op::VersionRecord& kek, const std::vector<op::KekRecipient>& recipients) {
  op::BundleRecord row;
  row.kind = "kek";
  row.path = target.string();
  row.records = 2;
  row.keys = {kek.label()};
  std::vector<bundle::Recipient> lines;
  lines.reserve(recipients.size());
  for (const auto& recipient : recipients) lines.push_back(recipient.line);
  row.take_recipients(lines);
  return row;
}

}  // namespace

ExportKekResult export_kek(op::Context& context, const ExportKekRequest& request) {
  ExportKekResult result;
  result.kek = context.resolve(request.kek);
  const auto& kek = result.kek;
  if (kek.role != Role::kek) policy::enforce(context.home.policy, policy::judge_export(context.home.policy, kek.facts(), kek.facts(), context.now(), false), {});
  result.recipients = op::resolve_recipients(context, request.to);
  require_not_itself(kek, result.recipients);
  result.waivers = op::judge_recipients(context, kek, result.recipients, false);
  const auto target = home::check_bundle_output(request.out, context.options.overwrite);
  result.bundle = preview(target, kek, result.recipients);
  auto found = op::keks_on_token(context, {kek}, context.objects_of({kek}));
  result.kept = op::kept_where(context, target, {kek.label()});
  if (context.options.dry_run) return result;

  op::Plan plan;
  plan.command = "export-kek";
  plan.target = kek.label();
  const auto id = op::new_bundle_id(context);
  plan.files.push_back(op::planned_file(context, target, id, {kek.label()}));
  plan.details = {{"bundle", id}, {"out", target.string()}, {"kek", kek.label()}, {"recipients", op::describe(result.recipients)}};
  plan.details["waivers"] = waivers_json(result.waivers);
  plan.finish = op::public_key_rows(result.recipients);
  context.run(plan, [&] {
    AtomicFile file(target, context.options.overwrite, plan.files[0].temporary_path);
    op::KekOut out(context, file, result.recipients, id, result.waivers, request.layer);
    result.bundle = out.write(kek, found.front().wrap, found.front().seal);
    op::keep_replaced(plan.files[0]);
    file.commit();
    auto changes = op::replaced_changes(context, plan.files[0], result.bundle);
    for (auto& change : result.bundle.changes()) changes.push_back(std::move(change));
    changes.insert(changes.end(), plan.finish.begin(), plan.finish.end());
    return op::Outcome{std::move(changes), {{"bundle", id}, {"digest", result.bundle.digest}}};
  });
  return result;
}

}  // namespace kmtool::transfer
