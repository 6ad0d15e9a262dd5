#include "kmtool/op/context.hpp"

#include <pwd.h>
#include <unistd.h>

#include <limits>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/host.hpp"
#include "kmtool/core/text.hpp"
#include "op/sink.hpp"
#include "op/state.hpp"

namespace kmtool::op {

journal::Actor this_actor() {
  journal::Actor actor;
  actor.uid = static_cast<std::int64_t>(getuid());
  const passwd* entry = getpwuid(getuid());
  actor.user = entry != nullptr ? entry->pw_name : std::to_string(actor.uid);
  actor.host = host_name();
  if (!is_utf8(actor.user)) actor.user = printable(actor.user);
  return actor;
}

Context::Context(Options options_in, home::Home home_in)
    : options(std::move(options_in)), home(std::move(home_in)), state_(std::make_unique<State>()) {
  state_->actor = this_actor();
}
Context::Context(Context&&) noexcept = default;
Context::~Context() = default;

Context Context::assemble(Options options, home::Home home) { return {std::move(options), std::move(home)}; }

journal::Journal& Context::journal() { return *state_->journal; }
pkcs11::Token& Context::token() {
  if (!state_->token) throw Error::internal("a token operation was asked of a context without a token");
  return *state_->token;
}
bool Context::has_token() const { return state_->token.has_value(); }

policy::TokenFacts Context::token_facts() const {
  policy::TokenFacts facts;
  facts.hardware = state_->token ? state_->token->info().hardware : home.config.hardware.value_or(false);
  facts.validation = home.config.validation;
  return facts;
}

void Context::check_stop() const {
  if (options.stop != nullptr && options.stop->requested()) {
    throw Error(ExitCode::busy, "stopped", "stopped on request", "nothing is half done; run the command again to do it");
  }
}

void Context::progress(const std::string& what, std::uint64_t done, std::uint64_t total) const {
  if (options.progress) options.progress(what, done, total);
}

namespace {

/// Opens and logs in; the PIN is read before the module is loaded and gone when this returns.
pkcs11::Token login(const Options& options, const home::Home& home) {
  if (home.config.embedded) {
    if (access(home.paths.token_dir().c_str(), F_OK) != 0 && errno == ENOENT) {
      throw Error::unavailable("the embedded token's folder " + home.paths.token_dir().string() + " is gone: a backup of the home holds no token",
                               "put the folder back from where the token is kept; keys come back from bundles, in a home of their own (kmtool init, kmtool unwrap)");
    }
    if (access(home.paths.token_dir().c_str(), W_OK) != 0) {
      throw Error::io("the embedded token in " + home.paths.token_dir().string() + " cannot be written, and SoftHSM writes when somebody logs in",
                      "kmtool audit verify --no-token, audit log, list and show need no login; for the rest work on a copy of the home");
    }
    home::prepare_embedded(home.paths);
    if (const auto found = home::check_token_object(home.paths, false); found != home::TokenObject::whole) {
      const bool gone = found == home::TokenObject::missing;
      const auto folder = home.paths.token_dir().string();
      throw Error::unavailable(gone ? "the embedded token's token.object is missing from its folder under " + folder
                                    : "the embedded token's token.object is empty: SoftHSM was stopped while it rewrote it",
                               "kmtool doctor --repair puts back the copy that the home keeps");
    }
  }
  std::error_code ignored;
  if (!std::filesystem::exists(home.config.module.path, ignored)) {
    throw Error::unavailable("the PKCS#11 module " + home.config.module.path + " does not exist",
                             "install the token's software; where its library has moved, set module in the home's config.json to where it is");
  }
  const auto& named = options.pin_source.empty() ? home.config.pin_source : options.pin_source;
  pkcs11::OpenOptions how;
  how.lock_file = home.paths.token_lock();
  how.lock_wait = options.lock_wait;
  SecretBytes pin;
  const bool by_pad = named == "protected";
  const auto source = by_pad || named.empty() ? home::PinSource{} : home::PinSource::parse(named);
  const bool typed = by_pad || source.kind == home::PinSource::Kind::prompt;
  how.careful = options.no_input;
  how.unattended = !options.terminal && !typed;
  if (!by_pad) {
    home::require_untried(home.paths, source);
    pin = home::read_pin(source, options.no_input);
    how.pin = &pin;
  }
  auto token = [&] {
    try {
      return pkcs11::Token::open(home.config.module, home.config.token, how);
    } catch (const Error& error) {
      if (error.code() == "CKR_PIN_INCORRECT") home::note_refused_pin(home.paths, source);
      throw;
    }
  }();
  home::forget_refused_pin(home.paths);
  if (home.config.embedded) home::keep_token_copy(home.paths);
  return token;
}

std::string profile_id(const pkcs11::Token& token) {
  const auto& info = token.info();
  return pkcs11::profile_key(info.module_digest, info.serial, info.model, info.firmware_version);
}

/// What the token was found to do decides what its mechanisms mean and which differences count: it is believed from a signed entry, or
/// asked anew. True when it was asked.
bool load_profile(pkcs11::Token& token, const journal::Journal& journal) {
  if (const auto row = journal.proven("profile", profile_id(token))) {
    if (auto profile = pkcs11::Profile::from_json(row->value)) {
      token.use_profile(std::move(*profile));
      return false;
    }
  }
  token.use_profile(token.probe());
  return true;
}

/// The module was changed or updated, or the token's firmware was.
void note_profile(Context& context) {
  const auto& info = context.token().info();
  context.note("token profile", info.label, {{"module", info.module_path}, {"digest", info.module_digest}, {"library", info.library_version}},
               {profile_row(context.token())});
}

/// One find where the command meets everything, or the token has little; else a find for each id.
void read_ahead(Context& context) {
  constexpr std::size_t little = 64;
  constexpr std::uint64_t few_entries = 1000;
  if (context.options.many_objects) {
    const int sessions = context.options.sessions > 0 ? context.options.sessions : context.home.policy.sessions;
    context.token().remember_objects(std::numeric_limits<std::size_t>::max(), sessions);
  } else if (context.journal().size() < few_entries) {
    context.token().remember_objects(little);
  }
}

}  // namespace

void require_whole_home(const home::Paths& paths) {
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::symlink_status(paths.restore_decided(), ignored))) return;
  throw Error::busy("a restore of the home " + paths.root.string() + " was cut off while this command waited for it", "run the command again: it puts the rest into place first");
}

journal::Change profile_row(const pkcs11::Token& token) { return {"profile", profile_id(token), Json::parse(token.profile().to_json())}; }

Context Context::open(Options options, Need need) {
  auto home = home::open_home(options.paths);
  Context context(std::move(options), std::move(home));
  auto& state = *context.state_;
  if (need == Need::mutation) {
    state.mutation = FileLock::acquire(context.home.paths.mutate_lock(), context.options.lock_wait);
  } else if (need == Need::token && context.options.settled) {
    state.mutation = FileLock::acquire_to_read(context.home.paths.mutate_lock(), context.options.lock_wait);
  }
  if (state.mutation.held()) {
    require_whole_home(context.home.paths);
    context.home = home::open_home(context.options.paths);  // whoever was waited for may have accepted a policy
  }
  const auto mode = need == Need::reader ? journal::Journal::Mode::read : journal::Journal::Mode::write;
  state.journal.emplace(journal::Journal::open(context.home.paths.journal(), mode));
  if (need == Need::reader) return context;
  if (need == Need::mutation) home::remove_stale_temporaries(context.home.paths);
  if (need == Need::mutation) home::init_finished(context.home.paths);
  if (need == Need::mutation && context.home.config.embedded && home::remove_empty_objects(context.home.paths) > 0) {
    state.repaired.push_back("removed object files that the software token had left empty");
  }
  prepare_sink(context, need);
  state.token.emplace(login(context.options, context.home));
  if (need == Need::token) state.journal->begin_reading();
  trust_home_journal(context);
  const bool probed = load_profile(*state.token, *state.journal);
  read_ahead(context);
  bind_token(context);
  if (need == Need::token) prove_log_signer(context);
  if (need == Need::mutation) settle_sink(context);
  if (need == Need::mutation && !context.options.skip_anchor) {
    for (auto& line : recover(context)) state.repaired.push_back(std::move(line));
    require_sent(context, "what an interrupted command had begun was settled, but");
  }
  if (need == Need::mutation && !context.options.any_policy) require_accepted_policy(context);
  if (probed && need == Need::mutation && !context.options.skip_anchor && !context.options.dry_run) note_profile(context);
  return context;
}

Context Context::open_recorded(const Options& options, Need need, const std::string& command, const std::string& target) {
  try {
    return open(options, need);
  } catch (const Error& error) {
    if (error.exit() != ExitCode::refused || need == Need::reader) throw;
    try {  // no login: the entry is unauthenticated for ever
      Context bare(options, home::open_home(options.paths));
      bare.state_->mutation = FileLock::acquire(bare.home.paths.mutate_lock(), options.lock_wait);
      bare.state_->journal.emplace(journal::Journal::open(bare.home.paths.journal(), journal::Journal::Mode::write));
      bare.refused(command, target, error);
    } catch (const Error&) {  // the refusal itself is what the user must see
    }
    throw;
  }
}

}  // namespace kmtool::op
