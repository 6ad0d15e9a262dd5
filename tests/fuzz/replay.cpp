// Runs a target over the files and folders named: the seeds and former finds, in every run of the tests. libFuzzer has a main of
// its own; this one needs no clang.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size);

namespace {

std::size_t run(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  const std::vector<unsigned char> data(bytes.begin(), bytes.end());
  // Also cut at every point of its beginning and with single bytes changed: a file that nobody has thought of.
  LLVMFuzzerTestOneInput(data.data(), data.size());
  std::size_t count = 1;
  const std::size_t step = data.size() / 64 + 1;
  for (std::size_t cut = 0; cut < data.size(); cut += step, ++count) LLVMFuzzerTestOneInput(data.data(), cut);
  for (std::size_t at = 0; at < data.size(); at += step, ++count) {
    auto changed = data;
    changed[at] = static_cast<unsigned char>(changed[at] ^ 0x21U);
    LLVMFuzzerTestOneInput(changed.data(), changed.size());
  }
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t files = 0, inputs = 0;
  for (int i = 1; i < argc; ++i) {
    const std::filesystem::path path(argv[i]);
    if (!std::filesystem::is_directory(path)) {
      ++files, inputs += run(path);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (entry.is_regular_file()) ++files, inputs += run(entry.path());
    }
  }
  std::printf("%zu files, %zu inputs\n", files, inputs);
  return files > 0 ? 0 : 1;
}
