#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::op {

struct InitRequest {
  bool embedded = false;
  pkcs11::ModuleSpec module;
  pkcs11::TokenSelector token;
  std::optional<policy::Validation> validation;
  bool join = false;
};
struct InitResult {
  std::string home_id;
  pkcs11::TokenInfo token;
  std::vector<SignerRecord> signers;
  bool anchored = false;
};
/// Makes the home, its two signers and anchor on the token, and the first journal entry. config.json is written last: without
/// it there is no home, and init may be run again. Throws exists (73) when there is one, refused (77) on a token that already
/// serves another home without --join. One that fails takes away what it has written: the folder is as it was.
InitResult init(const Options& options, const InitRequest& request);

/// What can be seen to be wrong before anything is written: a home that is there, a folder or module that others can write, no module.
void check_init(const Options& options, const InitRequest& request);
/// For --dry-run: also all that can be seen of the token and the home's place without writing anything. It logs in. The token; nullopt where it
/// is one that init would make.
std::optional<pkcs11::TokenInfo> rehearse_init(const Options& options, const InitRequest& request);

/// One line of doctor's report.
struct Check {
  enum class Verdict { ok, note, bad } verdict = Verdict::ok;
  std::string what, detail;
};
/// All that could be looked at; `failure` says why not everything could, or what else must end the command.
struct Examination {
  std::vector<Check> checks;
  std::optional<Error> failure;
};
/// Looks at home, journal, token, anchor, open intents, and holds the catalog against the token's objects. In a context with skip_anchor an
/// anchor that stands elsewhere is what is about to be mended.
Examination examine(Context& context);
/// Where no context could be opened, for `why`: what can be seen of home, policy and journal all the same.
Examination examine_files(const Options& options, const Error& why);
/// What opening the context for a mutation finished or undid.
std::vector<std::string> repairs_of(Context& context);
/// Records a genuine restore: the anchor is made anew at this journal's head. The context must have skip_anchor. Returns the keys on the token
/// that this journal does not explain, made since or by others; they go on record (found_at_rollback()). So does a number which is beyond all
/// that were counted up before (numbers_after_rollback()).
std::vector<pkcs11::Object> accept_rollback(Context& context, const std::string& reason);
/// What counts up for others to see, such as the number of a snapshot, goes on above this: what it was at when the restored state was left is not
/// known. 0 where no restore was ever accepted.
std::uint64_t numbers_after_rollback(Context& context);

/// Makes new log and document signers; the outcome, signed by the old log signer, vouches for them. With `compromised_after` (a tree
/// size) the old ones are marked compromised from there on, else retired.
std::vector<SignerRecord> rotate_signers(Context& context, std::optional<std::uint64_t> compromised_after);
/// The public key in a PEM file, which must be one that a document signer can have. Throws usage (64), damaged (65), missing (66).
crypto::PublicKey read_signer(const std::filesystem::path& pem);
/// The signer that is pinned under this name; nullopt: none. Throws exists (73) when the name is taken by another key than this one, or
/// this key is pinned under another name.
std::optional<TrustRecord> pinned_as(const Context& context, const crypto::PublicKey& key, const std::string& name);
/// Pins another site's signer under a name; one that is pinned so stays as it is. Throws exists (73) when the name is taken by another key.
TrustRecord trust_signer(Context& context, const crypto::PublicKey& key, const std::string& name);

/// A signer that was pinned, and what rests on its word.
struct Distrusted {
  TrustRecord signer;
  std::vector<std::string> names;        ///< all that the key was trusted under, the one asked for first
  std::vector<std::string> taken;        ///< what came from bundles that it signed: `import-kek root@1`, `unwrap FILE`
  std::vector<std::string> public_keys;  ///< fingerprints of recorded recipients that its requests vouched for: backups go on to them
};
/// Takes a pin back, under every name that its key has: what that signer signed, before or after, is by someone unknown from then on. Throws
/// missing (66).
Distrusted distrust_signer(Context& context, const std::string& name, const std::string& reason);
/// The tree size of a checkpoint file (a note signed by this home's log signer and lying on its tree). Throws damaged (65).
std::uint64_t checkpoint_size(Context& context, const std::filesystem::path& file);

struct Acceptance {
  bool changed = false;  ///< false: it was accepted already
  std::string untold;    ///< why the sink that was switched off does not know it
};
/// Journals policy.json as accepted, and which of its fields changed. Throws config (78) where the file is missing: defaults that nobody
/// asked for are not accepted in passing. A checkpoint_sink that changes or goes is told before the new one counts: throws io (74) where it
/// takes nothing, unless options.overwrite is set.
Acceptance accept_policy(Context& context);
bool policy_accepted(Context& context);
/// policy.json is not there, or empty: what counts are the defaults.
bool policy_missing(const Context& context);
/// Why policy.json is not the policy that was accepted, and what to do.
struct PolicyTrouble {
  std::string what, fix;
};
/// nullopt where it is the accepted one.
std::optional<PolicyTrouble> policy_trouble(Context& context);
/// The same without a context: of the file's digest, and the catalog's row of what was accepted.
std::optional<PolicyTrouble> policy_trouble(const home::Paths& paths, const std::string& digest, const std::optional<journal::Item>& accepted);

/// How many of the newest entries policy's checkpoint_sink has not got a checkpoint over; 0 where none is set, and while another process
/// changes something, which sends it in a moment. As long as there are any, whatever changes something fails (74).
std::uint64_t unsent_entries(Context& reader);

/// The names of what backup_home() puts in.
std::vector<std::string> backup_names(const Context& context);
/// A SQLite archive (sqlite3 -A) of config, policy, signers and a consistent copy of the journal; no key and no PIN. Takes no
/// lock: what is in it is of one moment, because it is copied again where files changed meanwhile. Throws busy (75) when they keep changing.
std::vector<std::string> backup_home(Context& context, const std::filesystem::path& file);
/// Puts a backup back into an empty home folder, or over an existing home with --force (an embedded token stays as it is).
std::vector<std::string> restore_home(const Options& options, const std::filesystem::path& file);

}  // namespace kmtool::op
