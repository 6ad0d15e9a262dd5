#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/op/context.hpp"

namespace kmtool::op {

/// The KEKs a bundle is for, found on the token and judged.
struct Kek {
  VersionRecord version;
  pkcs11::Object wrap, seal;
};
/// Resolves names; throws missing (66), refused (77, not a KEK), usage (64, the same KEK twice).
std::vector<VersionRecord> resolve_keks(const Context& context, const std::vector<std::string>& names);
std::vector<Kek> keks_on_token(Context& context, const std::vector<VersionRecord>& versions,
                               const std::map<std::string, std::map<Part, pkcs11::Object>>& objects);

/// Writes one bundle: header, records, seals by each KEK, signature by the document signer; the caller syncs and commits.
class BundleOut {
 public:
  BundleOut(Context& context, AtomicFile& file, std::vector<Kek> keks, const std::string& id, std::uint64_t records,
            const std::vector<policy::Waiver>& waivers, WrapAlgorithm algorithm);
  /// Wraps `object` once per KEK and writes the record.
  void add(const VersionRecord& version, const pkcs11::Object& object);
  /// The two halves of that, for several sessions: the values may be made elsewhere, records are written in order.
  [[nodiscard]] static bundle::Record record_of(const VersionRecord& version, const pkcs11::Object& object);
  void write(const bundle::Record& record);
  /// Under what each value has to be wrapped, in order.
  [[nodiscard]] const std::vector<pkcs11::Token::WrapTarget>& targets() const { return targets_; }
  /// Seals, signs, fsyncs. Returns the catalog's row for it.
  BundleRecord finish();

 private:
  Context& context_;
  AtomicFile& file_;
  std::vector<Kek> keks_;
  bundle::Header header_;
  std::unique_ptr<bundle::Writer> writer_;
  std::vector<pkcs11::Token::WrapTarget> targets_;
  std::vector<std::string> labels_;
};

/// One algorithm that the token can use for every one of these types (KWP where it has it, else KW); throws unavailable (69)
/// before anything is begun, naming the key that cannot be wrapped and why.
WrapAlgorithm common_algorithm(const pkcs11::Token& token, const std::vector<VersionRecord>& keys);
/// Where an object's attributes are not what role and catalog say; an adopted key's known flaws are not named again.
std::vector<std::string> differences_of(Context& context, const VersionRecord& version, Part part, const pkcs11::Object& object);
/// Throws damaged (65) when an object's attributes are not what role and catalog say.
void require_as_recorded(Context& context, const VersionRecord& version, Part part, const pkcs11::Object& object);
/// The object of a version that is wrapped: the value, or the private half.
Part wrapped_part(Role role);
/// Temporary name beside a target, recorded in the intent.
std::filesystem::path temporary_for(Context& context, const std::filesystem::path& target);
std::string new_bundle_id(Context& context);
/// A bundle that will be written at `target` (--force was given where something lies there), with these keys in it (labels).
/// Where a catalogued bundle lies there that is the only one to hold a key which the token has no more or which cannot leave it again,
/// or a KEK which the new one does not hold, or that is kept until a drill with its successor is confirmed, that one is not lost: it
/// is moved beside, to FILE.@1. So is a bundle that the catalog does not know (a restore forgot it, another home wrote it), unless each
/// key in it is known not to be lost with it. Where such a one is recorded and was moved away, its row stays, under that name.
PlannedFile planned_file(Context& context, const std::filesystem::path& target, const std::string& bundle,
                         const std::vector<std::string>& keys);
/// True when a file under this name says in its header that it is this bundle.
bool lies_at(const std::string& path, const std::string& id);
/// True when the file of a row should be on this host, and is not under the row's name (any more).
bool moved_away(const BundleRecord& bundle);
/// Where that one will be kept; empty: none lies there, or it may go.
std::string kept_where(const Context& context, const std::filesystem::path& target, const std::vector<std::string>& keys);
/// What becomes of the row of the bundle that a planned file replaces: gone, or kept under its new path, until the drill where
/// the new one (`now`, with its keys) holds all its keys. One without a row gets one where it is kept, is signed by this home,
/// and holds no unknown key; the row of a bundle that did not lie in its place any more goes. What takes the place of one that is kept offline
/// lies on those media, too: `now` says so then, and its own rows are made after this.
std::vector<journal::Change> replaced_changes(Context& context, const PlannedFile& file, BundleRecord& now);
/// True when an entry before this tree size records that the bundle with this digest was written here. Throws damaged (65) where that
/// entry is not what the journal's checkpoint was signed over.
bool bundle_recorded(Context& context, const std::string& bundle, const std::string& digest, std::uint64_t before);
/// What the journal says of a bundle that the catalog has no row of: nothing (a restore forgot it, another home wrote it), that
/// it was begun and never came to be, or that it was written, and another took its place since. Throws damaged (65) as
/// bundle_recorded().
enum class Making { unknown, undone, written };
Making making_of(Context& context, const std::string& bundle);
/// FILE.@1, or .@2 … where that is taken, by a file or on record.
std::string kept_name(const Context& context, const std::string& path);
/// Gives a file that is kept its second name; right before the new one takes the first. Nothing where none lies there.
void keep_replaced(const PlannedFile& file);

}  // namespace kmtool::op
