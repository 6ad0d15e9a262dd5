// Checkpoints as signed notes, proofs and verifier keys (C2SP). What is accepted is written again as it was.
#include "kmtool/tlog/note.hpp"

#include "kmtool/tlog/cosignature.hpp"
#include "kmtool/tlog/proof_file.hpp"
#include "kmtool/tlog/tiles.hpp"
#include "target.hpp"

using namespace kmtool;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  fuzz::expect_refusal([&] {
    const auto note = tlog::Note::parse(text);
    fuzz::require(note.dump() == text);
  });
  fuzz::expect_refusal([&] { fuzz::require(tlog::parse_checkpoint(std::string(text)).body() == text); });
  fuzz::expect_refusal([&] { fuzz::require(tlog::InclusionFile::parse(text).dump() == text && tlog::InclusionFile::is(text)); });
  fuzz::expect_refusal([&] { fuzz::require(tlog::ConsistencyFile::parse(text).dump() == text && tlog::ConsistencyFile::is(text)); });
  fuzz::expect_refusal([&] { fuzz::require(!tlog::VerifierKey::parse(text).name.empty()); });
  fuzz::expect_refusal([&] {
    Bytes again;
    for (const auto entry : tlog::split_bundle(text)) tlog::add_to_bundle(again, entry);
    fuzz::require(to_text(again) == text);
  });
  return 0;
}
