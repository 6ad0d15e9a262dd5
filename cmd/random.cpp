#include "kmtool/usage/random.hpp"

#include <memory>

#include "common.hpp"
#include "data.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/secret.hpp"

namespace kmtool::cmd {

namespace {

struct RandomOptions {
  std::uint64_t octets = 0;
  DataOptions data;
};

/// Written at once: nothing of it stays in a buffer of ours.
void write_as(OutStream& out, ByteView piece, const std::string& format) {
  if (format == "raw") return out.write(piece);
  std::string text = format == "hex" ? hex(piece) : base64(piece);
  out.write(view(text));
  cleanse(text.data(), text.size());
}

int run(Globals& globals, const RandomOptions& o) {
  const auto format = chosen_format(globals);
  constexpr std::uint64_t most_in_json = 48 << 10;
  if (format == "json" && o.octets > most_in_json) throw Error::usage("a JSON document holds at most 49152 random bytes", "ask for fewer, or use --format raw");
  auto out = open_out(globals, o.data, format == "raw");
  return op::recorded(options_of(globals), op::Need::mutation, "random", std::to_string(o.octets) + " bytes", [&](op::Context& context) {
    usage::random(context, o.octets, [&](ByteView piece) {
      if (format == "json") {
        out->write(view("{\"bytes\":" + std::to_string(piece.size()) + ",\"format\":\"hex\",\"value\":\""));
        write_as(*out, piece, "hex");
        out->write(view("\"}"));
      } else {
        write_as(*out, piece, format);
      }
    });
    if (format == "json" && (!out || !out->path().empty())) globals.out.json(Json{{"bytes", o.octets}, {"out", out ? out->path() : o.data.out}});
    if (out) {
      if (format != "raw") out->write(view("\n"));
      out->finish();
    }
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_random(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("random", "random bytes from the token's generator (--format hex, base64, raw)");
  offer_formats(sub, globals, {"hex", "base64", "raw", "json"});
  auto o = std::make_shared<RandomOptions>();
  sub->add_option("bytes", o->octets, "how many, at most 1073741824")->required()->type_name("BYTES");
  add_out(sub, o->data);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
