// The bundle reader and the writer, which must agree: what is read is written again, and is the same file. Transport requests, which
// are read where a bundle could stand, likewise.
#include "kmtool/bundle/bundle.hpp"

#include <sys/mman.h>
#include <stdlib.h>
#include <unistd.h>

#include "kmtool/bundle/request.hpp"
#include "target.hpp"

using namespace kmtool;

namespace {

/// A folder for the writer's files, removed at the end.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "kmtool-fuzz-XXXXXX").string();
    fuzz::require(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

/// The whole file from the writer that makes every bundle; the token's part is played by the seals and the signature that were read.
void written_again(const bundle::Summary& summary, const std::vector<bundle::Record>& records, std::string_view text) {
  static const Folder folder;
  AtomicFile file(folder.path / "b.kmb", true);
  bundle::Writer writer(file, summary.header);
  for (const auto& record : records) writer.add(record);
  bundle::PairProof pair;
  for (const auto& seal : summary.seals) {
    if (seal.recipient == bundle::Seal::own) pair = {seal.pair_algorithm, seal.pair};
  }
  const auto seal = [&](std::size_t recipient, ByteView message) {
    const auto* found = bundle::seal_of(summary, recipient);
    fuzz::require(found != nullptr && equal(message, summary.seal_message));
    return found->value;
  };
  const auto sign = [&](ByteView digest) {
    fuzz::require(equal(digest, summary.signed_digest));
    return summary.signature.value;
  };
  const auto digest = writer.finish(seal, sign, summary.signature.key, pair);
  fuzz::require(digest == summary.file_digest);
  file.commit();
  fuzz::require(read_file(file.target(), text.size() + 1) == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const Fd file(memfd_create("bundle", MFD_CLOEXEC));
  write_all(file.get(), ByteView(data, size), "bundle");
  const auto path = std::filesystem::path("/proc/self/fd") / std::to_string(file.get());
  fuzz::expect_refusal([&] {
    LineReader input(path, bundle::max_line);
    bundle::read_header(input);
  });
  fuzz::expect_refusal([&] {
    LineReader input(path, bundle::max_line);
    std::vector<bundle::Record> records;
    const auto summary = bundle::read(input, [&](const bundle::Record& record, std::size_t) { records.push_back(record); });
    written_again(summary, records, fuzz::text_of(data, size));
  });
  fuzz::expect_refusal([&] {
    const auto text = fuzz::text_of(data, size);
    const auto read = bundle::read_request(text, "request");
    const auto sign = [&](ByteView digest) {
      fuzz::require(equal(digest, read.signed_digest));
      return read.signature.value;
    };
    fuzz::require(bundle::looks_like_request(text));
    try {
      fuzz::require(bundle::write_request(read.request, sign, read.signature.key) == text);
    } catch (const Error& error) {
      // OpenSSL looks for factors of a modulus with random bases: what is none of two primes is refused now and then, and not each time.
      fuzz::require(error.message().find("its numbers are not those of a key") != std::string::npos);
    }
  });
  return 0;
}
