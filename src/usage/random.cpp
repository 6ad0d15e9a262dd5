#include "kmtool/usage/random.hpp"

#include <algorithm>

#include "kmtool/core/secret.hpp"
#include "kmtool/op/turn.hpp"

namespace kmtool::usage {

void random(op::Context& context, std::uint64_t octets, const std::function<void(ByteView)>& sink) {
  constexpr std::uint64_t step = 48 << 10;  // a multiple of 3: base64 of the pieces is that of the whole
  if (octets == 0 || octets > most_random) throw Error::usage("between 1 and 1073741824 bytes can be asked for", "say how many: kmtool random 32");
  if (context.options.dry_run) return;
  context.note("random", std::to_string(octets) + (octets == 1 ? " byte" : " bytes"), Json::object(), {});
  op::give_turn(context);
  for (std::uint64_t done = 0; done < octets;) {
    context.check_stop();
    Bytes piece = context.token().random(static_cast<std::size_t>(std::min(step, octets - done)));
    done += piece.size();
    try {
      sink(piece);
    } catch (...) {
      cleanse(piece.data(), piece.size());
      throw;
    }
    cleanse(piece.data(), piece.size());
    context.progress("drawing (MiB)", done >> 20, octets >> 20);
  }
}

}  // namespace kmtool::usage
