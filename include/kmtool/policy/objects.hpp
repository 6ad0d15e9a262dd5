#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kmtool/domain/key_kind.hpp"
#include "kmtool/policy/policy.hpp"

namespace kmtool::policy {

/// What stands on a token, whoever made it; facts only, for the rules that `audit keys` asks.
enum class ObjectKind { secret, private_half, public_half, certificate, data, other };
std::string_view to_text(ObjectKind kind);  ///< `secret-key`, `private-key`, `public-key`, `certificate`, `data`, `other`

struct CertificateFacts {
  bool readable = false;  ///< its DER could be parsed; nothing else counts where it could not
  std::string subject, issuer;
  UnixTime not_before = 0, not_after = 0;
  std::string signature;        ///< `sha256WithRSAEncryption`
  bool weak_signature = false;  ///< MD5, SHA-1 and older
  bool self_signed = false, authority = false;
};

/// A flag that the token does not show is nullopt; a usage that it does not show is not set.
struct ObjectFacts {
  std::string label;
  std::string id;  ///< CKA_ID, hex; empty: none
  ObjectKind kind = ObjectKind::other;
  KeyKind key;
  int strength = -1;  ///< bits; -1: cannot be told
  std::optional<bool> is_private, sensitive, extractable, modifiable, copyable, local, always_sensitive, never_extractable,
      wrap_with_trusted, trusted;
  bool encrypt = false, decrypt = false, sign = false, verify = false, wrap = false, unwrap = false, derive = false,
       sign_recover = false, verify_recover = false;
  std::string public_id;        ///< SHA-256 of the SPKI, hex, where the object shows it: pairs, certificates
  std::optional<UnixTime> not_before, not_after;  ///< CKA_START_DATE, and the end of the day CKA_END_DATE
  std::vector<std::string> mechanisms;            ///< CKA_ALLOWED_MECHANISMS; empty: any
  bool wrap_template = false;                     ///< CKA_WRAP_TEMPLATE is set
  unsigned long exponent = 0;   ///< RSA, as far as it fits; 0: not shown
  bool has_private = false;     ///< of a public half: the private half stands on the token too, and is judged for both
  std::optional<CertificateFacts> certificate;

  /// Whose it is: of the home that is asked with, or, where there is none, by the labels that kmtool gives.
  enum class Owner { nobody, key, signer, anchor } owner = Owner::nobody;
  std::optional<KeyFacts> record;  ///< of the catalog, for Owner::key
  std::string origin;              ///< `generated`, `unwrapped`, `adopted`; empty without a record
  bool backed_up = false;
  std::vector<Waiver> waivers;           ///< on record for this key
  std::vector<std::string> differences;  ///< from what its role and the record make of it

  [[nodiscard]] bool is_key() const { return kind == ObjectKind::secret || kind == ObjectKind::private_half || kind == ObjectKind::public_half; }
  [[nodiscard]] bool holds_secret() const { return kind == ObjectKind::secret || kind == ObjectKind::private_half; }
  /// Named, numbered and locked as kmtool makes keys: `payments@3`, 16 octets of CKA_ID, private, sensitive, not modifiable.
  [[nodiscard]] bool kmtool_made() const;
  /// `wrap, unwrap`; `none`.
  [[nodiscard]] std::string usages() const;
  /// `"payments" (aes-256)`
  [[nodiscard]] std::string named() const;
};

/// What the token does, as far as it is known: nullopt where nobody has tried it.
struct TokenTraits {
  std::string label;
  bool hardware = false;
  std::optional<bool> extractable_enforced, wrap_with_trusted_enforced, modifiable_enforced, copies_stay_locked, local_correct;
  std::vector<std::pair<Family, std::string>> unauthenticated;  ///< wrap without proving anything: `CKM_AES_CBC_PAD` of aes
  std::vector<std::string> pkcs1;            ///< RSA PKCS#1 v1.5 that unwraps or decrypts
  std::vector<std::string> cutting;          ///< derivations that cut or combine key bits: `CKM_EXTRACT_KEY_FROM_KEY`
  /// The answers of --probe that were `allowed`, by id: `read-sensitive` … and how it was done.
  std::vector<std::pair<std::string, std::string>> allowed;
  [[nodiscard]] std::string named() const { return (hardware ? "token " : "software token ") + label; }
};

/// One check of the rulebook below a guideline's rule: `G-SEALED/wrap-decrypt`.
struct Check {
  const char* rule;   ///< id of GUIDANCE.md
  const char* id;     ///< short word, unique
  Severity severity;  ///< the highest it is found with
  const char* title;  ///< what is wrong
  const char* why;    ///< one sentence: why it matters
  const char* fix;    ///< command; `{delete}`, `{id}`, `{label}` are filled in
  const char* own;    ///< the same for a key of the home, `{key}`, `{version}`; empty: as above
  const char* attack; ///< `A1` …, `Clulow`, `DKS`; empty: no attack
};
const std::vector<Check>& checks();
/// Throws internal (70) for an unknown id.
const Check& check_of(std::string_view id);

struct ObjectRef {
  std::string label, id, object_class;
};

/// One thing found.
struct Finding {
  std::string rule, check;
  Severity severity = Severity::low;
  ObjectRef object;
  std::string evidence, why, fix;
  std::vector<std::string> path;  ///< for an attack: call by call
  std::string attack;
  std::string waived;  ///< the reason on record; such a finding fails nothing
};

/// Makes a finding of a check about an object, its fix filled in. A waiver on record for its rule is noted.
Finding finding_of(std::string_view check, const ObjectFacts& object, std::string evidence, std::optional<Severity> severity = {});
Finding finding_of(std::string_view check, const TokenTraits& token, const std::string& evidence, std::optional<Severity> severity = {});

// -- the rules; all pure ------------------------------------------------------------------------------------------------

/// The token's kind and validation (judge_token, as at the door), and what it lets anybody do.
std::vector<Finding> audit_token(const Policy& policy, const TokenFacts& facts, const TokenTraits& traits,
                                 const std::vector<ObjectFacts>& objects);
/// One object alone: strength and algorithm, origin, flags, usages, state and period, certificates' dates.
std::vector<Finding> audit_object(const Policy& policy, const TokenTraits& traits, const ObjectFacts& object, UnixTime now);
/// Objects beside each other: names and numbers twice, halves, certificates without key, one key in two objects.
std::vector<Finding> audit_set(const std::vector<ObjectFacts>& objects);
/// The known attacks as combinations over the whole set, with the path.
std::vector<Finding> find_attacks(const TokenTraits& traits, const std::vector<ObjectFacts>& objects);
/// Do the usages of one key contradict each other? Empty: no. (Clulow 2003; the roles of kmtool never do.)
std::string mixed_usage(const ObjectFacts& object);

/// Most severe first; then by label and check. Waived ones last.
void sort_findings(std::vector<Finding>& findings);

}  // namespace kmtool::policy
