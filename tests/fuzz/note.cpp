// Checkpoints as signed notes (C2SP). A note that is accepted is written again as it was.
#include "kmtool/tlog/note.hpp"

#include "target.hpp"

using namespace kmtool;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  fuzz::expect_refusal([&] {
    const auto note = tlog::Note::parse(text);
    fuzz::require(note.dump() == text);
  });
  fuzz::expect_refusal([&] { tlog::parse_checkpoint(std::string(text)); });
  return 0;
}
