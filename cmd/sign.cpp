#include "kmtool/usage/sign.hpp"

#include <memory>

#include "common.hpp"
#include "data.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

struct SignOptions {
  std::string key, public_key, signature, tag;
  DataOptions data;
};

int run_sign(Globals& globals, const SignOptions& o) {
  const auto format = chosen_format(globals);
  InStream in(o.data.in);
  auto out = open_out(globals, o.data, format == "raw");
  return op::recorded(options_of(globals), op::Need::mutation, "sign", o.key, [&](op::Context& context) {
    const auto made = usage::sign(context, o.key, in);
    warn_all(globals, made.warnings);
    if (format == "json") {
      globals.out.json({{"key", made.version.name}, {"version", made.version.version}, {"algorithm", crypto::to_text(made.scheme)},
                        {"signature", base64(made.value)}, {"out", out && out->is_file() ? out->path() : ""}});
    }
    if (out && (format != "json" || out->is_file())) put(*out, made.value, format == "json" ? "raw" : format);
    say_dry_run(globals);
    return 0;
  });
}

/// As `sign` writes it: raw, or as one line of base64 or hex.
std::vector<Bytes> readings_of(const std::string& content) {
  std::vector<Bytes> readings{to_bytes(content)};
  std::string line = content;
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  if (auto decoded = from_hex(line)) readings.push_back(std::move(*decoded));
  if (auto decoded = from_base64(line)) readings.push_back(std::move(*decoded));
  return readings;
}

usage::Verdict judge(Globals& globals, const SignOptions& o, InStream& in, const std::vector<Bytes>& readings) {
  std::optional<op::Context> reader;
  std::optional<crypto::PublicKey> key;
  if (o.public_key.empty()) {
    reader.emplace(op::Context::open(options_of(globals), op::Need::reader));
    op::prove_reader(*reader);
  } else {
    key = crypto::PublicKey::read_pem(o.public_key);
  }
  if (readings.size() > 1) in.mark();
  usage::Verdict verdict;
  for (std::size_t i = 0; i < readings.size() && !verdict.good; ++i) {
    if (i > 0) in.rewind();
    verdict = key ? usage::verify_signature(*key, readings[i], in) : usage::verify_signature(*reader, o.key, readings[i], in);
  }
  return verdict;
}

int run_verify(Globals& globals, const SignOptions& o) {
  if (o.key.empty() == o.public_key.empty()) throw Error::usage("whose signature?", "kmtool verify-signature NAME, or --public-key PEM");
  constexpr std::size_t longest = 65536;
  const auto readings = readings_of(read_file(o.signature, longest));
  InStream in(o.data.in);
  const auto verdict = judge(globals, o, in, readings);
  warn_all(globals, verdict.warnings);
  if (json_wanted(globals)) {
    globals.out.json({{"good", verdict.good}, {"by", verdict.by}, {"algorithm", crypto::to_text(verdict.scheme)}});
  } else {
    globals.out.line(verdict.good ? "good signature by " + verdict.by + " (" + std::string(crypto::to_text(verdict.scheme)) + ")"
                                  : "not a signature by " + verdict.by + " over " + printable(in.name()));
  }
  return verdict.good ? 0 : 1;
}

Bytes tag_of(const std::string& text) {
  if (auto tag = from_hex(text); tag && !tag->empty()) return std::move(*tag);
  if (auto tag = from_base64(text); tag && !tag->empty()) return std::move(*tag);
  throw Error::usage("--verify: the tag is neither hex nor base64", "give it as kmtool mac printed it");
}

int verify_tag(Globals& globals, const SignOptions& o, InStream& in) {
  const Bytes tag = tag_of(o.tag);
  return op::recorded(options_of(globals), op::Need::mutation, "mac --verify", o.key, [&](op::Context& context) {
    const auto result = usage::verify_mac(context, o.key, tag, in);
    warn_all(globals, result.warnings);
    if (globals.dry_run) {
      say_dry_run(globals);
      return 0;
    }
    if (json_wanted(globals)) {
      globals.out.json({{"good", result.good}, {"key", result.version.name}, {"version", result.version.version}});
    } else {
      globals.out.line(result.good ? "good tag by " + result.version.label() : "not a tag by " + result.version.label() + " over " + printable(in.name()));
    }
    if (!result.good && result.version.version > 1) note(globals, "an older version may have made it: name it, as " + result.version.name + "@" + std::to_string(result.version.version - 1));
    return result.good ? 0 : 1;
  });
}

int run_mac(Globals& globals, const SignOptions& o, bool verifying) {
  const auto format = chosen_format(globals);
  InStream in(o.data.in);
  if (verifying && !o.data.out.empty()) throw Error::usage("--verify answers yes or no; --out has nothing to write", "leave out --out, or leave out --verify to make a tag");
  if (verifying) return verify_tag(globals, o, in);
  auto out = open_out(globals, o.data, format == "raw");
  return op::recorded(options_of(globals), op::Need::mutation, "mac", o.key, [&](op::Context& context) {
    const auto made = usage::mac(context, o.key, in);
    warn_all(globals, made.warnings);
    if (format == "json") {
      globals.out.json({{"key", made.version.name}, {"version", made.version.version}, {"algorithm", to_text(made.version.type)}, {"mac", hex(made.value)},
                        {"out", out && out->is_file() ? out->path() : ""}});
    }
    if (out && (format != "json" || out->is_file())) put(*out, made.value, format == "json" ? "hex" : format);
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_sign(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("sign", "sign a document in the token, as openssl verifies it (--format raw, base64, hex)");
  offer_formats(sub, globals, {"raw", "base64", "hex", "json"});
  auto o = std::make_shared<SignOptions>();
  sub->add_option("key", o->key, "NAME (the active version) or NAME@VERSION")->required()->type_name("KEY");
  add_in(sub, o->data);
  add_out(sub, o->data);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run_sign(globals, *o); }; });
}

void add_verify_signature(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("verify-signature", "is this a signature by that key over that document? No token is needed");
  auto o = std::make_shared<SignOptions>();
  auto* key = sub->add_option("key", o->key, "NAME (any of its versions) or NAME@VERSION")->type_name("KEY");
  sub->add_option("--public-key", o->public_key, "a public key or certificate instead; no home is needed")->type_name("PEM")->excludes(key);
  sub->add_option("--signature", o->signature, "the signature: raw, or a line of base64 or hex")->required()->type_name("FILE");
  add_in(sub, o->data);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run_verify(globals, *o); }; });
}

void add_mac(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("mac", "make or verify an HMAC in the token (--format hex, base64, raw)");
  offer_formats(sub, globals, {"hex", "base64", "raw", "json"});
  auto o = std::make_shared<SignOptions>();
  sub->add_option("key", o->key, "NAME (the active version) or NAME@VERSION")->required()->type_name("KEY");
  add_in(sub, o->data);
  add_out(sub, o->data);
  auto* verify = sub->add_option("--verify", o->tag, "is this the tag? Compared in the token; exit 1 where it is not")->type_name("TAG");
  sub->callback([&globals, &action, o, verify] { action = [&globals, o, verify] { return run_mac(globals, *o, verify->count() > 0); }; });
}

}  // namespace kmtool::cmd
