// The bundle reader. What it accepts has one spelling: writing it again gives the same lines.
#include "kmtool/bundle/bundle.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include "target.hpp"

using namespace kmtool;

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
    std::string again;
    const auto summary = bundle::read(input, [&](const bundle::Record& record, std::size_t) { again += bundle::dump(record) + "\n"; });
    again = bundle::dump(summary.header) + "\n" + again + bundle::dump(summary.seals) + "\n" + bundle::dump(summary.signature) + "\n";
    fuzz::require(again == fuzz::text_of(data, size));
  });
  return 0;
}
