#pragma once
#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kmtool/core/runner.hpp"
#include "kmtool/op/context.hpp"

namespace kmtool::op {

/// A place that checkpoints are sent to, as policy.json spells it; how long its program may take, in seconds.
struct Sink {
  std::string where;
  std::int64_t wait = 0;
};

/// What a Context keeps; the order of members is the order of teardown, reversed: token first, lock last.
struct Context::State {
  FileLock mutation;
  std::optional<journal::Journal> journal;
  std::optional<pkcs11::Token> token;
  bool proven = false;  ///< rows are read as proven
  /// Records by their row's id, read from proven rows: commands over many keys or bundles ask for each more than once, and a row takes 5 us
  /// to read.
  template <class Record>
  struct Decoded {
    std::string value;  ///< the row's: an entry that is rolled back leaves its number to another
    Record record;
  };
  std::unordered_map<std::string, Decoded<VersionRecord>> versions;
  std::unordered_map<std::string, Decoded<BundleRecord>> bundles;
  std::optional<journal::Head> head;
  std::map<std::string, pkcs11::Handle> signer_handles;  ///< by use
  std::vector<pkcs11::Object> anchors;
  std::map<std::string, crypto::PublicKey> keys;  ///< public halves of the signers by use
  journal::Actor actor;
  bool anchor_checked = false;  ///< the rollback anchor lies on this journal: only then may an entry move it
  bool unsettled = false;  ///< an intent of this process could not be closed: recover() comes before the next one
  std::optional<Error> in_doubt;  ///< the commit of an outcome failed on the disk: only a new process can tell whether it is there
  bool rotation_cut_off = false;  ///< log.pem is still the older log signer's: finish_signer_rotation() is due
  bool turn_given = false;  ///< the mutation lock was given back for a while: take_turn() comes before the next entry
  std::pair<dev_t, ino_t> journal_given{};  ///< the journal's file when it was
  std::unique_ptr<Runner> sink_runner;  ///< starts the command of policy's checkpoint_sink
  std::optional<std::vector<Sink>> sinks;  ///< where checkpoints go, once it was asked: the accepted policy's; two while that changes
  std::string untold;                   ///< why the sink that is switched off does not know it, where that was forced
  std::optional<Error> unsent;          ///< the newest checkpoint did not reach the sink: said once things are settled
  std::vector<std::string> repaired;  ///< what opening the context finished or undid
};

/// name_now() of copies.hpp, for a context that is only read.
std::string name_now(const Context& context, const Context::State& state, const std::string& name);
journal::Actor this_actor();
/// The log signer for the journal: signs in the token.
journal::LogSigner log_signer(Context& context);
/// Appends, advances the anchor when signed; fills policy and configuration digests.
std::uint64_t append(Context& context, journal::Draft draft);
/// Proves the home's journal under signers/log.pem: rows are proven from here on.
void trust_home_journal(Context& context);
/// The catalog's row for what the token was found to do.
journal::Change profile_row(const pkcs11::Token& token);
/// Reads signers from the catalog, finds their private halves and the anchor on the token.
void bind_token(Context& context);
/// Proves the head of a journal under log.pem's key, or under that of a newer log signer which it vouched for (a rotation that was cut
/// off before the file was renewed), and the catalog under that head. Throws damaged (65).
journal::Head trust_journal(journal::Journal& journal, const std::string& origin, const crypto::PublicKey& in_file);
/// Signs the newest checkpoint once more and verifies it under the home's log.pem: proves that the key which vouches for the journal is
/// the token's, before anything rests on the journal alone. Throws damaged (65).
void prove_log_signer(Context& context);
/// A token that once hid one of the two anchors was given a third: the two newest stay. Call after check_anchor() found them good.
void drop_surplus_anchors(Context& context);
/// The tree size that the newest of them stands at; 0 where none can be read.
std::uint64_t highest_anchor(const Context& context, const std::vector<pkcs11::Object>& anchors);
/// Those that are this home's anchors: other objects may carry the same CKA_ID, and are left alone.
std::vector<pkcs11::Object> anchors_among(const Context& context, const std::vector<pkcs11::Object>& objects);
/// After a rotation that was cut off: a checkpoint by the new log signer first, then log.pem. The other way round nobody could tell from the
/// new key that the journal, whose newest checkpoint is the old one's, is genuine. Appends a line to `done`.
void finish_signer_rotation(Context& context, std::vector<std::string>& done);
/// What is wrong with signers/USE.pem; nullopt where it is the catalog's active signer.
std::optional<std::string> signer_file_differs(Context& context, const std::string& use);
/// Throws damaged (65) where the token lost the document signer's private half: said before anything is begun that it must sign.
void require_document_signer(Context& context);
/// signers/document.pem and signers/log.pem from the catalog's active signers.
void write_signer_files(Context& context);
/// The one row that says which intents are open, and how many rows each has: looked up at every start, so that no search through the
/// whole catalog is needed to know that there is none. Mutations take turns and recover first: there is at most one.
journal::Change open_intents(const std::map<std::string, std::size_t>& open);
/// Under the mutation lock: throws busy (75) where a restore was cut off after its decision, since the home was opened. The next command
/// finishes it before it reads anything.
void require_whole_home(const home::Paths& paths);
/// Throws config (78) when policy.json is not the one that was accepted.
void require_accepted_policy(Context& context);
/// The row of the policy that is accepted: its digest, and its text so that the record tells what was allowed when. Throws config (78)
/// where policy.json is missing or too long for an entry.
journal::Change policy_row(const Context& context);
/// The text of the policy that was accepted last; nullopt where it was accepted before texts were kept.
std::optional<std::string> accepted_policy_text(Context& context);
/// What undo() did: a line each; and of nameless objects it destroyed, for the journal, which kinds and how many.
struct Undone {
  std::vector<std::string> done;
  Json nameless = Json::array();
};
/// Undoes what is left of a plan: destroys its objects (never one the catalog knows), removes temporary files, and files that landed
/// for keys the token does not have.
Undone undo(Context& context, const Plan& plan);
/// An object of a planned key that the token does not have under its label and id.
struct Unmade {
  pkcs11::ObjectSpec spec;
  bool imported = false;
};
std::vector<Unmade> unmade_of(const Plan& plan, const std::map<Bytes, std::vector<pkcs11::Object>>& located);
/// Of the objects without label and id that appeared since the plan was made, destroys those which are, attribute for attribute, one of
/// `unmade`, and at most one for each. All others are somebody else's: they stay, and are named.
void destroy_nameless(Context& context, const Plan& plan, std::vector<Unmade> unmade, Undone& undone);
/// True when every planned bundle (and there is one) lies under its final name.
bool files_landed(const Plan& plan);
/// Removes what an unfinished file left: its temporary, the file itself where it replaces nothing, the second name of a kept one.
void clear_file(const PlannedFile& file, std::vector<std::string>& done);
/// Catalog rows of a file that landed: its own, and those of the bundle it replaced.
std::vector<journal::Change> landed_changes(Context& context, const PlannedFile& file);
/// Records the files that landed and clears the others (plans whose files stand alone).
std::vector<journal::Change> settle_files(Context& context, const Plan& plan, std::vector<std::string>& done);
/// Objects without label and id, counted by fingerprint.
std::map<std::string, std::size_t> nameless_objects(Context& context);
/// The catalog row of a bundle that lies at `path`, signature checked against the document signer.
BundleRecord bundle_record_of(Context& context, const std::string& path);
/// The anchor's label for the newest checkpoint; suffix a or b.
std::string anchor_label(const std::string& home_id, const tlog::Checkpoint& checkpoint, char suffix);

}  // namespace kmtool::op
