// A journal of any length, made as kmtool makes it (but signed by a key of the host), and what proving it and adding to it cost.
//
//   journal_bench make DIR ENTRIES      DIR/journal.db and DIR/log.pem
//   journal_bench verify DIR [all] [cold]
//                                       bare SHA-256 over the entries, and verify(), with all signatures: CPU and wall time, peak memory;
//                                       cold: with nothing of the file in the page cache before verify()
//   journal_bench append DIR COUNT      CPU time of COUNT appends behind what is there
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string_view>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/journal/verify.hpp"
#include "kmtool/op/records.hpp"

using namespace kmtool;

/// The disk is not what is measured: SQLite finds these before the C library's.
extern "C" int fsync(int) { return 0; }
extern "C" int fdatasync(int) { return 0; }

namespace {

constexpr const char* origin = "kmtool/00000000-0000-4000-8000-000000000000";
constexpr int keys = 2000;

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Pair = std::unique_ptr<EVP_PKEY, FreeKey>;

/// Always the same pair, so that a journal can be added to later.
Pair pair_of_bench() {
  const Bytes seed(32, 7);
  return Pair(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
}

journal::LogSigner signer_of(const Pair& pair) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(pair.get(), &der);
  const Bytes spki(der, der + size);
  OPENSSL_free(der);
  return {origin, crypto::PublicKey::from_spki(spki), [&pair](ByteView text) {
            Bytes signature(64);
            std::size_t length = signature.size();
            EVP_MD_CTX* context = EVP_MD_CTX_new();
            EVP_DigestSignInit(context, nullptr, nullptr, nullptr, pair.get());
            EVP_DigestSign(context, signature.data(), &length, text.data(), text.size());
            EVP_MD_CTX_free(context);
            return signature;
          }};
}

/// Entry n: even numbers are intents, odd ones outcomes, as `kmtool state` writes them.
journal::Draft draft_of(std::uint64_t n) {
  const auto number = static_cast<int>(n / 2 % keys);
  op::VersionRecord key;
  key.name = "payments-" + std::to_string(10000 + number);
  key.version = 1;
  key.id = Bytes(16, static_cast<std::uint8_t>(number));
  key.state = n / 2 / keys % 2 == 0 ? State::active : State::suspended;
  key.origin = "generated";
  key.created = 1700000000;
  key.changed = 1700000000 + static_cast<UnixTime>(n);
  key.reason = "change " + std::to_string(n / 2) + " of the quarterly review";
  key.token_serial = "1f589916b158201f";
  journal::Draft draft;
  const std::string id = hex(crypto::sha256(view(key.reason))).substr(0, 32);
  draft.command = "state suspend";
  draft.target = key.label();
  draft.authenticated = true;
  draft.policy_digest = draft.config_digest = std::string(64, 'a');
  if (n % 2 == 0) {
    draft.phase = journal::Phase::intent;
    draft.changes = {{"intent", id + "/0", Json{{"command", draft.command}, {"target", draft.target}, {"files", Json::array()}}}, {"intents", "open", Json{{id, 1}}}};
  } else {
    draft.phase = journal::Phase::outcome;
    draft.result = "done";
    draft.intent = n - 1;
    draft.details = {{"reason", key.reason}};
    draft.changes = {key.change(), {"intent", id + "/0", std::nullopt}, {"intents", "open", Json::object()}};
  }
  return draft;
}

struct Cost {
  double cpu, wall;
};
Cost now() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6; };
  return {seconds(used.ru_utime) + seconds(used.ru_stime), std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()};
}
Cost operator-(const Cost& a, const Cost& b) { return {a.cpu - b.cpu, a.wall - b.wall}; }

void add(journal::Journal& journal, std::uint64_t count, const journal::LogSigner& signer) {
  const std::uint64_t first = journal.size();
  for (std::uint64_t n = first; n < first + count; ++n) {
    journal.append(draft_of(n), {1000, "operator", "hsm-gateway-1"}, 1700000000 + static_cast<UnixTime>(n), &signer);
  }
}

void make(const std::filesystem::path& dir, std::uint64_t count) {
  const auto pair = pair_of_bench();
  const auto signer = signer_of(pair);
  std::ofstream(dir / "log.pem") << signer.key.pem();
  auto journal = journal::Journal::create(dir / "journal.db");
  add(journal, count, signer);
}

void append(const std::filesystem::path& dir, std::uint64_t count) {
  const auto pair = pair_of_bench();
  const auto signer = signer_of(pair);
  auto journal = journal::Journal::open(dir / "journal.db", journal::Journal::Mode::write);
  journal.trust_head(journal.check_head(origin, signer.key));
  const auto size = journal.size();
  const auto begun = now();
  add(journal, count, signer);
  const auto cost = now() - begun;
  std::printf("append from entry %llu: %.1f us CPU each\n", static_cast<unsigned long long>(size), cost.cpu / static_cast<double>(count) * 1e6);
}

/// The descriptor stays open: closing it would drop SQLite's locks.
void drop_from_cache(const std::filesystem::path& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || syncfs(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) throw Error::from_errno("drop from the cache", file.string(), errno);
}

int verify(const std::filesystem::path& dir, bool all_signatures, bool cold) {
  const auto signer = signer_of(pair_of_bench());
  const auto journal = journal::Journal::open(dir / "journal.db", journal::Journal::Mode::read);
  std::vector<std::string> part;
  std::uint64_t bytes = 0;
  Cost bare{};
  const auto reading = now();
  std::uint8_t sum = 0;
  const auto hash = [&] {
    const auto begun = now();
    for (const auto& entry : part) sum ^= crypto::sha256(view(entry))[0];
    const auto cost = now() - begun;
    bare = {bare.cpu + cost.cpu, bare.wall + cost.wall};
    part.clear();
  };
  journal.each_entry(0, [&](const journal::Entry& entry) {
    bytes += entry.bytes.size();
    part.push_back(entry.bytes);
    if (part.size() == 10000) hash();
    return true;
  });
  hash();
  const auto read = now() - reading;
  journal::VerifyRequest request;
  request.origin = origin;
  request.all_signatures = all_signatures;
  request.signature = [&](std::uint64_t, const std::string& note) { return tlog::verify_note(tlog::Note::parse(note), origin, signer.key); };
  if (cold) drop_from_cache(dir / "journal.db");
  const auto begun = now();
  const auto result = journal::verify(dir / "journal.db", request);
  const auto cost = now() - begun;
  (void)journal.check_head(origin, signer.key);
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  std::printf("entries %llu, %.1f MB, %zu findings, %u\n", static_cast<unsigned long long>(result.entries), static_cast<double>(bytes) * 1e-6, result.findings.size(), sum);
  for (const auto& finding : result.findings) std::printf("  %s\n", finding.c_str());
  std::printf("bare SHA-256  cpu %.4f s  wall %.4f s\n", bare.cpu, bare.wall);
  std::printf("reading too   cpu %.4f s  wall %.4f s\n", read.cpu, read.wall);
  std::printf("verify        cpu %.4f s  wall %.4f s\n", cost.cpu, cost.wall);
  std::printf("ratio         cpu %.2f    wall %.2f\n", cost.cpu / bare.cpu, cost.wall / bare.wall);
  std::printf("peak memory   %.1f MiB\n", static_cast<double>(used.ru_maxrss) / 1024);
  return result.findings.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string mode = argc > 2 ? argv[1] : "";
  if (mode == "make" && argc == 4) return make(argv[2], std::stoull(argv[3])), 0;
  if (mode == "append" && argc == 4) return append(argv[2], std::stoull(argv[3])), 0;
  const auto asked = [&](std::string_view what) { return std::find(argv + 3, argv + argc, what) != argv + argc; };
  if (mode == "verify") return verify(argv[2], asked("all"), asked("cold"));
  std::fprintf(stderr, "usage: journal_bench make DIR ENTRIES | verify DIR [all] [cold] | append DIR COUNT\n");
  return 64;
} catch (const Error& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return static_cast<int>(error.exit());
}
