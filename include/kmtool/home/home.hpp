#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/core/secret.hpp"
#include "kmtool/core/time.hpp"
#include "kmtool/pkcs11/token.hpp"
#include "kmtool/policy/policy.hpp"

namespace kmtool::home {

/// Where things lie in a home folder. The home holds no key (an embedded one holds its software token).
struct Paths {
  std::filesystem::path root;
  [[nodiscard]] std::filesystem::path config() const { return root / "config.json"; }
  [[nodiscard]] std::filesystem::path policy() const { return root / "policy.json"; }
  [[nodiscard]] std::filesystem::path journal() const { return root / "journal.db"; }
  [[nodiscard]] std::filesystem::path signers() const { return root / "signers"; }
  [[nodiscard]] std::filesystem::path mutate_lock() const { return root / "mutate.lock"; }
  [[nodiscard]] std::filesystem::path token_lock() const { return root / "token.lock"; }
  [[nodiscard]] std::filesystem::path softhsm_conf() const { return root / "softhsm2.conf"; }
  [[nodiscard]] std::filesystem::path token_dir() const { return root / "token"; }
  [[nodiscard]] std::filesystem::path token_pin() const { return root / "token.pin"; }
  /// Lies here while `init` is at work: what it finds may be half of a home.
  [[nodiscard]] std::filesystem::path unfinished_init() const { return root / "init.unfinished"; }
  /// A restore that is being written; and one that is whole and decided, whose files any command then puts into their places.
  [[nodiscard]] std::filesystem::path restore_begun() const { return root / "restore.new"; }
  [[nodiscard]] std::filesystem::path restore_decided() const { return root / "restore.ready"; }
  [[nodiscard]] std::filesystem::path token_copy() const { return root / "token.object.copy"; }
};

/// check_output() of core/file.hpp for what a command writes where its user says; and no file of a home, this one or another, is the place,
/// with --force neither (73): PIN, keys and record would be lost.
std::filesystem::path check_bundle_output(const std::filesystem::path& path, bool overwrite);
/// The same for any other output: nor does it take the place of a bundle (73), which may be the only copy of a key. Those who write bundles
/// know the catalog and keep what is needed.
std::filesystem::path check_output(const std::filesystem::path& path, bool overwrite);
/// For a folder that a command fills, whether it is there already or not: it is no home, and no folder that kmtool keeps in one (73): what
/// lies there is the home's to read, to take for its own, and to remove.
void check_folder(const std::filesystem::path& folder);

/// `--home`, KMTOOL_HOME, $XDG_DATA_HOME/kmtool, ~/.local/share/kmtool; absolute.
Paths default_paths(const std::string& option);

/// config.json: what `init` decided. Written once.
struct Config {
  std::string home_id;  ///< UUID; the anchor's CKA_ID is its 16 bytes
  bool embedded = false;
  pkcs11::ModuleSpec module;
  pkcs11::TokenSelector token;
  std::string pin_source;  ///< empty: none configured
  std::optional<policy::Validation> validation;
  std::optional<bool> hardware;  ///< what the token said at init

  [[nodiscard]] std::string to_json() const;
  static Config parse(const std::string& text, const std::string& name);
  [[nodiscard]] Bytes anchor_id() const;
  /// Origin line of checkpoints and name of the log signer in notes.
  [[nodiscard]] std::string origin() const { return "kmtool/" + home_id; }
};

/// policy.json: comments allowed, unknown fields refused, what is left out has the default. Throws config (78).
policy::Policy parse_policy(const std::string& text, const std::string& name);
/// A commented policy.json with every default in it.
std::string default_policy_text();

/// A home whose files have been read and found safe (owner, permissions, no symbolic links for private files).
struct Home {
  Paths paths;
  Config config;
  std::string config_digest;  ///< SHA-256 of config.json, hex
  policy::Policy policy;
  std::string policy_digest;  ///< SHA-256 of policy.json (of nothing where there is none), hex
};
/// Throws missing (66) where there is no home, config (78) for what is not safe or not well-formed.
Home open_home(const Paths& paths);

// -- restoring: the old home or the new one, at every moment -----------------------------------------------------------

/// What lies in restore_begun() is whole: from now on it is the home, and whatever command comes first puts it into place. To be called
/// under the mutation lock, as apply_restore() is.
void decide_restore(const Paths& paths);
/// Moves the files of a decided restore to their places; may be repeated after a crash.
void apply_restore(const Paths& paths);
/// open_home() does this first: a restore that was interrupted after its decision is finished.
void finish_restore(const Paths& paths);

// -- PIN sources ------------------------------------------------------------------------------------------------------

/// `file:PATH|fd:N|env:NAME|exec:COMMAND|prompt`
struct PinSource {
  enum class Kind { file, fd, env, exec, prompt } kind = Kind::prompt;
  std::string value;
  /// Throws usage (64).
  static PinSource parse(const std::string& text);
};
/// Reads the PIN; must happen before a module is loaded (exec: forks). One trailing newline is dropped. A file must be private
/// (0600 or 0400). prompt needs a terminal and is refused with --no-input (77). Throws refused (77) for an empty PIN.
SecretBytes read_pin(const PinSource& source, bool no_input);

/// A PIN file that the token refused is not tried again until it has changed (touching it counts): a cron job must not lock the token. What
/// is kept is the file's identity (device, inode, size, times), in HOME/pin.refused; nothing of the PIN.
/// Throws refused (77) when this file, unchanged, was refused before.
void require_untried(const Paths& paths, const PinSource& source);
void note_refused_pin(const Paths& paths, const PinSource& source) noexcept;
void forget_refused_pin(const Paths& paths);

// -- the embedded SoftHSM token -----------------------------------------------------------------------------------------

/// Path of libsofthsm2.so (KMTOOL_SOFTHSM2 or Debian's places); throws unavailable (69) with the package's name.
std::string softhsm_module();
/// Folders, configuration and a random PIN file for an embedded token; the token is initialised by softhsm2-util's own API
/// through the module. Returns label and serial.
pkcs11::TokenSelector make_embedded_token(const Paths& paths, const pkcs11::ModuleSpec& module);
/// Sets SOFTHSM2_CONF for this process; asks for 1 MiB free (74) because SoftHSM loses its token on a full disk.
void prepare_embedded(const Paths& paths);
/// Keeps a copy of token.object beside the token, once a login has proven it good.
void keep_token_copy(const Paths& paths);
/// What has become of token.object.
enum class TokenObject { whole, empty, missing };
/// Empty or missing only where a copy is there; with `mend` puts the copy back, and tells what it was before.
TokenObject check_token_object(const Paths& paths, bool mend);
/// Removes object files that SoftHSM was stopped in the middle of rewriting: nothing is in them, and it does not look at them any more.
/// (token.object has its copy.) To be called under the mutation lock. How many there were.
std::size_t remove_empty_objects(const Paths& paths);
/// The home is whole: from now on a lost config.json is damage, and not an `init` that did not come to its end.
void init_finished(const Paths& paths);
/// Removes temporary files in the home that are older than a minute: writing one takes a moment, so its writer is gone. Also a restore that
/// came to no decision. To be called under the mutation lock.
void remove_stale_temporaries(const Paths& paths);
/// fsyncs the token's files changed since `since` and their folder; throws io (74) naming an empty object file.
void sync_token_files(const Paths& paths, std::filesystem::file_time_type since);

}  // namespace kmtool::home
