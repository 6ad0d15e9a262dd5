#include <algorithm>

#include "kmtool/core/encoding.hpp"
#include "kmtool/op/invocations.hpp"
#include "kmtool/op/turn.hpp"
#include "kmtool/usage/crypt.hpp"
#include "usage/admit.hpp"

namespace kmtool::usage {

namespace {

/// Sets invocations aside before they are used: exactly as many as there will be where the size is known, else block after
/// block, each twice as large as the one before.
class Reservation {
 public:
  Reservation(op::Context& context, CryptResult& result) : context_(context), result_(result) {}

  /// In the entry that grants the use.
  void begin(std::uint64_t count, bool exact, Json details) {
    details["file"] = hex(result_.header.file);
    grant(count, exact, std::move(details));
  }
  /// Before chunk number `index` is encrypted.
  void cover(std::uint64_t index) {
    if (index < reserved_) return;
    op::take_turn(context_);
    result_.version = admit(context_, result_.version.label(), policy::Use::encrypt, result_.warnings);
    grant(block_, false, {{"file", hex(result_.header.file)}, {"more", true}});
    op::give_turn(context_);
    block_ = std::min(block_ * 2, largest_block);
  }
  static constexpr std::uint64_t first_block = 1024, largest_block = 65536;  // 64 MiB, 4 GiB

 private:
  void grant(std::uint64_t count, bool exact, Json details) {
    const auto now = op::invocations_of(context_, result_.version);
    // A block is a guess: what is left of the key's number will do.
    if (!exact && now.used < now.most) count = std::min(count, now.most - now.used);
    auto change = op::reserve_invocations(context_, result_.version, count);
    reserved_ += count;
    if (context_.options.dry_run) return;
    details["invocations"] = count;
    context_.note("encrypt", result_.version.label(), std::move(details), {std::move(change)});
    if (now.used + count > now.most / 8 * 7) warn(now.used + count, now.most);
  }
  void warn(std::uint64_t used, std::uint64_t most) {
    const auto text = result_.version.label() + " has used " + std::to_string(used * 100 / most) + "% of what AES-GCM allows it: rotate it soon";
    if (result_.warnings.empty() || result_.warnings.back() != text) result_.warnings.push_back(text);
  }

  op::Context& context_;
  CryptResult& result_;
  std::uint64_t reserved_ = 0, block_ = first_block;
};

void wait_for_input(op::Context& context, InStream& in, CryptResult& result) {
  if (in.size()) return;
  op::give_turn(context);  // whoever writes into the pipe may need this home too
  in.fill(InStream::most_ahead);
  op::take_turn(context);
  result.version = admit(context, result.version.label(), policy::Use::encrypt, result.warnings);
}

Json named(const InStream& in, const OutStream* out) {
  Json details = Json::object();
  if (in.size()) details["in"] = in.name();
  if (out != nullptr && out->is_file()) details["out"] = out->path();
  return details;
}

void encrypt_all(op::Context& context, InStream& in, OutStream& out, Reservation& reservation, CryptResult& result) {
  auto& token = context.token();
  const auto key = object_for(context, result.version).handle;
  const std::size_t chunk = result.header.chunk;
  AssociatedData associated(result.header);
  Bytes sealed(chunk + pkcs11::gcm_overhead);
  op::give_turn(context);
  out.write(view(result.header.line()));
  for (bool last = false; !last; ++result.chunks) {
    context.check_stop();
    reservation.cover(result.chunks);
    last = in.fill(chunk + 1) <= chunk;
    const ByteView plain = in.take(chunk);
    const std::size_t size = token.gcm_seal(key, associated.of(result.chunks, last), plain, sealed);
    out.write(ByteView(sealed).first(size));
    result.octets += plain.size();
    if (in.size()) context.progress("encrypting (MiB)", result.octets >> 20, *in.size() >> 20);
  }
  out.finish();
}

}  // namespace

CryptResult encrypt(op::Context& context, const std::string& key, InStream& in, OutStream* out) {
  CryptResult result;
  result.version = admit(context, key, policy::Use::encrypt, result.warnings);
  require_gcm(context);
  wait_for_input(context, in, result);
  auto& header = result.header;
  header = {result.version.name, result.version.version, result.version.id, Header::written_chunk, context.token().random(16)};
  const bool exact = in.size() || in.ended();
  const std::uint64_t expected = in.size() ? *in.size() : in.fill(InStream::most_ahead);
  Reservation reservation(context, result);
  reservation.begin(exact ? chunks_of(expected, header.chunk) : Reservation::first_block, exact, named(in, out));
  if (context.options.dry_run || out == nullptr) {
    (void)object_for(context, result.version);
    return result;
  }
  encrypt_all(context, in, *out, reservation, result);
  return result;
}

}  // namespace kmtool::usage
