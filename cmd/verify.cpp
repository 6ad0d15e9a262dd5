#include <unistd.h>

#include <algorithm>
#include <set>

#include "common.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/transfer/transfer.hpp"

namespace kmtool::cmd {

namespace {

struct VerifyOptions {
  std::string file, signer;
  bool no_token = false;
};

/// The home if there is one; with its token where a PIN can be had and one of the bundle's KEKs is known here. Only the seals
/// need the token, so one that is away makes them "not checked", said aloud, and not an error.
std::optional<op::Context> open_context(Globals& globals, const VerifyOptions& o) {
  auto options = options_of(globals);
  std::optional<op::Context> reader;
  try {
    reader.emplace(op::Context::open(options, op::Need::reader));
  } catch (const Error& error) {
    if (!globals.home.empty()) throw;
    if (error.exit() == ExitCode::missing) return std::nullopt;
    // The signer is named: no home has to vouch for it.
    if (o.signer.empty() || (error.exit() != ExitCode::io && error.exit() != ExitCode::config)) throw;
    note(globals, "no home was asked, and no seal checked: " + error.message());
    return std::nullopt;
  }
  op::prove_reader(*reader);
  std::error_code ignored;
  if (o.no_token || !std::filesystem::is_regular_file(o.file, ignored)) return reader;  // a pipe is read once, by verify itself
  std::set<Bytes> sealers;
  LineReader input(o.file, bundle::max_line);
  const auto header = bundle::read_header(input);
  for (const auto& recipient : header.recipients) sealers.insert(recipient.id);
  if (header.of_kek()) bundle::read(input, [&](const bundle::Record& record, std::size_t) { sealers.insert(record.id); });
  const auto versions = reader->versions();
  const bool known = std::any_of(versions.begin(), versions.end(), [&](const auto& version) { return version.role == Role::kek && sealers.contains(version.id); });
  const bool askable = !options.pin_source.empty() || !reader->home.config.pin_source.empty() || (!globals.no_input && isatty(STDIN_FILENO) != 0);
  if (!known || !askable) return reader;
  try {
    return op::Context::open_recorded(options, op::Need::token, "verify", o.file);
  } catch (const Error& error) {
    if (error.exit() != ExitCode::unavailable) throw;
    warn(globals, "seals not checked: " + error.message());
    return reader;
  }
}

/// Where the catalog has this bundle, and it is not; empty: nowhere, or it is there.
std::string moved_from(const op::Context& context, const transfer::VerifyResult& result) {
  for (const auto& bundle : context.bundles()) {
    if (bundle.id == result.summary.header.id && bundle.digest == result.summary.file_digest && op::moved_away(bundle) && bundle.offline.empty())
      return bundle.path;
  }
  return {};
}

int run(Globals& globals, const VerifyOptions& o) {
  std::optional<std::filesystem::path> signer;
  if (!o.signer.empty()) signer = o.signer;
  auto context = open_context(globals, o);
  const auto result = transfer::verify(context ? &*context : nullptr, o.file, signer);
  const auto& header = result.summary.header;
  if (json_wanted(globals)) {
    Json json{{"bundle", header.id}, {"records", header.records}, {"structure", "ok"}, {"signature", result.signer.trusted ? "ok" : "unknown signer"}, {"seals", result.seals}};
    json["signer"] = result.signer.trusted ? Json{{"key", result.summary.signature.key}, {"known_as", result.signer.who}} : Json{{"key", result.summary.signature.key}};
    globals.out.json(json);
  } else {
    globals.out.line("structure  ok: " + std::to_string(header.records) + (header.records == 1 ? " record" : " records") + ", bundle " + header.id);
    globals.out.line(result.signer.trusted ? "signature  ok: by " + result.signer.who + " (" + result.summary.signature.key + ")"
                                           : "signature  by someone unknown: it would be that of " + result.signer.who);
    for (std::size_t i = 0; i < result.seals.size(); ++i) {
      const auto by = result.summary.seals[i].recipient;
      globals.out.line("seal       " + (by == bundle::Seal::own ? std::string("the kek itself") : header.recipients[by].kek) + ": " + result.seals[i]);
    }
  }
  if (const auto was = context ? moved_from(*context, result) : std::string(); result.signer.trusted && !was.empty()) {
    note(globals, "the catalog has this bundle at " + printable(was) +
                      ", where it is not: if it was moved, kmtool bundles --moved " + printable(o.file));
  }
  if (result.signer.trusted) return 0;
  throw Error::no(o.file + " is signed by someone unknown: " + result.signer.who,
                  "get that signer's PEM over a channel you trust, then --signer PEM, or pin it: kmtool signer trust PEM --name N");
}

}  // namespace

void add_verify(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("verify", "verify a bundle: structure and signature, and its seals where the token is there");
  auto o = std::make_shared<VerifyOptions>();
  sub->add_option("file", o->file, "the bundle")->required()->type_name("FILE");
  sub->add_option("--signer", o->signer, "the public key that must have signed it")->type_name("PEM");
  sub->add_flag("--no-token", o->no_token, "do not log in to check seals");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
