#include <fmt/format.h>

#include <memory>

#include "common.hpp"
#include "data.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/usage/crypt.hpp"

namespace kmtool::cmd {

namespace {

struct CryptOptions {
  std::string key;
  bool stream = false;
  DataOptions data;
};

void print(Globals& globals, const CryptOptions& o, const usage::CryptResult& result, const std::string& path, const char* verb) {
  warn_all(globals, result.warnings);
  if (json_wanted(globals)) {
    globals.out.json({{"key", result.version.name}, {"version", result.version.version}, {"id", hex(result.version.id)}, {"file", hex(result.header.file)},
                      {"chunks", result.chunks}, {"bytes", result.octets}, {"out", path}});
  } else if (!path.empty() && !o.data.out.empty()) {
    globals.out.line(fmt::format("{} {} under {} into {}", result.octets == 1 ? std::string("1 byte") : fmt::format("{} bytes", result.octets), verb,
                                 result.version.label(), path));
  }
  say_dry_run(globals);
}

int run_encrypt(Globals& globals, const CryptOptions& o) {
  require_file_for_json(globals, o.data);
  InStream in(o.data.in);
  auto out = open_out(globals, o.data, true);
  return op::recorded(options_of(globals), op::Need::mutation, "encrypt", o.key, [&](op::Context& context) {
    const auto result = usage::encrypt(context, o.key, in, out ? &*out : nullptr);
    print(globals, o, result, out ? out->path() : "", "encrypted");
    return 0;
  });
}

int run_decrypt(Globals& globals, const CryptOptions& o) {
  require_file_for_json(globals, o.data);
  InStream in(o.data.in);
  auto out = open_out(globals, o.data, true);
  return op::recorded(options_of(globals), op::Need::mutation, "decrypt", in.name(), [&](op::Context& context) {
    const auto result = usage::decrypt(context, {o.key, o.stream}, in, out ? &*out : nullptr);
    print(globals, o, result, out ? out->path() : "", "decrypted");
    return 0;
  });
}

}  // namespace

void add_encrypt(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("encrypt", "encrypt a file or a pipe of any size under a data key, in the token");
  auto o = std::make_shared<CryptOptions>();
  sub->add_option("key", o->key, "NAME (the active version) or NAME@VERSION")->required()->type_name("KEY");
  add_in(sub, o->data);
  add_out(sub, o->data);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run_encrypt(globals, *o); }; });
}

void add_decrypt(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("decrypt", "decrypt what kmtool encrypt wrote; nothing comes out before all of it is verified");
  auto o = std::make_shared<CryptOptions>();
  add_in(sub, o->data);
  add_out(sub, o->data);
  sub->add_option("--key", o->key, "not the version that the file names, but this one (NAME: any of its versions)")->type_name("KEY");
  sub->add_flag("--stream", o->stream, "to standard output: each chunk once it is verified, before the end is known to be there");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run_decrypt(globals, *o); }; });
}

}  // namespace kmtool::cmd
