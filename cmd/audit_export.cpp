#include "audit.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

int run(Globals& globals, const std::string& dir) {
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto result = audit::export_record(context, std::filesystem::absolute(dir).lexically_normal());
  const auto& checkpoint = result.newest.checkpoint;
  if (json_wanted(globals)) {
    globals.out.json(Json{{"dir", dir}, {"origin", checkpoint.origin}, {"entries", checkpoint.size}, {"root", base64(checkpoint.root)},
                          {"written", result.written}, {"kept", result.kept}, {"signer", result.newest.key.fingerprint()},
                          {"verifier_key", tlog::verifier_key(checkpoint.origin, result.newest.key)}});
  } else if (!globals.dry_run) {
    globals.out.line(counted(checkpoint.size, "entry", "entries") + " exported to " + printable(dir) + " (" + counted(result.written, "file") + " written, " +
                     std::to_string(result.kept) + " were there)");
    globals.out.line("log signer " + result.newest.key.description() + " " + result.newest.key.fingerprint());
  }
  say_dry_run(globals);
  if (!globals.dry_run) note(globals, "whoever verifies it needs the log signer's public key over another channel: signer.pem beside the record proves nothing by itself");
  return 0;
}

}  // namespace

void add_audit_export(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("export", "write the record for others to verify (C2SP tlog-tiles); again: bring it up to date");
  auto dir = std::make_shared<std::string>();
  sub->add_option("dir", *dir, "the folder")->required()->type_name("DIR");
  sub->callback([&globals, &action, dir] { action = [&globals, dir] { return run(globals, *dir); }; });
}

}  // namespace kmtool::cmd
