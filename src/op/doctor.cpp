#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/domain/reason.hpp"
#include "kmtool/op/admin.hpp"
#include "kmtool/op/invocations.hpp"
#include "kmtool/op/objects.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

using Verdict = Check::Verdict;

Check check_intents(const journal::Journal& journal) {
  std::set<std::string> open;
  for (const auto& row : journal.items("intent")) open.insert(row.id.substr(0, row.id.find('/')));
  if (open.empty()) return {Verdict::ok, "unfinished work", "none"};
  return {Verdict::bad, "unfinished work", fmt::format("{} open: kmtool doctor --repair finishes or undoes it", open.size())};
}

/// config.json may be edited by hand, where the module has moved for instance: whoever did not do so should hear of it. From the next entry on
/// the record says it.
void note_config(Context& context, std::vector<Check>& checks) {
  const auto size = context.journal().size();
  if (size == 0) return;
  context.journal().each_entry(size - 1, [&](const journal::Entry& entry) {
    const auto recorded = entry.json().value("config", context.home.config_digest);
    if (recorded != context.home.config_digest) {
      checks.push_back({Verdict::note, "config.json", "edited since the newest entry; the module is " + printable(context.home.config.module.path)});
    }
    return true;
  });
}

Check check_rollback(Context& context) {
  try {
    switch (check_anchor(context)) {
      case AnchorState::ok: return {Verdict::ok, "rollback anchor", "on the token, at the journal's head"};
      case AnchorState::behind: return {Verdict::note, "rollback anchor", "behind the journal; the next command brings it up"};
      case AnchorState::missing:
      case AnchorState::unsupported: break;
    }
  } catch (const Error& error) {
    if (!context.options.skip_anchor || error.exit() != ExitCode::damaged) throw;
    return {Verdict::note, "rollback anchor", error.message() + ": --accept-rollback moves it to this journal's head"};
  }
  return {Verdict::note, "rollback anchor", "not supported by this token: a restored old copy of the home would not be noticed"};
}

/// `2 private key (p256), 1 secret key (aes-256)`.
std::string kinds_of(const std::vector<pkcs11::Object>& objects) {
  std::map<std::string, std::size_t> count;
  for (const auto& object : objects) ++count[kind_text(object)];
  std::vector<std::string> texts;
  for (const auto& [kind, n] : count) texts.push_back(fmt::format("{} {}", n, kind));
  return join(texts, ", ");
}

/// Every version against the token, and every object on the token against the catalog.
void check_objects(Context& context, std::vector<Check>& checks) {
  const auto report = compare_objects(context);
  for (const auto& [label, wrong] : report.wrong) checks.push_back({Verdict::bad, "key " + label, wrong});
  checks.push_back({Verdict::ok, "keys", fmt::format("{} as recorded", report.good)});
  if (const auto n = report.foreign.size(); n > 0) checks.push_back({Verdict::note, "other objects", fmt::format("{} on the token that this home does not manage", n)});
  if (const auto n = report.nameless.size(); n > 0) {
    checks.push_back({Verdict::note, "nameless objects", fmt::format("{} without label and id, not made by an open command: {}", n, kinds_of(report.nameless))});
  }
  const auto unlabelled = context.token().find_by_labels({""});
  if (const auto n = std::ranges::count_if(unlabelled, unreadable); n > 0) {
    checks.push_back({Verdict::note, "unreadable objects", fmt::format("{} on the token of which no attribute can be read: what a kill inside the token left, and no key", n)});
  }
}

Check check_signers(Context& context) {
  try {
    require_document_signer(context);
  } catch (const Error& error) {
    return {Verdict::bad, "signers", error.message() + ": " + error.hint()};
  }
  for (const std::string use : {"document", "log"}) {
    if (const auto wrong = signer_file_differs(context, use)) return {Verdict::bad, "signers", *wrong + ": kmtool doctor --repair writes it anew"};
  }
  return {Verdict::ok, "signers", "on the token, and as signers/document.pem and signers/log.pem say"};
}

/// One look after the other: what fails is said, and does not hide the rest.
class Looks {
 public:
  template <class F>
  void look(const std::string& what, F&& at) {
    try {
      at();
    } catch (const Error& error) {
      found_.checks.push_back({Verdict::bad, what, error.message()});
      if (!found_.failure) found_.failure = error;
    }
  }
  void add(Check check) { found_.checks.push_back(std::move(check)); }
  std::vector<Check>& checks() { return found_.checks; }
  [[nodiscard]] bool failed() const { return found_.failure.has_value(); }
  Examination take() { return std::move(found_); }

 private:
  Examination found_;
};

Check policy_check(const std::optional<PolicyTrouble>& trouble) {
  return trouble ? Check{Verdict::bad, "policy", trouble->what + ": " + trouble->fix} : Check{Verdict::ok, "policy", "accepted"};
}

}  // namespace

Examination examine(Context& context) {
  Looks looks;
  looks.add({Verdict::ok, "home", context.home.paths.root.string() + ": owner and permissions are safe"});
  looks.look("policy", [&] { looks.add(policy_check(policy_trouble(context))); });
  const auto& info = context.token().info();
  looks.add({Verdict::ok, "token", fmt::format("{} (serial {}), {}", info.label, info.serial, info.hardware ? "hardware" : "software: not an HSM")});
  looks.look("journal", [&] {
    context.journal().check_entries();
    looks.add({Verdict::ok, "journal", fmt::format("{}, each as recorded; newest checkpoint signed by the token's log signer",
                                                   counted(context.state().head ? context.journal().size() : 0, "entry", "entries"))});
  });
  looks.look("config.json", [&] { note_config(context, looks.checks()); });
  looks.look("signers", [&] { looks.add(check_signers(context)); });
  looks.look("rollback anchor", [&] { looks.add(check_rollback(context)); });
  looks.look("unfinished work", [&] { looks.add(check_intents(context.journal())); });
  looks.look("keys", [&] { check_objects(context, looks.checks()); });
  return looks.take();
}

Examination examine_files(const Options& options, const Error& why) {
  const auto& paths = options.paths;
  Looks looks;
  std::optional<home::Config> config;
  std::optional<std::string> policy;
  looks.look("home", [&] {
    check_trusted(paths.root);
    config = home::Config::parse(read_trusted(paths.config(), {.private_file = true}), paths.config().string());
    looks.add({Verdict::ok, "home", paths.root.string() + ": owner and permissions are safe"});
  });
  looks.look("policy", [&] {
    std::error_code ignored;
    const auto text = std::filesystem::exists(paths.policy(), ignored) ? read_trusted(paths.policy()) : "";
    if (!text.empty()) home::parse_policy(text, paths.policy().string());
    policy = hex(crypto::sha256(view(text)));
  });
  looks.look("journal", [&] {
    if (!config) return;
    auto journal = journal::Journal::open(paths.journal(), journal::Journal::Mode::read);
    journal.begin_reading();
    const auto log = paths.signers() / "log.pem";
    trust_journal(journal, config->origin(), crypto::PublicKey::from_pem(read_trusted(log), log.string()));
    journal.check_entries();
    looks.add({Verdict::ok, "journal", counted(journal.size(), "entry", "entries") + ", each as recorded; newest checkpoint signed as signers/log.pem says"});
    if (policy) looks.add(policy_check(policy_trouble(paths, *policy, journal.proven("policy", "accepted"))));
    looks.add(check_intents(journal));
  });
  const bool files = !looks.failed();
  looks.add({files ? Verdict::bad : Verdict::note, "token", files ? why.message() : "not asked"});
  auto found = looks.take();
  found.failure = why;
  return found;
}

std::vector<std::string> repairs_of(Context& context) { return context.state().repaired; }

namespace {

/// Beyond every number that the home had counted to: each number is an entry of its own, and the newest that the token remembers is the
/// anchor's. But an earlier restore may have set the count higher, which this older journal does not know. The clock in milliseconds is beyond
/// that too, for a number takes longer than that.
std::uint64_t beyond_all_numbers(Context& context, const std::vector<pkcs11::Object>& anchors) {
  const auto now = static_cast<std::uint64_t>(std::max<UnixTime>(context.now(), 0)) * 1000;
  return std::max({now, highest_anchor(context, anchors), context.state().journal->size()});
}

std::vector<pkcs11::Object> unexplained_keys(Context& context) {
  auto report = compare_objects(context);
  auto found = std::move(report.foreign);
  std::move(report.nameless.begin(), report.nameless.end(), std::back_inserter(found));
  std::erase_if(found, [&](const pkcs11::Object& object) {
    const auto named = home_named_by(object);
    return !is_key(object) || (!named.empty() && !context.home.config.home_id.starts_with(named));  // another home's anchors move on
  });
  return found;
}

}  // namespace

std::uint64_t numbers_after_rollback(Context& context) {
  const auto row = context.journal().proven("rollback", "accepted");
  return row ? row->json().value("numbers_after", std::uint64_t{0}) : 0;
}

std::vector<pkcs11::Object> accept_rollback(Context& context, const std::string& reason) {
  require_reason(reason);
  context.state().anchors.clear();  // what is there does not count any more; make_anchor() removes it by id
  auto old = anchors_among(context, context.token().find_by_id(context.home.config.anchor_id()));
  auto found = unexplained_keys(context);
  // Work that was open when the older state was kept may have been finished since: nothing is undone on its word.
  std::vector<journal::Change> changes;
  for (const auto& row : context.journal().proven_all("intent")) changes.push_back({"intent", row.id, std::nullopt});
  const std::size_t dropped = changes.size();
  // Nor does anybody know how often a key has encrypted since: reserve_invocations() refuses from here on.
  for (const auto& version : context.versions()) {
    if (version.role != Role::data || version.state == State::destroyed) continue;
    const Json value{{"key", version.label()}, {"used", invocations_of(context, version).used}, {"uncertain", true}};
    changes.push_back({"gcm", hex(version.id), value});
  }
  for (auto& change : found_rows(found)) changes.push_back(std::move(change));
  const auto numbers = beyond_all_numbers(context, old);
  changes.push_back({"rollback", "accepted", Json{{"time", rfc3339(context.now())}, {"numbers_after", numbers}}});
  changes.push_back(open_intents({}));
  const Json details{{"reason", reason}, {"size", context.journal().size()}, {"anchor", highest_anchor(context, old)}, {"intents_dropped", dropped}, {"keys_found", found.size()}};
  context.note("doctor --accept-rollback", context.home.config.home_id, details, std::move(changes));
  context.state().anchors = std::move(old);
  make_anchor(context);
  return found;
}

}  // namespace kmtool::op
