#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/core/lock.hpp"
#include "kmtool/core/progress.hpp"
#include "kmtool/home/home.hpp"
#include "kmtool/journal/journal.hpp"
#include "kmtool/op/plan.hpp"
#include "kmtool/op/records.hpp"
#include "kmtool/pkcs11/token.hpp"

namespace kmtool::op {

/// What the command line (or a test) decides for every operation.
struct Options {
  home::Paths paths;
  std::string pin_source;  ///< empty: the home's own
  bool no_input = false;
  bool terminal = false;  ///< a person watches: standard input or standard error is a terminal
  bool dry_run = false;
  bool overwrite = false;  ///< --force
  std::vector<policy::Waiver> waivers;
  Clock clock = system_clock();
  Progress progress;
  StopToken* stop = nullptr;
  bool many_objects = false;  ///< the command will touch most keys: the token's objects are read in one pass
  int sessions = 0;           ///< --sessions, for that pass too; 0: as many as policy.json says
  bool any_policy = false;    ///< policy accept and doctor: also under a policy that is not accepted yet
  bool settled = false;       ///< a reader of the token that waits for running mutations (doctor)
  bool repair = false;        ///< doctor --repair: the files of signers/ are written anew where they are not the token's
  bool skip_anchor = false;   ///< doctor --accept-rollback alone
  std::chrono::milliseconds lock_wait{600000};
};

/// How much of the world an operation needs.
enum class Need {
  reader,    ///< home and journal; no module is loaded
  token,     ///< also a login; nothing is changed
  mutation,  ///< also the mutation lock, a proven journal, the anchor checked, open intents finished or undone
};

/// Everything an operation works with. Move-only; holds its locks until it is destroyed.
class Context {
 public:
  static Context open(Options options, Need need);
  /// As open(); a refused login is recorded as an unauthenticated entry.
  static Context open_recorded(const Options& options, Need need, const std::string& command, const std::string& target);
  /// For init: a home that is only being made; the caller fills state().
  static Context assemble(Options options, home::Home home);
  Context(Context&&) noexcept;
  Context& operator=(Context&&) = delete;
  ~Context();

  Options options;
  home::Home home;
  [[nodiscard]] journal::Journal& journal();
  [[nodiscard]] pkcs11::Token& token();
  [[nodiscard]] bool has_token() const;
  [[nodiscard]] UnixTime now() const { return options.clock(); }
  [[nodiscard]] policy::TokenFacts token_facts() const;
  /// Throws busy (75) once SIGINT or SIGTERM has come.
  void check_stop() const;
  void progress(const std::string& what, std::uint64_t done, std::uint64_t total) const;

  // -- catalog (proven where the context is a mutation, else as stored) ----------------------------------------------
  [[nodiscard]] std::optional<KeyRecord> find_key(const std::string& name) const;
  [[nodiscard]] std::optional<VersionRecord> find_version(const std::string& name, int version) const;
  /// The version that this label names (`payments@3`); nullopt for a name alone. Throws usage (64) where it is neither.
  [[nodiscard]] std::optional<VersionRecord> find_version(const std::string& label) const;
  [[nodiscard]] std::vector<KeyRecord> keys() const;
  [[nodiscard]] std::vector<VersionRecord> versions() const;
  [[nodiscard]] std::vector<SignerRecord> signers() const;
  [[nodiscard]] std::vector<TrustRecord> trusted() const;
  [[nodiscard]] std::vector<BundleRecord> bundles() const;
  /// Labels of the keys in a bundle.
  [[nodiscard]] std::vector<std::string> bundle_keys(const std::string& bundle) const;
  /// For a KEK the bundles that need it, for another key those that hold it.
  [[nodiscard]] std::vector<BundleRecord> bundles_of(const VersionRecord& version) const;
  /// `name` → active version, `name@v` → that one. Throws missing (66) with a suggestion.
  [[nodiscard]] VersionRecord resolve(const std::string& reference) const;
  [[nodiscard]] SignerRecord active_signer(const std::string& use) const;

  // -- token objects of a version ------------------------------------------------------------------------------------
  /// The objects of these versions, one per part, checked: exactly one object per part, label and type as recorded. Throws
  /// missing (66) when the token lacks one, damaged (65) when there are several or they differ.
  std::map<std::string, std::map<Part, pkcs11::Object>> objects_of(const std::vector<VersionRecord>& versions);

  // -- signing ---------------------------------------------------------------------------------------------------------
  /// Document signature over a SHA-256 digest (ECDSA P-256, DER), by the active document signer.
  Bytes sign_document(ByteView digest);
  [[nodiscard]] crypto::PublicKey document_key() const;

  // -- the record ------------------------------------------------------------------------------------------------------
  /// Writes the intent under a signed checkpoint, acts, commits outcome and catalog under another. When `act` throws, what
  /// it began is undone, the failure recorded and the exception passed on; when undoing fails too, the intent stays
  /// open and the next command finishes it.
  Outcome run(const Plan& plan, const std::function<Outcome()>& act);
  /// An entry without token action (policy accepted, signer pinned): one signed append.
  void note(const std::string& command, const std::string& target, Json details, std::vector<journal::Change> changes);
  /// Records a refusal; never throws over the error that is being reported.
  void refused(const std::string& command, const std::string& target, const Error& error) noexcept;

  struct State;  ///< for the other files of this room
  [[nodiscard]] State& state() { return *state_; }

 private:
  Context(Options options_in, home::Home home_in);
  std::unique_ptr<State> state_;
};

/// Opens a context and runs an operation in it; a refusal (77) or damaged data (65) that comes out of it is recorded in the journal (also a wrong
/// PIN, as an unauthenticated entry) before it is passed on.
template <class F>
auto recorded(const Options& options, Need need, const std::string& command, const std::string& target, F&& operation) {
  Context context = Context::open_recorded(options, need, command, target);
  try {
    return operation(context);
  } catch (const Error& error) {
    if (error.exit() == ExitCode::refused || error.exit() == ExitCode::damaged) context.refused(command, target, error);
    throw;
  }
}

/// Destroys the token objects that carry a version's id and label; how many there were. Afterwards none may be left: throws
/// unavailable (69).
std::size_t destroy_objects(Context& context, const VersionRecord& version);
/// The id of the catalogued bundle under this path (on this host); empty where there is none.
std::string catalogued_at(const Context& context, const std::filesystem::path& path);

/// From here on the rows of a reader are of one moment and proven under signers/log.pem. Throws damaged (65).
void prove_reader(Context& context);
/// When the newest entry under the proven checkpoint was made: the clock has been there. Call once the head is proven.
UnixTime recorded_at(Context& context);

/// Finishes or undoes every open intent; returns what was done, one line each. Called by Context::open(mutation) too.
std::vector<std::string> recover(Context& context);

/// Creates the two anchor objects (init, --accept-rollback), or brings them up to the newest checkpoint.
void make_anchor(Context& context);
enum class AnchorState { ok, behind, missing, unsupported };
/// Holds the anchor against the journal: throws damaged (65) when it is not on the journal's tree (a cloned or restored home).
AnchorState check_anchor(Context& context);
void advance_anchor(Context& context);

}  // namespace kmtool::op
