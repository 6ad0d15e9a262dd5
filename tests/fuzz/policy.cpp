// policy.json and config.json.
#include "kmtool/home/home.hpp"

#include "target.hpp"

using namespace kmtool;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string text(fuzz::text_of(data, size));
  fuzz::expect_refusal([&] { home::parse_policy(text, "policy.json"); });
  fuzz::expect_refusal([&] { home::Config::parse(text, "config.json"); });
  return 0;
}
