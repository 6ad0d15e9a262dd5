#include "kmtool/keys/adopt.hpp"

#include "common.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

struct AdoptOptions {
  keys::AdoptRequest request;
  std::string id, role, type;
};

void read_options(AdoptOptions& o) {
  auto& request = o.request;
  const int ways = static_cast<int>(request.all) + static_cast<int>(!request.label.empty()) + static_cast<int>(!o.id.empty());
  if (ways != 1 || request.all == !request.name.empty()) {
    throw Error::usage("which objects?", "kmtool adopt NAME --label LABEL, or NAME --id HEX, or --all");
  }
  if (!o.id.empty()) {
    const auto id = from_hex(o.id);
    if (!id || id->empty()) throw Error::usage("--id: " + printable(o.id) + " is not hexadecimal");
    request.id = *id;
  }
  if (!o.role.empty()) request.role = parse_role(o.role);
  if (o.type.empty()) return;
  request.type = key_type_from(o.type);
  if (!request.type) throw Error::usage("--type: " + printable(o.type) + " is no type of kmtool", "kmtool gen --help lists the types");
}

/// What came back and protects nothing yet, and the two ways on.
void say_waiting(Globals& globals, const keys::AdoptRequest& request, const std::vector<op::VersionRecord>& waiting) {
  if (waiting.empty()) return;
  constexpr std::size_t shown = 10;
  std::vector<std::string> labels;
  for (const auto& version : waiting) {
    if (labels.size() < shown) labels.push_back(version.label());
  }
  if (waiting.size() > shown) labels.push_back(std::to_string(waiting.size() - shown) + " more");
  const auto& first = waiting.front();
  const bool one = waiting.size() == 1;
  const auto again = one ? first.name + " --id " + hex(first.id) : std::string("--all");
  const auto home = request.from_home.empty() ? "" : " --from-home " + request.from_home;
  note(globals, join(labels, ", ") + (one ? " comes" : " come") + " back deactivated, for the record does not say whether " + (one ? "it was" : "they were") +
                    " compromised or suspended meanwhile: kmtool rotate " + (one ? first.name : "NAME") + " makes a new version; where you know that " +
                    (one ? "it was" : "they were") + " neither, kmtool adopt " + again + home + " --activate");
}

int run(Globals& globals, AdoptOptions& o) {
  read_options(o);
  const auto target = o.request.all ? std::string("--all") : o.request.name;
  return op::recorded(options_of(globals), op::Need::mutation, "adopt", target, [&](op::Context& context) {
    const auto result = keys::adopt(context, o.request);
    if (json_wanted(globals)) {
      Json json{{"keys", Json::array()}, {"skipped", Json::array()}};
      for (const auto& version : result.keys) {
        auto one = keys::to_json(context, version);
        one["flaws"] = keys::readable_flaws(version);
        json["keys"].push_back(std::move(one));
      }
      for (const auto& skipped : result.skipped) json["skipped"].push_back({{"object", skipped.what}, {"why", skipped.why}});
      globals.out.json(json);
    } else {
      if (result.keys.empty()) note(globals, "nothing was adopted");
      print_keys(globals, context, result.keys);
      for (const auto& version : result.keys) {
        for (const auto& flaw : keys::readable_flaws(version)) warn(globals, version.label() + ": " + flaw);
      }
      for (const auto& skipped : result.skipped) warn(globals, "left out " + skipped.what + ": " + skipped.why);
    }
    say_waiting(globals, o.request, result.waiting);
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_adopt(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("adopt", "bring keys on the token under management: of other tools, or forgotten by a restore");
  auto o = std::make_shared<AdoptOptions>();
  sub->add_option("name", o->request.name, "the name it shall have")->type_name("NAME");
  sub->add_option("--label", o->request.label, "the object's CKA_LABEL")->type_name("LABEL");
  sub->add_option("--id", o->id, "the object's CKA_ID")->type_name("HEX");
  sub->add_flag("--all", o->request.all, "every key that is not managed; names come from labels");
  sub->add_flag("--activate", o->request.activate, "what a restore forgot is active: you know that it was neither compromised nor suspended");
  sub->add_option("--role", o->role, "where the object's usages do not tell")->type_name("ROLE");
  sub->add_option("--type", o->type, "where the token does not tell (keys unwrapped on SoftHSM)")->type_name("TYPE");
  sub->add_option("--from-home", o->request.from_home, "whose the keys are, on a token that several homes use")->type_name("HOME-ID");
  sub->add_option("--owner", o->request.owner, "who is responsible")->type_name("TEXT");
  sub->add_option("--application", o->request.application, "what uses it")->type_name("TEXT");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
