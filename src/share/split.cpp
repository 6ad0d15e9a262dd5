extern "C" {  // its header does not say so
#include <libgfshare.h>
}

#include <algorithm>
#include <memory>
#include <mutex>
#include <numeric>

#include "kmtool/core/error.hpp"
#include "kmtool/crypto/gate.hpp"
#include "kmtool/share/share.hpp"

namespace kmtool::share {

namespace {

constexpr std::size_t size = crypto::gate_secret_size;

/// The library asks one function of the whole process for random octets, which cannot say that it has none, and asks it again to
/// overwrite what it frees. It is given what C_GenerateRandom gave, each octet once; without any it is given zeros, and that is
/// noticed.
class Randomness {
 public:
  explicit Randomness(ByteView octets) : lock_(mutex_) {
    left_ = octets;
    missing_ = false;
    serving_ = true;
    gfshare_fill_rand = fill;
  }
  Randomness(const Randomness&) = delete;
  Randomness& operator=(const Randomness&) = delete;
  ~Randomness() {
    left_ = {};
    serving_ = false;
  }
  /// From here on it only overwrites. Throws internal (70) when the octets were not exactly enough.
  static void over() {
    serving_ = false;
    if (missing_ || !left_.empty()) throw Error::internal("libgfshare drew another number of random octets than it needs");
  }

 private:
  static void fill(unsigned char* to, unsigned int count) {
    if (!serving_) {
      std::fill_n(to, count, std::uint8_t{0});
      return;
    }
    const std::size_t n = std::min<std::size_t>(count, left_.size());
    std::copy_n(left_.begin(), n, to);
    std::fill_n(to + n, count - n, std::uint8_t{0});
    missing_ = missing_ || n < count;
    left_ = left_.subspan(n);
  }
  static inline std::mutex mutex_;
  static inline ByteView left_{};
  static inline bool missing_ = false, serving_ = false;
  std::lock_guard<std::mutex> lock_;
};

struct Free {
  void operator()(gfshare_ctx* context) const { gfshare_ctx_free(context); }
};
using Context = std::unique_ptr<gfshare_ctx, Free>;

SecretBytes masked(const SecretBytes& value, ByteView mask) {
  SecretBytes out(size);
  std::transform(mask.begin(), mask.end(), value.reveal().begin(), out.reveal_mutable().begin(),
                 [](std::uint8_t a, std::uint8_t b) { return static_cast<std::uint8_t>(a ^ b); });
  return out;
}

}  // namespace

std::size_t random_needed(const Quorum& quorum) { return size * quorum.needed; }

std::vector<Share> split(const SecretBytes& gate, const Quorum& quorum, const std::string& bundle, const SecretBytes& random) {
  if (gate.size() != size || random.size() != random_needed(quorum) || quorum.needed < 2 || quorum.needed > quorum.shares ||
      quorum.shares > 255) {
    throw Error::internal("a gate secret cannot be split like this");
  }
  const ByteView mask = random.reveal().first(size);
  SecretBytes hidden = masked(gate, mask);
  std::vector<unsigned char> numbers(quorum.shares);
  std::iota(numbers.begin(), numbers.end(), static_cast<unsigned char>(1));
  const Randomness randomness(random.reveal().subspan(size));
  const Context context(gfshare_ctx_init_enc(numbers.data(), quorum.shares, static_cast<unsigned char>(quorum.needed),
                                             static_cast<unsigned>(size)));
  if (!context) throw Error::internal("libgfshare cannot split a secret into so many shares");
  gfshare_ctx_enc_setsecret(context.get(), hidden.reveal_mutable().data());
  Randomness::over();
  std::vector<Share> shares;
  for (unsigned i = 0; i < quorum.shares; ++i) {
    SecretBytes value(size);
    gfshare_ctx_enc_getshare(context.get(), static_cast<unsigned char>(i), value.reveal_mutable().data());
    Share share;
    share.bundle = bundle;
    share.index = i + 1;
    share.quorum = quorum;
    share.value = masked(value, mask);
    shares.push_back(std::move(share));
  }
  return shares;
}

SecretBytes combine(const std::vector<Share>& shares, const SecretBytes& mask) {
  if (shares.empty() || shares.size() < shares.front().quorum.needed || mask.size() != size)
    throw Error::internal("too few shares were put together");
  std::vector<unsigned char> numbers;
  numbers.reserve(shares.size());
  for (const auto& share : shares) numbers.push_back(static_cast<unsigned char>(share.index));
  const Randomness randomness({});
  const Context context(gfshare_ctx_init_dec(numbers.data(), static_cast<unsigned>(numbers.size()), static_cast<unsigned>(size)));
  if (!context) throw Error::internal("libgfshare cannot put so many shares together");
  for (std::size_t i = 0; i < shares.size(); ++i) {
    SecretBytes hidden = masked(shares[i].value, mask.reveal());
    gfshare_ctx_dec_giveshare(context.get(), static_cast<unsigned char>(i), hidden.reveal_mutable().data());
  }
  SecretBytes hidden(size);
  gfshare_ctx_dec_extract(context.get(), hidden.reveal_mutable().data());
  return masked(hidden, mask.reveal());
}

}  // namespace kmtool::share
