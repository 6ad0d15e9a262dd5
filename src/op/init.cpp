#include <unistd.h>

#include <set>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/lock.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/op/admin.hpp"
#include "op/signer_keys.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

/// True when what lies there is the rest of an init that did not come to its end: its mark is there, and the journal holds at most its entry.
bool unfinished(const home::Paths& paths) {
  std::error_code ignored;
  if (!std::filesystem::exists(paths.unfinished_init(), ignored)) return false;
  try {
    return !std::filesystem::exists(paths.journal(), ignored) || journal::Journal::open(paths.journal(), journal::Journal::Mode::read).size() <= 1;
  } catch (const Error& error) {
    return error.exit() == ExitCode::damaged;  // killed while the tables were made
  }
}

/// What of a home lies in its folder, a killed init's rest among it.
std::vector<std::filesystem::path> parts_of_home(const home::Paths& paths) {
  return {paths.journal(), paths.root / "journal.db-wal", paths.signers(), paths.token_dir(), paths.token_pin(), paths.token_copy()};
}

/// Everything that can be seen to be wrong while nothing has been written.
void require_no_home(const home::Paths& paths) {
  std::error_code ignored;
  if (!is_utf8(paths.root.string())) throw Error::usage(printable(paths.root.string()) + " is not UTF-8: the configuration could not name it", "choose a folder whose name is UTF-8");
  if (std::filesystem::exists(std::filesystem::symlink_status(paths.root, ignored))) {
    if (!std::filesystem::is_directory(paths.root, ignored)) throw Error::exists(paths.root.string() + " exists and is not a folder");
    check_trusted(paths.root);  // a home that every later command would refuse is not made
  }
  if (std::filesystem::exists(paths.config(), ignored)) {
    throw Error::exists("there is already a home at " + paths.root.string(), "use it, or name another folder with --home");
  }
  if (std::filesystem::exists(paths.restore_decided(), ignored)) {
    throw Error::exists("a restore into " + paths.root.string() + " was interrupted", "the next command, such as kmtool list, finishes it");
  }
  if (unfinished(paths)) return;
  for (const auto& part : parts_of_home(paths)) {
    if (!std::filesystem::exists(std::filesystem::symlink_status(part, ignored))) continue;
    throw Error::exists(paths.root.string() + " has no config.json but holds " + part.filename().string() + " of a home: nothing was touched",
                        "take config.json alone out of the home's backup (sqlite3 -A -x -f BACKUP config.json), or name another folder with --home");
  }
}

void require_module(const pkcs11::ModuleSpec& module) {
  std::error_code ignored;
  if (!std::filesystem::exists(module.path, ignored)) {
    throw Error::unavailable("the PKCS#11 module " + module.path + " does not exist", "check the path given to --module");
  }
  check_trusted(std::filesystem::canonical(module.path), {.follow_symlink = true});
}

/// What init has written, taken away again unless it comes to its end: an init that fails changes nothing. The mark is for those that are
/// killed.
class InitFiles {
 public:
  explicit InitFiles(const home::Paths& paths) : paths_(paths) {
    std::error_code ignored;
    for (auto folder = paths.root; !std::filesystem::exists(folder, ignored); folder = folder.parent_path()) made_.push_back(folder);
    try {
      make_private_dir(paths.root);
    } catch (...) {
      take_away_folders();
      throw;
    }
    const bool marked = std::filesystem::exists(paths.unfinished_init(), ignored);
    lock_ = sole(paths);
    try {
      require_no_home(paths);  // another init may have come to its end since that was asked
      before_ = names();
    } catch (...) {
      std::filesystem::remove(paths.unfinished_init(), ignored);
      throw;
    }
    if (!marked) before_.erase(paths.unfinished_init().filename().string());
    for (const auto& part : parts_of_home(paths)) std::filesystem::remove_all(part, ignored);
    std::filesystem::remove(paths.root / "journal.db-shm", ignored);
  }
  InitFiles(const InitFiles&) = delete;
  InitFiles& operator=(const InitFiles&) = delete;
  ~InitFiles() {
    if (!done_) take_away();
  }
  void done() { done_ = true; }

 private:
  /// The mark is locked while its init is at work: whoever does not have it takes nothing away.
  static FileLock sole(const home::Paths& paths) {
    try {
      return FileLock::acquire(paths.unfinished_init(), std::chrono::milliseconds{0});
    } catch (const Error& error) {
      if (error.exit() != ExitCode::busy) throw;
      throw Error::busy("another kmtool init is making a home in " + paths.root.string(), "wait for it to end; then use that home, or name another folder with --home");
    }
  }
  [[nodiscard]] std::set<std::string> names() const {
    std::set<std::string> found;
    std::error_code failed;
    for (std::filesystem::directory_iterator it(paths_.root, failed), end; !failed && it != end; it.increment(failed)) found.insert(it->path().filename().string());
    return found;
  }
  void take_away() noexcept try {
    std::error_code ignored;
    for (const auto& name : names()) {
      if (!before_.contains(name)) std::filesystem::remove_all(paths_.root / name, ignored);
    }
    take_away_folders();
  } catch (const std::exception&) {  // the failure itself is what the user must see
  }
  void take_away_folders() noexcept {
    std::error_code ignored;
    for (const auto& folder : made_) std::filesystem::remove(folder, ignored);  // deepest first; one that is not empty stays
  }

  const home::Paths& paths_;
  std::vector<std::filesystem::path> made_;
  std::set<std::string> before_;
  FileLock lock_;
  bool done_ = false;
};

void require_unshared(pkcs11::Token& token, bool join) {
  if (join) return;
  for (const auto& object : token.scan()) {
    if (object.label.rfind("kmtool-anchor:", 0) != 0) continue;
    throw Error::refused("policy", "this token already serves another kmtool home (" + object.label.substr(14, 36) + ")",
                         "use that home, or give --join to put a second one on the token");
  }
}

/// `lock_file` empty: for a look, which makes no file.
pkcs11::Token log_in(const Options& options, const home::Config& config, const std::filesystem::path& lock_file) {
  pkcs11::OpenOptions how;
  how.careful = options.no_input;
  how.lock_file = lock_file;
  SecretBytes pin;
  const auto& source = options.pin_source.empty() ? config.pin_source : options.pin_source;
  if (source != "protected") {
    pin = home::read_pin(source.empty() ? home::PinSource{} : home::PinSource::parse(source), options.no_input);
    how.pin = &pin;
  }
  return pkcs11::Token::open(config.module, config.token, how);
}

pkcs11::Token open_token(const Options& options, const home::Config& config) {
  if (config.embedded) home::prepare_embedded(options.paths);
  require_module(config.module);
  auto token = log_in(options, config, options.paths.token_lock());
  token.use_profile(token.probe());
  const auto& profile = token.profile();
  if (!profile.hmac_sha256 || !profile.ecdsa_p256) {
    std::vector<std::string> lacks;
    if (!profile.hmac_sha256) lacks.emplace_back("HMAC-SHA-256, which seals bundles");
    if (!profile.ecdsa_p256) lacks.emplace_back("ECDSA P-256, which signs bundles and the journal");
    throw Error::unavailable("this token lacks what a home needs: " + join(lacks, "; and "),
                             "no home can be made on it; kmtool audit keys still examines the keys on it, without a home");
  }
  return token;
}

home::Config make_config(const Options& options, const InitRequest& request) {
  home::Config config;
  config.embedded = request.embedded;
  config.module = request.module;
  config.token = request.token;
  config.validation = request.validation;
  config.pin_source = options.pin_source;
  if (request.embedded) {
    config.module = {home::softhsm_module(), ""};
    config.token = home::make_embedded_token(options.paths, config.module);
    config.pin_source = "file:" + options.paths.token_pin().string();
  }
  return config;
}

void write_policy(const home::Paths& paths, home::Home& home) {
  std::error_code ignored;
  if (!std::filesystem::exists(paths.policy(), ignored)) write_private_file(paths.policy(), view(home::default_policy_text()), false);
  const auto text = read_trusted(paths.policy());
  home.policy = home::parse_policy(text, paths.policy().string());
  home.policy_digest = hex(crypto::sha256(view(text)));
}

}  // namespace

void check_init(const Options& options, const InitRequest& request) {
  require_no_home(options.paths);
  if (request.embedded) {
    home::softhsm_module();
  } else {
    require_module(request.module);
  }
}

namespace {

/// The folder itself, or the nearest above it that is there, takes what will be made.
void require_place(const std::filesystem::path& root) {
  std::error_code failed;
  auto folder = root;
  while (!folder.empty() && folder != folder.parent_path() && !std::filesystem::exists(folder, failed)) folder = folder.parent_path();
  if (!std::filesystem::is_directory(folder, failed)) throw Error::exists(root.string() + " cannot be made: " + folder.string() + " is not a folder");
  if (access(folder.c_str(), W_OK | X_OK) != 0) throw Error::exists(root.string() + " cannot be made: the folder " + folder.string() + " may not be written");
}

}  // namespace

std::optional<pkcs11::TokenInfo> rehearse_init(const Options& options, const InitRequest& request) {
  check_init(options, request);
  require_place(options.paths.root);
  if (request.embedded) return std::nullopt;
  home::Config config;
  config.module = request.module;
  config.token = request.token;
  config.pin_source = options.pin_source;
  auto token = log_in(options, config, {});
  require_unshared(token, request.join);
  return token.info();
}

namespace {

InitResult make_home(const Options& options, const InitRequest& request) {
  home::Home home;
  home.paths = options.paths;
  home.config = make_config(options, request);
  auto token = open_token(options, home.config);
  require_unshared(token, request.join);
  home.config.home_id = uuid_text(token.random(16));
  home.config.hardware = token.info().hardware;
  home.config.token.label = token.info().label;
  home.config.token.serial = token.info().serial;
  write_policy(options.paths, home);
  policy::enforce(home.policy, policy::judge_token(home.policy, {token.info().hardware, home.config.validation}), options.waivers);
  const std::string config_text = home.config.to_json();
  home.config_digest = hex(crypto::sha256(view(config_text)));

  auto context = Context::assemble(options, std::move(home));
  auto& state = context.state();
  state.token.emplace(std::move(token));
  state.anchor_checked = true;  // there is none yet
  state.journal.emplace(journal::Journal::create(options.paths.journal()));
  std::vector<SignerRecord> signers;
  try {
    for (const std::string use : {"log", "document"}) signers.push_back(make_signer(context, use, 1, true));
    journal::Draft draft;
    draft.command = "init";
    draft.target = context.home.config.home_id;
    draft.result = "done";
    const auto& info = context.token().info();
    draft.details = {{"token", {{"label", info.label}, {"serial", info.serial}, {"model", info.model}, {"hardware", info.hardware}}},
                     {"validation", context.home.config.validation ? context.home.config.validation->text() : "none recorded"},
                     {"version", KMTOOL_VERSION}};
    for (const auto& signer : signers) draft.changes.push_back(signer.change());
    draft.changes.push_back(policy_row(context));
    draft.changes.push_back(profile_row(context.token()));
    append(context, std::move(draft));
    state.proven = false;
    write_signer_files(context);
    make_anchor(context);
    write_private_file(options.paths.config(), view(config_text), false);
    home::init_finished(options.paths);
  } catch (const std::exception&) {
    for (const auto& signer : signers) remove_signer(context, signer);
    for (const auto& anchor : state.anchors) context.token().destroy(anchor.handle);
    throw;
  }
  if (request.embedded) home::keep_token_copy(options.paths);
  return {context.home.config.home_id, context.token().info(), signers, !state.anchors.empty()};
}

}  // namespace

InitResult init(const Options& options, const InitRequest& request) {
  check_init(options, request);
  InitFiles making(options.paths);
  auto result = make_home(options, request);
  making.done();
  return result;
}

}  // namespace kmtool::op
