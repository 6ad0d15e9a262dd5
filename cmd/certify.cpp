#include "kmtool/usage/certify.hpp"

#include <memory>

#include "common.hpp"
#include "data.hpp"

namespace kmtool::cmd {

namespace {

struct CertifyOptions {
  std::string key;
  crypto::Subject subject;
  int days = 0;
  DataOptions data;
};

void print(Globals& globals, const usage::Certified& made, std::optional<OutStream>& out, const char* what) {
  warn_all(globals, made.warnings);
  const bool to_file = out && out->is_file();
  if (json_wanted(globals)) {
    Json json{{"key", made.version.name}, {"version", made.version.version}, {"algorithm", crypto::to_text(made.scheme)}, {what, made.pem},
              {"out", to_file ? out->path() : ""}};
    if (!made.serial.empty()) json["serial"] = made.serial;
    if (made.until != 0) json["not_after"] = rfc3339(made.until);
    globals.out.json(json);
  }
  if (out && (to_file || !json_wanted(globals))) {
    out->write(view(made.pem));
    out->finish();
  }
  if (to_file && !json_wanted(globals)) globals.out.line(std::string(what) + " for " + made.version.label() + " into " + out->path());
  say_dry_run(globals);
}

int run(Globals& globals, const CertifyOptions& o, const char* command) {
  const bool request = std::string_view(command) == "csr";
  auto out = open_out(globals, o.data, false);
  return op::recorded(options_of(globals), op::Need::mutation, command, o.key, [&](op::Context& context) {
    const auto made = request ? usage::request_certificate(context, o.key, o.subject) : usage::self_sign(context, o.key, o.subject, o.days);
    print(globals, made, out, request ? "csr" : "certificate");
    return 0;
  });
}

std::shared_ptr<CertifyOptions> add(CLI::App* sub) {
  auto o = std::make_shared<CertifyOptions>();
  sub->add_option("key", o->key, "NAME (the active version) or NAME@VERSION")->required()->type_name("KEY");
  sub->add_option("--subject", o->subject.name, "CN=www.example.org,O=Example,C=DE or /C=DE/O=Example/CN=www.example.org")->required()->type_name("DN");
  repeatable(sub->add_option("--san", o->subject.alternatives, "DNS:NAME, IP:ADDRESS, email:ADDRESS or URI:URI; may be repeated")->type_name("NAME"));
  add_out(sub, o->data);
  return o;
}

}  // namespace

void add_csr(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("csr", "a certificate request (PKCS#10) for a sign key, signed in the token");
  auto o = add(sub);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o, "csr"); }; });
}

void add_cert(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("cert", "a self-signed certificate for a sign key, signed in the token");
  auto o = add(sub);
  sub->add_option("--days", o->days, "valid from now for so many days")->required()->type_name("N")->check(CLI::Range(1, 36500));
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o, "cert"); }; });
}

}  // namespace kmtool::cmd
