#include "kmtool/audit/record.hpp"

#include <fmt/format.h>

#include <set>

#include "audit/log_keys.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/op/objects.hpp"

namespace kmtool::audit {

namespace {

/// What may explain a key that no entry explains, and what to do.
std::string not_ours(const op::Context& context, const pkcs11::Object& object, const std::set<std::string>& homes) {
  const auto named = op::home_named_by(object);
  const bool own = context.home.config.home_id.starts_with(named);
  if (!named.empty() && !own) return "it is named as an anchor or signer of the home " + printable(named) + " (--allow-foreign where the token is shared)";
  if (!named.empty()) return "it is named as this home's, and was planted or forgotten by a restore (kmtool doctor --accept-rollback puts on record what it finds)";
  if (homes.empty() || !op::named_as_version(object)) return "it was made behind kmtool's back (kmtool adopt takes a key over)";
  return "it was made behind kmtool's back, or by the home " + printable(*homes.begin()) + ", which this token serves too (--allow-foreign where that is so)";
}

void check_objects(op::Context& context, const VerifyOptions& wanted, RecordReport& report) {
  const auto found = op::compare_objects(context);
  report.keys = found.good;
  const auto before = report.findings.size();
  for (const auto& [label, wrong] : found.wrong) report.findings.push_back(fmt::format("key {}: {}: changed or destroyed behind kmtool's back", label, wrong));
  const auto homes = op::other_homes(context, found.foreign);
  auto explained = op::found_at_rollback(context);
  for (const auto* list : {&found.foreign, &found.nameless}) {
    for (const auto& object : *list) {
      ++report.foreign;
      if (!op::is_key(object) || wanted.foreign_objects) continue;
      if (auto& left = explained[op::describe(object)]; left > 0) {
        --left;
        ++report.found_at_rollback;
        continue;
      }
      report.findings.push_back("no entry explains the token's " + op::describe(object) + ": " + not_ours(context, object, homes));
    }
  }
  if (report.findings.size() == before) report.objects = "ok";
}

void check_token(const op::Options& options, const VerifyOptions& wanted, RecordReport& report) {
  auto with_token = options;
  with_token.settled = true;  // a key that is being made has no object yet, or no row
  with_token.many_objects = true;
  auto context = op::Context::open(with_token, op::Need::token);
  if (!context.journal().contains_root(report.record.size, report.record.root)) throw Error::tampered("the journal was rewritten while it was read");
  switch (op::check_anchor(context)) {
    case op::AnchorState::ok:
    case op::AnchorState::behind: report.anchor = "ok"; break;
    case op::AnchorState::missing:
    case op::AnchorState::unsupported: report.anchor = "not supported"; break;
  }
  try {
    for (const auto& use : {"log", "document"}) {
      const auto signer = context.active_signer(use);
      bool there = false;
      for (const auto& object : context.token().find_by_id(signer.id)) there = there || object.object_class == pkcs11::ObjectClass::private_key;
      if (!there) report.findings.push_back("the token's " + std::string(use) + " signer was destroyed behind kmtool's back (kmtool signer rotate makes a new one)");
    }
  } catch (const Error& error) {
    report.findings.push_back(error.message());
  }
  check_objects(context, wanted, report);
}

}  // namespace

RecordReport verify_record(const op::Options& options, const VerifyOptions& wanted) {
  RecordReport report;
  auto reader = op::Context::open(options, op::Need::reader);
  journal::VerifyRequest request;
  const auto keys = log_keys(reader);
  request.origin = reader.home.config.origin();
  request.signature = [&](std::uint64_t size, const std::string& note) { return signed_in_turn(keys, request.origin, size, note); };
  request.all_signatures = wanted.all_signatures;
  request.progress = options.progress;
  request.stop = options.stop;
  report.record = journal::verify(reader.home.paths.journal(), request);
  report.findings = report.record.findings;
  const auto finding = [&](const Error& error) {  // in a handler
    if (error.exit() != ExitCode::damaged) throw;
    report.findings.push_back(error.message());
  };
  try {
    op::prove_reader(reader);
    ++report.record.signatures;
  } catch (const Error& error) {
    finding(error);
  }
  if (!wanted.token || !report.findings.empty()) return report;  // the token cannot mend what the record itself says
  try {
    check_token(options, wanted, report);
  } catch (const Error& error) {
    finding(error);
  }
  return report;
}

Newest newest_checkpoint(op::Context& reader) {
  op::prove_reader(reader);
  const auto note = reader.journal().last_note().value();
  for (const auto& signer : reader.signers()) {
    if (signer.use != "log") continue;
    const auto key = crypto::PublicKey::from_spki(signer.spki);
    if (tlog::verify_note(note, reader.home.config.origin(), key)) return {note, tlog::parse_checkpoint(note.text), key};
  }
  throw Error::tampered("the newest checkpoint is signed by none of the home's log signers", "run kmtool audit verify");
}

}  // namespace kmtool::audit
