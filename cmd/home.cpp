#include "common.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/op/admin.hpp"

namespace kmtool::cmd {

namespace {

int report(Globals& globals, const std::string& verb, const std::string& path, const std::vector<std::string>& files) {
  if (json_wanted(globals)) {
    globals.out.json(Json{{"path", path}, {"files", files}});
  } else {
    globals.out.line(verb + " " + path + ": " + join(files, ", "));
  }
  say_dry_run(globals);
  return 0;
}

int backup(Globals& globals, const std::string& file) {
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  if (globals.dry_run) return report(globals, "would write", home::check_output(file, globals.force).string(), op::backup_names(context));
  const auto files = op::backup_home(context, file);
  if (context.home.config.embedded) {
    warn(globals, "the embedded token and its PIN are not in the backup: it holds no key; back keys up with kmtool wrap");
  }
  return report(globals, "wrote", file, files);
}

int restore(Globals& globals, const std::string& file) {
  const auto options = options_of(globals);
  const auto files = op::restore_home(options, file);
  if (!globals.dry_run) {
    note(globals, "if the home had gone on since this backup, the next command says so (65); kmtool doctor --accept-rollback records that it is meant");
  }
  return report(globals, "restored", options.paths.root.string(), files);
}

}  // namespace

void add_home(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("home", "back up and restore the home (metadata; never keys)");
  sub->require_subcommand(1);
  auto file = std::make_shared<std::string>();
  auto* out = sub->add_subcommand("backup", "write config, policy, signers and journal into one SQLite archive");
  out->add_option("file", *file, "the archive to write")->required()->type_name("FILE");
  out->callback([&globals, &action, file] { action = [&globals, file] { return backup(globals, *file); }; });
  auto* in = sub->add_subcommand("restore", "put a backup into an empty home (or over one, with --force)");
  in->add_option("file", *file, "the archive")->required()->type_name("FILE");
  in->callback([&globals, &action, file] { action = [&globals, file] { return restore(globals, *file); }; });
}

}  // namespace kmtool::cmd
