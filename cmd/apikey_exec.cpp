#include "kmtool/apikey/exec.hpp"

#include "apikey.hpp"
#include "kmtool/apikey/store.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

struct ExecOptions {
  apikey::ExecRequest request;
  std::vector<std::string> set;
};

int run(Globals& globals, ExecOptions& o) {
  auto& request = o.request;
  request.command = globals.behind_dashes;
  for (const auto& text : o.set) request.set.push_back(apikey::ExecRequest::Set::parse(text));
  if (request.set.empty()) throw Error::usage("nothing to put into the environment", "say --set VARIABLE=NAME");
  if (request.command.empty()) throw Error::usage("no command to run", "kmtool apikey exec --app APP --set VARIABLE=NAME -- COMMAND …");
  apikey::program_path(request.command.front());
  apikey::ChildEnvironment environment;
  auto options = options_of(globals);
  op::recorded(options, op::Need::mutation, "apikey exec", request.app, [&](op::Context& context) {
    if (globals.dry_run) {
      for (const auto& set : request.set) apikey::find_stored(context, request.app, set.name);
    } else {
      apikey::prepare(context, request, environment);
    }
    return 0;
  });  // from here on there is no token, no lock and no database any more
  if (globals.dry_run) {
    say_dry_run(globals);
    return 0;
  }
  apikey::become(environment, request.command, globals.file_mask);
}

}  // namespace

void add_apikey_exec(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("exec", "run a command with kept keys in its environment, and nowhere else");
  auto o = std::make_shared<ExecOptions>();
  sub->add_option("--app", o->request.app, "the application")->required()->type_name("APP");
  repeatable(sub->add_option("--set", o->set, "variable, and the name of the kept key (@ENVIRONMENT: the application's own)")->type_name("VARIABLE=NAME"));
  sub->add_flag("--only", o->request.only, "of this environment pass on only PATH, HOME, LANG, TERM and the like");
  sub->footer("The command stands behind --: kmtool apikey exec --app shop --set STRIPE_KEY=stripe -- ./serve --port 80");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
