#include "share.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <memory>

#include "kmtool/core/locked_heap.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/share/qr.hpp"
#include "kmtool/share/reissue.hpp"
#include "kmtool/transfer/transfer.hpp"

namespace kmtool::cmd {

namespace {

struct ShareOptions {
  std::string share, bundle, signer, out, png, text;
  std::vector<std::string> shares;
  QuorumOptions quorum;
};

/// By --signer; else by this home's own and pinned signers, where there is a home. nullopt: nobody to ask.
std::optional<transfer::SignerFound> signer_of(Globals& globals, const ShareOptions& o, const bundle::Summary& summary) {
  if (!o.signer.empty()) {
    auto found = transfer::find_signer(nullptr, o.signer, summary, o.bundle);
    if (found.trusted) return found;
    throw Error::no(printable(o.bundle) + " is signed by someone else: " + printable(found.who), "get the signer's public key over a channel you trust");
  }
  try {
    auto reader = op::Context::open(options_of(globals), op::Need::reader);
    op::prove_reader(reader);
    return transfer::find_signer(&reader, std::nullopt, summary, o.bundle);
  } catch (const Error& error) {
    if (error.exit() == ExitCode::missing && globals.home.empty()) return std::nullopt;
    throw;
  }
}

int verify(Globals& globals, const ShareOptions& o) {
  LineReader reader(o.bundle, bundle::max_line);
  const auto summary = bundle::read(reader, {});
  const auto& header = summary.header;
  const auto share = share::read_share(o.share);
  share::require_share_of(header, share, o.share);
  const auto signer = signer_of(globals, o, summary);
  const std::string signature = !signer ? "not checked" : signer->trusted ? "ok" : "unknown signer";
  if (json_wanted(globals)) {
    globals.out.json(Json{{"bundle", header.id},
                          {"share", share.index},
                          {"shares", share.quorum.shares},
                          {"needed", share.quorum.needed},
                          {"custodian", share.custodian},
                          {"signature", signature}});
    return signer && !signer->trusted ? 1 : 0;
  }
  globals.out.line(fmt::format("share      ok: {} of {}, {} are needed; custodian {}", share.index, share.quorum.shares,
                               share.quorum.needed, share.custodian));
  globals.out.line("bundle     " + header.id + ", made " + rfc3339(header.created));
  if (!signer) {
    globals.out.line("signature  not checked: --signer PEM does, or a home that has pinned the signer");
  } else {
    globals.out.line(signer->trusted ? "signature  ok: by " + signer->who : "signature  by someone unknown: it would be that of " + signer->who);
  }
  if (!signer || signer->trusted) return 0;
  throw Error::no(printable(o.bundle) + " is signed by someone unknown: " + signer->who, "get the signer's public key over a channel you trust, then --signer PEM");
}

int qr(Globals& globals, const ShareOptions& o) {
  lock_heap();
  const auto text = share::dump(share::read_share(o.share));  // as it is written, and not as it may have been typed
  const auto code = share::encode(text);
  if (o.png.empty() && o.text.empty()) {
    const Fd terminal(globals.no_input ? -1 : open("/dev/tty", O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (!terminal)
      throw Error::refused("quorum", "a share is shown at a terminal alone, and there is none",
                           "--png FILE or --text FILE writes the code into a file");
    write_all(terminal.get(), share::art_of(code).reveal(), "/dev/tty");
    return 0;
  }
  for (const auto& [file, art] : {std::pair{o.png, false}, std::pair{o.text, true}}) {
    if (file.empty()) continue;
    const auto target = home::check_output(file, globals.force);
    if (globals.dry_run) continue;
    AtomicFile out(target, globals.force, AtomicFile::Nameless{});
    write_secret(out, art ? share::art_of(code) : share::png_of(code));
    out.commit();
    globals.out.line((art ? "text     " : "png      ") + printable(file));
  }
  say_dry_run(globals);
  return 0;
}

int reissue(Globals& globals, const ShareOptions& o) {
  share::ReissueRequest request;
  request.bundle = o.bundle;
  request.shares.assign(o.shares.begin(), o.shares.end());
  request.folder = o.out;
  if (!o.quorum.quorum.empty()) request.quorum = share::Quorum::parse(o.quorum.quorum);
  for (const auto& text : o.quorum.custodians) request.custodians.push_back(share::Custodian::parse(text));
  request.qr = o.quorum.qr;
  return op::recorded(options_of(globals), op::Need::mutation, "share reissue", o.bundle, [&](op::Context& context) {
    request.require_trusted = [&](const bundle::Summary& summary) {
      const auto found = transfer::find_signer(
          &context, o.signer.empty() ? std::nullopt : std::optional<std::filesystem::path>(o.signer), summary, o.bundle);
      if (!found.trusted)
        throw Error::refused("G-INTEGRITY", printable(o.bundle) + " is signed by someone unknown (" + found.who + ")",
                             "give --signer PEM, or pin it: kmtool signer trust");
    };
    const auto made = share::reissue(context, request);
    for (const auto& text : made.warnings) warn(globals, text);
    if (json_wanted(globals)) {
      globals.out.json(Json{{"bundle", made.bundle.id},
                            {"out", made.bundle.path},
                            {"instead_of", made.old_bundle},
                            {"shares", shares_json(made.shares)}});
    } else {
      globals.out.line("bundle     " + printable(made.bundle.path) + " (" + made.bundle.id + "), instead of " + made.old_bundle);
      print_shares(globals, made.shares);
    }
    warn(globals,
         "the old shares still open old copies of the old bundle; "
         "only rotating the kek voids those: kmtool rotate " + KeyRef::parse(made.bundle.keys.front()).name +
             " --backup FILE --quorum M/N --shares DIR --rewrap-all");
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

Json shares_json(const std::vector<share::WrittenShare>& shares) {
  Json list = Json::array();
  for (const auto& share : shares) {
    list.push_back({{"custodian", share.custodian},
                    {"share", share.index},
                    {"file", share.file.string()},
                    {"encrypted_to", share.certificate.empty() ? Json(nullptr) : Json(share.certificate)}});
  }
  return list;
}

std::string share_line(const share::WrittenShare& share) {
  return fmt::format("share {:<4} {}  {}{}", share.index, share.custodian, printable(share.file.string()),
                     share.certificate.empty() ? "" : ", encrypted to certificate " + share.certificate);
}

void print_shares(Globals& globals, const std::vector<share::WrittenShare>& shares) {
  for (const auto& share : shares) globals.out.line(share_line(share));
}

void add_quorum(CLI::App* sub, QuorumOptions& o, bool with_folder) {
  sub->add_option("--quorum", o.quorum, "the bundle can be opened only with M of N shares, such as 3/5")->type_name("M/N");
  if (with_folder) sub->add_option("--shares", o.folder, "where the shares go: one folder for each custodian")->type_name("DIR");
  repeatable(sub->add_option("--custodian", o.custodians,
                             "who gets a share, in this order; with a "
                             "certificate it is encrypted to it")
                 ->type_name("NAME[=CERT.pem]"));
  sub->add_flag("--qr", o.qr, "beside each share its QR code, for paper");
}

std::optional<share::QuorumRequest> quorum_of(const QuorumOptions& o) {
  if (o.quorum.empty() && o.folder.empty() && o.custodians.empty() && !o.qr) return std::nullopt;
  if (o.quorum.empty() || o.folder.empty())
    throw Error::usage("--quorum M/N and --shares DIR go together",
                       "--quorum 3/5 --shares DIR makes five shares, of which "
                       "three are needed");
  share::QuorumRequest request{share::Quorum::parse(o.quorum), o.folder, {}, o.qr};
  for (const auto& text : o.custodians) request.custodians.push_back(share::Custodian::parse(text));
  return request;
}

void add_share(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("share", "custodians' shares of a KEK bundle: check, print, issue anew");
  sub->require_subcommand(1);
  auto o = std::make_shared<ShareOptions>();
  auto* verified = sub->add_subcommand("verify", "check a share alone, without the others");
  verified->add_option("share", o->share, "the share")->required()->type_name("FILE");
  verified->add_option("--bundle", o->bundle, "the KEK bundle")->required()->type_name("FILE");
  verified->add_option("--signer", o->signer, "also check that this signer signed the bundle")->type_name("PEM");
  verified->callback([&globals, &action, o] { action = [&globals, o] { return verify(globals, *o); }; });
  auto* drawn = sub->add_subcommand("qr", "draw a share as a QR code");
  drawn->add_option("share", o->share, "the share")->required()->type_name("FILE");
  drawn->add_option("--png", o->png, "into this PNG file")->type_name("FILE");
  drawn->add_option("--text", o->text, "into this text file")->type_name("FILE");
  drawn->callback([&globals, &action, o] { action = [&globals, o] { return qr(globals, *o); }; });
  auto* again = sub->add_subcommand("reissue", "old shares in, new shares and a new bundle out");
  again->add_option("--bundle", o->bundle, "the KEK bundle")->required()->type_name("FILE");
  repeatable(again->add_option("--share", o->shares, "an old share; as often as needed")->required()->type_name("FILE"));
  again->add_option("--out", o->out, "where the new bundle and the new shares go")->required()->type_name("DIR");
  again->add_option("--signer", o->signer, "who must have signed the bundle (this home, or a pinned signer)")->type_name("PEM");
  add_quorum(again, o->quorum, false);
  again->callback([&globals, &action, o] { action = [&globals, o] { return reissue(globals, *o); }; });
}

}  // namespace kmtool::cmd
