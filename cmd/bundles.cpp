#include <algorithm>

#include "common.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/transfer/inventory.hpp"

namespace kmtool::cmd {

namespace {

struct BundlesOptions {
  std::string depends_on, confirm, reason, offline;
  std::vector<std::string> moved, lost;
  bool verify_all = false;
};

using Verdict = transfer::BundleCheck::Verdict;

std::string word_for(Verdict verdict) {
  switch (verdict) {
    case Verdict::ok:
      return "ok";
    case Verdict::elsewhere:
      return "elsewhere";
    case Verdict::missing:
      return "missing";
    case Verdict::bad:
      return "bad";
  }
  return "";
}

std::vector<op::BundleRecord> chosen(const op::Context& context, const std::string& depends_on) {
  auto bundles = context.bundles();
  if (depends_on.empty()) return bundles;
  const auto kek = context.resolve(depends_on);
  if (kek.role != Role::kek) throw Error::usage(kek.label() + " is not a kek: no bundle depends on it", "kmtool list --role kek");
  std::erase_if(bundles, [&](const auto& bundle) { return std::find(bundle.keks.begin(), bundle.keks.end(), kek.label()) == bundle.keks.end(); });
  return bundles;
}

/// KEKs by name, public keys by the beginning of their fingerprint.
std::string recipients_of(const op::BundleRecord& bundle) {
  auto names = bundle.keks;
  for (const auto& fingerprint : bundle.public_keys) names.push_back("public key " + fingerprint.substr(0, 16));
  return join(names, ", ");
}

Json json_of(const op::BundleRecord& bundle) {
  Json json{{"id", bundle.id}, {"path", bundle.path}, {"kek", join(bundle.keks, ",")}, {"keks", bundle.keks}, {"kind", bundle.kind}};
  json["public_keys"] = bundle.public_keys;
  json["records"] = bundle.records;
  json["created"] = rfc3339(bundle.created);
  json["verified"] = bundle.verified ? Json(rfc3339(*bundle.verified)) : Json(nullptr);
  json["restored"] = bundle.restored ? Json(rfc3339(*bundle.restored)) : Json(nullptr);
  json["bad"] = bundle.bad.empty() ? Json(nullptr) : Json(bundle.bad);
  json["host"] = bundle.host;
  json["offline"] = bundle.offline.empty() ? Json(nullptr) : Json(bundle.offline);
  json["digest"] = bundle.digest;
  json["kept_for"] = bundle.kept_for.empty() ? Json(nullptr) : Json(bundle.kept_for);
  return json;
}

void print(Globals& globals, const std::vector<op::BundleRecord>& bundles) {
  if (json_wanted(globals)) {
    Json json{{"bundles", Json::array()}};
    for (const auto& bundle : bundles) json["bundles"].push_back(json_of(bundle));
    globals.out.json(json);
    return;
  }
  if (bundles.empty()) return note(globals, "no bundles");
  Table table({{"BUNDLE"}, {"KEK"}, {"KEYS", true}, {"CREATED"}, {"VERIFIED"}, {"HOST"}});
  for (const auto& bundle : bundles) {
    table.row({bundle.path, recipients_of(bundle), std::to_string(bundle.records), day(bundle.created), bundle.bad.empty() ? day(bundle.verified) : "BAD", bundle.offline.empty() ? bundle.host : "offline: " + bundle.offline});
  }
  globals.out.table(table);
}

int print(Globals& globals, const std::vector<transfer::BundleCheck>& checks) {
  bool good = true;
  Json json{{"bundles", Json::array()}};
  Table table({{"VERDICT"}, {"BUNDLE"}, {"KEK"}, {"KEYS", true}, {"DETAIL"}});
  for (const auto& check : checks) {
    good = good && (check.verdict == Verdict::ok || check.verdict == Verdict::elsewhere);
    auto one = json_of(check.bundle);
    one["verdict"] = word_for(check.verdict);
    one["why"] = check.why;
    json["bundles"].push_back(std::move(one));
    table.row({word_for(check.verdict), check.bundle.path, recipients_of(check.bundle), std::to_string(check.bundle.records), check.why});
  }
  if (json_wanted(globals)) {
    globals.out.json(json);
  } else if (!table.empty()) {
    globals.out.table(table);
  } else {
    note(globals, "no bundles");
  }
  return good ? 0 : 1;
}

int take_moved(Globals& globals, const op::Options& options, const BundlesOptions& o) {
  const std::vector<std::filesystem::path> files(o.moved.begin(), o.moved.end());
  return op::recorded(options, op::Need::mutation, "bundles --moved", join(o.moved, " "), [&](op::Context& context) {
    const auto moved = transfer::take_moved(context, files, o.offline);
    auto json = Json::array();
    for (const auto& one : moved) {
      json.push_back({{"bundle", one.bundle.id}, {"from", one.from}, {"to", one.bundle.path}});
      if (!json_wanted(globals)) globals.out.line(printable(one.from) + " -> " + printable(one.bundle.path) + (o.offline.empty() ? "" : ", kept offline: " + printable(o.offline)));
    }
    if (json_wanted(globals)) globals.out.json(Json{{"moved", std::move(json)}});
    say_dry_run(globals);
    return 0;
  });
}

int take_lost(Globals& globals, const op::Options& options, const BundlesOptions& o) {
  return op::recorded(options, op::Need::mutation, "bundles --lost", join(o.lost, " "), [&](op::Context& context) {
    const auto lost = transfer::take_lost(context, o.lost, o.reason);
    auto json = Json::array();
    for (const auto& bundle : lost.bundles) {
      json.push_back({{"bundle", bundle.id}, {"path", bundle.path}, {"records", bundle.records}});
      if (!json_wanted(globals)) globals.out.line("recorded as lost: " + printable(bundle.path) + ", " + counted(bundle.records, "record"));
    }
    if (json_wanted(globals)) globals.out.json(Json{{"lost", std::move(json)}, {"losses", lost.losses}, {"current", lost.current}});
    for (const auto& path : lost.current) note(globals, printable(path) + " was kept until a drill with it; it is a bundle like any other now");
    constexpr std::size_t most = 20;
    for (std::size_t i = 0; i < std::min(most, lost.losses.size()); ++i) warn(globals, lost.losses[i]);
    if (lost.losses.size() > most) warn(globals, std::to_string(lost.losses.size() - most) + " more keys are in no other bundle (--json names all)");
    say_dry_run(globals);
    return 0;
  });
}

int run(Globals& globals, const BundlesOptions& o) {
  const auto options = options_of(globals);
  if (!o.moved.empty()) return take_moved(globals, options, o);
  if (!o.lost.empty()) return take_lost(globals, options, o);
  if (!o.confirm.empty()) {
    return op::recorded(options, op::Need::mutation, "bundles --confirm-restored", o.confirm, [&](op::Context& context) {
      const auto confirmed = transfer::confirm_restored(context, o.confirm);
      if (json_wanted(globals)) {
        auto left = Json::array();
        for (const auto& one : confirmed.left) left.push_back({{"file", one.path}, {"why", one.why}});
        globals.out.json(Json{{"confirmed", o.confirm}, {"removed", confirmed.removed}, {"left", std::move(left)}});
      } else {
        globals.out.line("recorded: " + printable(o.confirm) + " was restored in a drill");
        for (const auto& path : confirmed.removed) globals.out.line("removed " + printable(path));
      }
      for (const auto& one : confirmed.left) warn(globals, "not removed: " + printable(one.path) + ": " + printable(one.why));
      say_dry_run(globals);
      return 0;
    });
  }
  if (!o.verify_all) {
    const auto context = op::Context::open(options, op::Need::reader);
    print(globals, chosen(context, o.depends_on));
    return 0;
  }
  return op::recorded(options, op::Need::mutation, "bundles --verify-all", o.depends_on, [&](op::Context& context) {
    const int exit = print(globals, transfer::verify_bundles(context, chosen(context, o.depends_on)));
    say_dry_run(globals);
    return exit;
  });
}

}  // namespace

void add_bundles(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("bundles", "list the bundles that were written, or verify them all");
  auto o = std::make_shared<BundlesOptions>();
  sub->add_option("--depends-on", o->depends_on, "only bundles that need this KEK version")->type_name("KEK");
  auto* verify = sub->add_flag("--verify-all", o->verify_all, "read and verify each; exit 1 when one is missing or bad");
  sub->add_option("--confirm-restored", o->confirm, "record that this bundle was restored at the other site in a drill")->type_name("FILE")->excludes(verify);
  auto* moved = sub->add_option("--moved", o->moved,
                                "record that a bundle of the catalog lies here now, and not where it was; may be repeated")
                    ->type_name("FILE");
  repeatable(moved)->excludes(verify)->excludes("--confirm-restored")->excludes("--depends-on");
  sub->add_option("--offline", o->offline, "with --moved: where the media are kept that it lies on, which are here only at times")->type_name("PLACE")->needs(moved);
  auto* lost = sub->add_option("--lost", o->lost, "record that a bundle of the catalog is no more; its path on record, or its id; may be repeated")->type_name("FILE");
  repeatable(lost)->excludes(verify)->excludes("--confirm-restored")->excludes("--depends-on")->excludes(moved);
  auto* reason = sub->add_option("--reason", o->reason, "with --lost: what became of it, for the journal")->type_name("TEXT");
  reason->needs(lost);
  lost->needs(reason);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
