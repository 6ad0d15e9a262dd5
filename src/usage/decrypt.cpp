#include <algorithm>
#include <exception>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/turn.hpp"
#include "kmtool/usage/crypt.hpp"
#include "usage/admit.hpp"

namespace kmtool::usage {

namespace {

constexpr std::size_t held = InStream::most_ahead;  ///< so much plaintext is kept back in memory before the input is read twice

Header read_header(InStream& in) {
  const auto line = in.line(Header::longest_line);
  if (!line) {
    throw Error::tampered(printable(in.name()) + ": it does not begin with the header of an encrypted file",
                          "it is not what kmtool encrypt wrote, or it is damaged");
  }
  return Header::parse(*line, in.name());
}

/// CKA_IDs of the copies that were restored from a bundle with this key.
std::vector<std::string> copies_of(op::Context& context, const Bytes& id) {
  std::vector<std::string> found;
  for (const auto& row : context.journal().proven_all("copy")) {
    if (row.json().value("of", "") == hex(id)) found.push_back(row.id);
  }
  return found;
}

/// What the user says it is: one version, or all of a key.
std::vector<op::VersionRecord> named_by_hand(const op::Context& context, const std::string& wanted) {
  const auto ref = KeyRef::parse(wanted);
  const auto key = context.find_key(ref.name);
  if (!key || ref.version) return {context.resolve(wanted)};
  std::vector<op::VersionRecord> found;
  for (int number = key->latest; number > 0; --number) {
    if (auto version = context.find_version(ref.name, number)) found.push_back(std::move(*version));
  }
  return found;
}

/// Every version that might be the key: by CKA_ID; restored copies, which have ids of their own; and where a copy came by another way, the
/// restored key of the same name and version. The tag proves which one it is.
std::vector<op::VersionRecord> candidates(op::Context& context, const Header& header, const std::string& wanted) {
  if (!wanted.empty()) return named_by_hand(context, wanted);
  // The usual case asks the catalog for one row.
  auto usual = context.find_version(header.key, header.version);
  if (usual && usual->id == header.id && may_process(usual->state)) return {std::move(*usual)};
  const auto copied = copies_of(context, header.id);
  std::vector<op::VersionRecord> found, copies;
  for (auto& version : context.versions()) {
    if (version.id == header.id) {
      found.push_back(std::move(version));
    } else if (std::ranges::find(copied, hex(version.id)) != copied.end() ||
               (version.origin == "unwrapped" && version.label() == label_of(header.key, header.version))) {
      copies.push_back(std::move(version));
    }
  }
  found.insert(found.end(), std::make_move_iterator(copies.begin()), std::make_move_iterator(copies.end()));
  if (found.empty()) {
    throw Error::missing("no key here has the id " + hex(header.id) + " of " + label_of(header.key, header.version) + ", under which it was encrypted",
                         "restore that key from a bundle (kmtool unwrap), or name it where it has another name: --key NAME");
  }
  return found;
}

/// Those that the rulebook lets decrypt; where there is none its first refusal is thrown.
std::vector<op::VersionRecord> admitted(op::Context& context, std::vector<op::VersionRecord> found, std::vector<std::string>& warnings) {
  std::exception_ptr refusal;
  std::vector<op::VersionRecord> good;
  for (auto& version : found) {
    try {
      judge(context, version, policy::Use::decrypt, warnings);
      good.push_back(std::move(version));
    } catch (const Error&) {
      if (!refusal) refusal = std::current_exception();
    }
  }
  if (good.empty()) std::rethrow_exception(refusal);
  std::ranges::stable_sort(good, std::greater<>(), [](const auto& version) { return version.state == State::active; });
  return good;
}

/// Opens chunk after chunk. Everything it gives out is verified.
class Opener {
 public:
  Opener(op::Context& context, InStream& in, const Header& header, std::vector<pkcs11::Handle> keys)
      : context_(context), in_(in), associated_(header), chunk_(header.chunk), keys_(std::move(keys)), plain_(chunk_ + pkcs11::gcm_overhead) {}

  [[nodiscard]] bool over() const { return over_; }
  [[nodiscard]] std::uint64_t index() const { return index_; }
  /// Which of the keys it is, once one chunk is open.
  [[nodiscard]] std::size_t key() const { return key_; }
  /// Before reading the same chunks again.
  void go_back_to(std::uint64_t index) {
    index_ = index;
    over_ = false;
  }

  ByteView next() {
    context_.check_stop();
    const std::size_t piece = chunk_ + pkcs11::gcm_overhead;
    const bool last = in_.fill(piece + 1) <= piece;
    const ByteView sealed = in_.take(piece);
    if (sealed.size() < pkcs11::gcm_overhead) throw damaged("the file is cut short");
    if (sealed.size() == pkcs11::gcm_overhead && index_ > 0) throw damaged("it is empty, which only the first may be");
    const ByteView plain = open(sealed, last);
    ++index_;
    over_ = last;
    return plain;
  }

 private:
  ByteView open(ByteView sealed, bool last) {
    const std::size_t tries = index_ == 0 ? keys_.size() : 1;
    for (std::size_t i = 0;; ++i) {
      if (index_ == 0) key_ = i;
      try {
        return ByteView(plain_).first(context_.token().gcm_open(keys_[key_], associated_.of(index_, last), sealed, plain_));
      } catch (const Error& error) {
        if (error.exit() != ExitCode::damaged) throw;
        if (i + 1 == tries) throw damaged("it does not open (" + error.code() + ")");
      }
    }
  }
  [[nodiscard]] Error damaged(const std::string& what) const {
    return Error::tampered(printable(in_.name()) + ": chunk " + std::to_string(index_) + ": " + what,
                           "the file was cut, extended, put together anew or altered, or it was encrypted under another key");
  }

  op::Context& context_;
  InStream& in_;
  AssociatedData associated_;
  std::size_t chunk_;
  std::vector<pkcs11::Handle> keys_;
  Bytes plain_;
  std::uint64_t index_ = 0;
  std::size_t key_ = 0;
  bool over_ = false;
};

class Decryption {
 public:
  Decryption(op::Context& context, InStream& in, OutStream* out, CryptResult& result, std::vector<pkcs11::Handle> keys)
      : context_(context), in_(in), out_(out), result_(result), opener_(context, in, result.header, std::move(keys)) {}

  std::size_t run(bool at_once) {
    if (at_once || out_ == nullptr || out_->is_file()) {
      while (!opener_.over()) write(step("decrypting (MiB)"));
      if (out_ != nullptr) out_->finish();
    } else {
      whole_first();
    }
    result_.chunks = opener_.index();
    return opener_.key();
  }

 private:
  /// Standard output sees nothing of a file that is not whole.
  void whole_first() {
    Bytes kept;
    while (!opener_.over() && kept.size() + result_.header.chunk <= held) append(kept, step("verifying (MiB)"));
    if (!opener_.over()) {
      const auto from = opener_.index();
      const auto octets = result_.octets;
      in_.mark();
      while (!opener_.over()) step("verifying (MiB)");
      in_.rewind();
      opener_.go_back_to(from);
      result_.octets = octets;
    }
    write(kept);
    while (!opener_.over()) write(step("decrypting (MiB)"));
  }

  ByteView step(const char* what) {
    const ByteView plain = opener_.next();
    result_.octets += plain.size();
    if (in_.size()) context_.progress(what, result_.octets >> 20, *in_.size() >> 20);
    return plain;
  }
  void write(ByteView plain) {
    if (out_ != nullptr) out_->write(plain);
  }

  op::Context& context_;
  InStream& in_;
  OutStream* out_;
  CryptResult& result_;
  Opener opener_;
};

}  // namespace

CryptResult decrypt(op::Context& context, const DecryptRequest& request, InStream& in, OutStream* out) {
  CryptResult result;
  require_gcm(context);
  if (!in.size()) op::give_turn(context);  // whoever writes into the pipe may need this home too
  result.header = read_header(in);
  in.fill(result.header.chunk);
  op::take_turn(context);
  const auto keys = admitted(context, candidates(context, result.header, request.key), result.warnings);
  std::vector<pkcs11::Handle> handles;
  handles.reserve(keys.size());
  for (const auto& key : keys) handles.push_back(object_for(context, key).handle);
  result.version = keys.front();
  if (!context.options.dry_run) {  // which opens everything too, and keeps nothing
    Json details{{"file", hex(result.header.file)}, {"encrypted_as", label_of(result.header.key, result.header.version)}};
    if (in.size()) details["in"] = in.name();
    if (out != nullptr && out->is_file()) details["out"] = out->path();
    context.note("decrypt", keys.front().label(), std::move(details), {});
  }
  op::give_turn(context);
  result.version = keys[Decryption(context, in, out, result, std::move(handles)).run(request.stream)];
  return result;
}

}  // namespace kmtool::usage
