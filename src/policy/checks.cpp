#include <algorithm>
#include <iterator>

#include "kmtool/core/error.hpp"
#include "kmtool/policy/objects.hpp"

namespace kmtool::policy {
namespace {

using enum Severity;

constexpr const char* replace = "kmtool gen NEW --role ROLE, move to it, then {delete}";

constexpr Check of_tokens[] = {
    {"G-HW", "software-token", high, "the token is software", "whoever copies its files and learns the PIN has every key", "use a hardware token; policy.json: \"require_hardware\": true", "", ""},
    {"G-GEN", "validation", high, "the module's FIPS 140 validation", "only a validated module's generator, boundary and self-tests have been examined by somebody else", "kmtool init --validation 'FIPS 140-3:LEVEL:CERTIFICATE'; in a home that is there already, this text as validation in its config.json", "", ""},
    {"G-SEALED", "extractable-not-enforced", critical, "the token wraps keys that are not extractable", "CKA_EXTRACTABLE=false is the only thing that keeps a key inside, and this token does not heed it", "keep the PIN to kmtool alone, or use another token", "", "A5"},
    {"G-SEALED", "copy-extractable", critical, "a copy of a non-extractable key can be made extractable", "whoever has the PIN copies the key and wraps the copy", "keep the PIN to kmtool alone, or use another token", "", "A5"},
    {"G-SEALED", "copy-readable", critical, "a copy of a sensitive key can be made readable", "whoever has the PIN copies the key and reads the copy", "use another token", "", "A5"},
    {"G-SEALED", "sensitive-readable", critical, "the token shows the value of sensitive keys", "every key on it can be read by whoever has the PIN", "use another token; replace every key", "", "A3"},
    {"G-SEALED", "unextractable-readable", critical, "the token shows the value of non-extractable keys", "PKCS#11 forbids it: such keys can be read by whoever has the PIN", "use another token; replace every key", "", "A4"},
    {"G-SEALED", "sensitive-cleared", critical, "CKA_SENSITIVE can be taken away", "one C_SetAttributeValue makes a sealed key readable", "use another token; replace every key", "", "A5"},
    {"G-SEALED", "extractable-set", critical, "CKA_EXTRACTABLE can be given", "one C_SetAttributeValue lets a sealed key leave", "use another token; replace every key", "", "A5"},
    {"G-SEALED", "modifiable-not-enforced", high, "usages can be added to keys with MODIFIABLE=false", "a wrap key becomes one that decrypts, and then wrapped keys can be read", "keep the PIN to kmtool alone, or use another token", "", "A1"},
    {"G-SEALED", "copy-adds-usage", medium, "a copy of a locked key can have usages that the key lacks", "CKA_MODIFIABLE=false does not hold for copies: the copy of a wrap key decrypts what the key wraps", "keep the PIN to kmtool alone, or use a token that honours CKA_COPYABLE", "", "A1"},
    {"G-SEALED", "trusted-not-enforced", medium, "CKA_WRAP_WITH_TRUSTED is not enforced", "keys that only a trusted key may wrap can be wrapped by any", "keep the PIN to kmtool alone, or use another token", "", "Clulow"},
    {"G-SEALED", "user-sets-trusted", high, "the user can call a wrap key trusted", "CKA_TRUSTED is the security officer's word; here whoever has the PIN can give it to a key of his", "keep the PIN to kmtool alone, or use another token", "", "Clulow"},
    {"G-SEALED", "key-cutting", high, "a readable part can be cut out of a sensitive key", "a key is found byte by byte, 256 tries each (Clulow's reduced key space)", "make no keys with CKA_DERIVE on this token", "", "Clulow"},
    {"G-SEALED", "reimport", low, "a wrapped key can be unwrapped with other usages", "unwrapped once to wrap and once to decrypt, one key becomes two that together read what is wrapped (Delaune, Kremer, Steel)", "keep the PIN to kmtool alone: it unwraps sealed and signed bundles only", "", "DKS"},
    {"G-INTEGRITY", "unauthenticated-wrapping", medium, "the token wraps with mechanisms that prove nothing", "a wrapped key that was changed unwraps all the same, to a key that the attacker influenced", "wrap with AES-KWP or AES-KW only: kmtool wrap", "", "Clulow"},
    {"G-INTEGRITY", "pkcs1-unwrapping", medium, "RSA keys of the token unwrap or decrypt PKCS#1 v1.5", "error messages of the padding let an attacker decrypt any value in some ten thousand tries (Bleichenbacher 1998, Bardou et al. 2012)", "use RSA-OAEP; restrict the key with CKA_ALLOWED_MECHANISMS where the token knows it", "", "Bleichenbacher"},
    {"G-GEN", "origin-unknown", low, "the token does not tell where its keys come from", "CKA_LOCAL is false on every key: imported keys cannot be told from generated ones", "kmtool token says what the token is right about", "", ""},
};

constexpr Check of_keys[] = {
    {"G-GEN", "strength", critical, "the key is too weak", "SP 800-131A allows nothing under 112 bits, and 112 bits only until the end of 2030", replace, "kmtool rotate {key}", ""},
    {"G-GEN", "strength-unknown", low, "the key's strength cannot be told", "what cannot be judged cannot be relied on", "look at it with the vendor's tool; where in doubt {delete}", "kmtool rotate {key}", ""},
    {"G-GEN", "algorithm", critical, "the algorithm is disallowed", "SP 800-131A r2 disallows it for protecting anything", replace, "", ""},
    {"G-GEN", "curve", medium, "the curve is not an approved one", "SP 800-186 approves P-224 to P-521, and the Edwards curves for signatures", replace, "", ""},
    {"G-GEN", "exponent", medium, "the RSA exponent is small", "FIPS 186-5 asks for at least 65537; small ones break badly padded messages", replace, "", ""},
    {"G-GEN", "imported", medium, "the key was not generated on this token", "its value existed outside, where nobody can say who saw it", replace, "kmtool rotate {key}", ""},
    {"G-PLAINTEXT", "not-sensitive", critical, "the key's value can be read in the clear", "C_GetAttributeValue gives the value to whoever has the PIN", replace, "kmtool rotate {key}", "A3"},
    {"G-PLAINTEXT", "was-not-sensitive", medium, "the key's value could be read at some time", "CKA_ALWAYS_SENSITIVE is false: it may have been copied while it was readable", replace, "kmtool rotate {key}", ""},
    {"G-SEALED", "extractable", medium, "the key may leave the token", "every key with WRAP can take it out", replace, "kmtool gen NEW --backup FILE --kek KEK makes one that stays", ""},
    {"G-SEALED", "was-extractable", low, "the key was extractable at some time", "CKA_NEVER_EXTRACTABLE is false: a wrapped copy may exist somewhere", replace, "kmtool bundles --depends-on KEK", ""},
    {"G-SEALED", "modifiable", medium, "the key's attributes can be changed", "whoever has the PIN adds usages, one call each", replace, "kmtool rotate {key}", ""},
    {"G-SEALED", "copyable", low, "the key can be copied with other attributes", "a copy may have usages that the key lacks", replace, "kmtool rotate {key}", ""},
    {"G-SEALED", "no-wrap-with-trusted", low, "any key with WRAP may take it out", "CKA_WRAP_WITH_TRUSTED would leave that to the keys which the security officer calls trusted", replace, "keep the PIN to kmtool alone", ""},
    {"G-VAULT", "not-private", high, "the key can be used without a login", "whoever reaches the token uses it, PIN or no PIN, and some tokens keep such objects unencrypted", replace, "kmtool rotate {key}", ""},
    {"G-SEALED", "mixed-usage", high, "the key has usages that contradict each other", "one key, one use: what one usage gives away breaks the other (SP 800-57 part 1, 5.2)", replace, "kmtool rotate {key}", ""},
    {"G-SEALED", "kek-mixed", high, "a key that wraps does other things too", "a KEK that encrypts, signs or derives as well can be turned against what it wraps", replace, "kmtool rotate {key}", ""},
    {"G-SEALED", "no-usage", low, "the key can do nothing", "a key without any use is forgotten, or waits for somebody to give it one", "{delete}", "kmtool state {version} destroy --reason TEXT", ""},
    {"G-SEALED", "raw-recover", medium, "the key signs with message recovery", "CKA_SIGN_RECOVER is raw RSA: it signs, and decrypts, whatever it is given", replace, "", ""},
    {"G-SEALED", "trusted-misused", high, "a trusted wrap key has other usages", "the security officer trusts it with keys that no other key may wrap", replace, "", "Clulow"},
    {"G-SEALED", "differs", high, "the key is not as kmtool made it", "somebody changed it, or put another object in its place", "kmtool audit verify", "kmtool rotate {key}, then kmtool state {version} compromise --reason TEXT", ""},
    {"G-SEALED", "exportable-signature-key", high, "a private signature key may leave the token", "SP 800-57 part 1 discourages its backup and disallows its archiving: who holds a copy signs in its name", replace, "kmtool gen NEW --role sign", ""},
    {"G-WORK", "cryptoperiod-over", medium, "the key is used beyond its cryptoperiod", "the more a key has protected, the more its loss costs (SP 800-57 part 1, 5.3)", "kmtool rotate {key}", "kmtool rotate {key}", ""},
    {"G-WORK", "cryptoperiod-ending", low, "the key's cryptoperiod ends soon", "a rotation that is planned breaks nothing", "kmtool rotate {key}", "kmtool rotate {key}", ""},
    {"G-WORK", "end-date-over", medium, "the key's end date is over", "whoever made it meant it to be replaced by then (CKA_END_DATE), and tokens do not enforce it", replace, "kmtool rotate {key}", ""},
    {"G-WORK", "start-date-ahead", low, "the key's start date is not yet there", "whoever made it meant it to be used later (CKA_START_DATE), and tokens do not enforce it", "see that it is not used before", "", ""},
    {"G-WORK", "compromised-present", medium, "a compromised key is still on the token", "it opens what it protected for whoever made off with it, and may be used by mistake", "{delete}", "kmtool state {version} destroy --reason TEXT", ""},
    {"G-WORK", "retired-present", low, "a key is on the token whose recipient period is over", "what is not needed can only be lost", "{delete}", "kmtool state {version} destroy --reason TEXT", ""},
    {"G-WHERE", "unmanaged", medium, "the catalog does not know the key", "it was made behind kmtool's back, or by another home: nobody rotates it, and the journal says nothing of it", "kmtool adopt NAME --id {id}", "", ""},
    {"G-WHERE", "missing", high, "a key of the catalog is not on the token", "it was destroyed behind kmtool's back, or the token is another one", "kmtool state {version} destroy --reason TEXT, then kmtool unwrap BUNDLE {key} --as NEWNAME (a kek: kmtool import-kek BUNDLE --as NEWNAME)", "kmtool state {version} destroy --reason TEXT, then kmtool unwrap BUNDLE {key} --as NEWNAME (a kek: kmtool import-kek BUNDLE --as NEWNAME)", ""},
    {"G-WHERE", "no-label", low, "the object has no label", "nobody can say what it is for", "kmtool adopt NAME --id {id}, or {delete}", "", ""},
    {"G-WHERE", "no-id", medium, "the key has no CKA_ID", "programs that look keys up by id, or pair halves by it, do not find it", "pkcs11-tool --login --set-id HEX --type {type} --label {label}", "", ""},
    {"G-WHERE", "duplicate-label", medium, "several keys carry one label", "programs that look keys up by label take the first they find", "rename or remove one: {delete}", "", ""},
    {"G-WHERE", "duplicate-id", high, "several objects of one class carry one CKA_ID", "which of them is used is chance; a planted one may take the other's place", "find out which is yours, and remove the other: {delete}", "", ""},
    {"G-WHERE", "public-half-missing", low, "the private key's public half is not on the token", "most programs need both; nothing on the token says which public key it is", "pkcs11-tool --login --write-object PUBLIC.der --type pubkey --id {id}", "kmtool doctor --repair", ""},
    {"G-WHERE", "private-half-missing", low, "the public key's private half is not on the token", "it is a leftover, or somebody else's key", "{delete}", "kmtool doctor --repair", ""},
    {"G-WHERE", "halves-differ", high, "the halves under one CKA_ID are not of one pair", "what is encrypted or verified with the one has nothing to do with the other: one of them was planted or mixed up", "find out which is right, and remove the other: {delete}", "", ""},
    {"G-WHERE", "same-key-twice", medium, "one private key stands on the token twice", "each copy has attributes of its own: what one forbids the other may allow", "keep one: {delete}", "", ""},
    {"G-PLAINTEXT", "data-public", medium, "a data object can be read without a login", "secrets kept so are in plaintext for whoever reaches the token", "{delete}", "", ""},
    {"G-PLAINTEXT", "data-object", low, "a data object that is no key", "its value is readable to whoever has the PIN: a key kept so is in plaintext", "make it a key object, then {delete}", "", ""},
    {"G-WORK", "certificate-expired", high, "the certificate has expired", "whoever checks it refuses it, and the key behind it goes unreplaced", "kmtool csr NAME --subject DN, then {delete}", "", ""},
    {"G-WORK", "certificate-expiring", medium, "the certificate expires soon", "a certificate that is renewed in time is no outage", "kmtool csr NAME --subject DN", "", ""},
    {"G-WORK", "certificate-future", low, "the certificate is not valid yet", "whoever checks it refuses it until then", "see that it is not used before", "", ""},
    {"G-WHERE", "certificate-no-key", low, "no key on the token belongs to the certificate", "it is a leftover, or the key was lost", "{delete}", "", ""},
    {"G-WHERE", "certificate-mismatch", high, "the certificate is of another key than the one with its CKA_ID", "programs present it together with a key that it does not certify", "give it the id of its key, or {delete}", "", ""},
    {"G-GEN", "certificate-signature", medium, "the certificate is signed with a broken hash", "MD5 and SHA-1 collide: somebody else may hold a certificate with the same signature", "kmtool csr NAME --subject DN, then {delete}", "", ""},
    {"G-WHERE", "certificate-unreadable", medium, "the certificate cannot be read", "damaged, or no X.509 certificate", "{delete}", "", ""},
};

constexpr Check of_api_keys[] = {
    {"A-RESTRICT", "api-key-unrestricted", medium, "an API key can be used from every address", "whoever finds it uses it from anywhere; a referrer or an app is only what the client says of itself", "kmtool apikey revoke {id} --reason TEXT, then kmtool apikey create --ip CIDR", "", ""},
    {"A-RESTRICT", "api-key-long-lived", medium, "an API key lives longer than policy allows", "a key that leaked unnoticed works until it ends", "kmtool apikey rotate {id} --expires 90d", "", ""},
};

constexpr Check of_attacks[] = {
    {"G-SEALED", "wrap-decrypt", critical, "one key wraps and decrypts", "what it wraps it also decrypts: every key that may leave can be read in the clear", replace, "kmtool rotate {key}", "A1"},
    {"G-SEALED", "wrap-decrypt-copies", high, "one key wraps, and another with its id or label decrypts", "where both hold one value, what the one wraps the other decrypts", "keep one: {delete}", "", "A1"},
    {"G-SEALED", "public-wrap-decrypt", critical, "a public key wraps, and its private half decrypts", "what is wrapped under the public half the private half decrypts: every key that may leave can be read in the clear", replace, "kmtool rotate {key}", "A2"},
    {"G-SEALED", "encrypt-unwrap", high, "one key encrypts and unwraps", "an attacker encrypts a value he chose and unwraps it as a key: then he knows a key on the token, and wraps others under it", replace, "kmtool rotate {key}", "Clulow"},
    {"G-SEALED", "derive", medium, "a secret key derives others", "the template of C_DeriveKey decides whether what comes out is sensitive, and mechanisms that cut or combine give the base away", replace, "", "Clulow"},
    {"G-SEALED", "drift", high, "a wrap key can become one that decrypts", "it is modifiable: one C_SetAttributeValue makes it the key of the attack", replace, "kmtool rotate {key}", "A1"},
    {"G-KEK", "weaker-kek", high, "a key that wraps is weaker than keys it can wrap", "a chain is as strong as its weakest KEK (SP 800-57 part 1, 5.6.2)", replace, "kmtool gen NEW --role kek --type aes-256, then kmtool rotate and kmtool state {version} deactivate --reason TEXT", ""},
    {"G-KEK", "kek-algorithm", high, "a key of a disallowed kind wraps", "Triple-DES and PKCS#1 v1.5 key wrapping are disallowed after 2023 (SP 800-131A r2)", replace, "", ""},
    {"G-KEK", "trusted-chain", high, "a key that only trusted keys may wrap is reachable through one that is not", "the trusted key may itself leave under an ordinary one", replace, "", "Clulow"},
    {"G-TRANSPORT", "foreign-wrapping-key", high, "a public key wraps whose private half is elsewhere", "whoever holds the private half reads every key that may leave (a trojan wrapping key)", "{delete}; kmtool export-kek --to-public-key PEM --fingerprint HEX pins the recipient", "", "Clulow"},
};


}  // namespace

const std::vector<Check>& checks() {
  static const std::vector<Check> all = [] {
    std::vector<Check> out(std::begin(of_tokens), std::end(of_tokens));
    out.insert(out.end(), std::begin(of_keys), std::end(of_keys));
    out.insert(out.end(), std::begin(of_attacks), std::end(of_attacks));
    out.insert(out.end(), std::begin(of_api_keys), std::end(of_api_keys));
    return out;
  }();
  return all;
}

const Check& check_of(std::string_view id) {
  const auto found = std::find_if(checks().begin(), checks().end(), [&](const Check& check) { return check.id == id; });
  if (found == checks().end()) throw Error::internal("no such check: " + std::string(id));
  return *found;
}

}  // namespace kmtool::policy
