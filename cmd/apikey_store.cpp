#include <unistd.h>

#include "apikey.hpp"
#include "kmtool/apikey/reseal.hpp"
#include "kmtool/core/count.hpp"

namespace kmtool::cmd {

namespace {

struct StoreOptions {
  std::string name, app;
  bool list = false, remove = false, reseal = false;
};

int list(Globals& globals, const StoreOptions& o) {
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  op::prove_reader(context);
  Json json{{"stored", Json::array()}};
  Table table({{"APP"}, {"NAME"}, {"STORED"}, {"SEALED BY"}, {"ISSUED AS"}});
  for (const auto& record : apikey::stored_keys(context)) {
    if (!o.app.empty() && record.app != o.app) continue;
    json["stored"].push_back({{"app", record.app}, {"name", record.name}, {"stored", rfc3339(record.stored)}, {"key", record.key}, {"issued", record.issued}});
    table.row({record.app, record.name, rfc3339(record.stored), record.key, record.issued});
  }
  if (json_wanted(globals)) {
    globals.out.json(json);
  } else if (!table.empty()) {
    globals.out.table(table);
  }
  return 0;
}

void report(Globals& globals, const apikey::StoredRecord& record, const char* done) {
  if (json_wanted(globals)) {
    globals.out.json(Json{{"app", record.app}, {"name", record.name}, {"key", record.key}, {"done", done}});
  } else {
    globals.out.line(std::string(done) + " " + record.name + " of " + record.app);
  }
  say_dry_run(globals);
}

int reseal(Globals& globals) {
  return op::recorded(options_of(globals), op::Need::mutation, "apikey store --reseal", apikey::store_key, [&](op::Context& context) {
    const auto done = apikey::reseal(context);
    for (const auto& left : done.left) warn(globals, left.id + " was not sealed anew: " + left.why + (left.hint.empty() ? "" : " (" + left.hint + ")"));
    if (json_wanted(globals)) {
      Json json{{"resealed", Json::array()}, {"left", Json::array()}};
      for (const auto& record : done.sealed) json["resealed"].push_back({{"app", record.app}, {"name", record.name}, {"key", record.key}});
      for (const auto& left : done.left) json["left"].push_back({{"id", left.id}, {"why", left.why}});
      globals.out.json(json);
    } else {
      globals.out.line(counted(done.sealed.size(), "key") + " sealed anew");
    }
    say_dry_run(globals);
    return done.left.empty() ? 0 : 1;
  });
}

int run(Globals& globals, const StoreOptions& o) {
  if (o.reseal) {
    if (o.list || o.remove || !o.name.empty() || !o.app.empty()) throw Error::usage("--reseal goes alone");
    return reseal(globals);
  }
  if (o.list) {
    if (o.remove || !o.name.empty()) throw Error::usage("--list goes with --app alone");
    return list(globals, o);
  }
  if (o.name.empty() || o.app.empty()) throw Error::usage("what is to be kept, and for which application?", "kmtool apikey store NAME --app APP");
  SecretBytes value;
  if (!o.remove) value = isatty(STDIN_FILENO) != 0 ? ask_secret(globals, "key to keep as " + o.name) : read_secret_input(apikey::longest_stored);
  return op::recorded(options_of(globals), op::Need::mutation, "apikey store", o.app + "/" + o.name, [&](op::Context& context) {
    if (o.remove) {
      report(globals, apikey::remove_stored(context, o.app, o.name), "removed");
      return 0;
    }
    const auto made = apikey::store(context, o.app, o.name, value);
    report(globals, made.record, made.replaced ? "replaced" : "stored");
    if (value.size() < apikey::shortest_scanned) warn(globals, "it is shorter than 8 bytes: apikey scan does not look for it");
    return 0;
  });
}

}  // namespace

void add_apikey_store(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("store", "keep a third party's key, sealed by a key of the token; read from standard input or the terminal");
  auto o = std::make_shared<StoreOptions>();
  sub->add_option("name", o->name, "what to call it")->type_name("NAME");
  sub->add_option("--app", o->app, "the application that uses it")->type_name("APP");
  sub->add_flag("--list", o->list, "say which are kept");
  sub->add_flag("--reseal", o->reseal, "after kmtool rotate apikey-store: seal by its new version what an older one sealed");
  sub->add_flag("--remove", o->remove, "forget it");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
