#include "audit/log_keys.hpp"
#include "kmtool/core/words.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::audit {

namespace {

constexpr std::size_t octets = 20;

Bytes digest_of(const tlog::Checkpoint& checkpoint) {
  const auto digest = crypto::sha256(view("kmtool-paper-v1\n" + checkpoint.body()));
  return {digest.begin(), digest.begin() + octets};
}

}  // namespace

Paper on_paper(const tlog::Checkpoint& checkpoint) { return {checkpoint.size, words_of(digest_of(checkpoint))}; }

Consistency prove_consistency(op::Context& reader, const Paper& older) {
  const auto wanted = bytes_of_words(older.words);
  if (!wanted || wanted->size() != octets) {
    throw Error::usage("these are not the " + std::to_string(octets) + " words of a checkpoint" + (wanted ? ": " + std::to_string(wanted->size()) + " were given" : ""),
                       "words stand at even and odd places: one that is left out, misspelt or exchanged is noticed; read them again");
  }
  const auto newest = newest_checkpoint(reader);
  if (older.size == 0 || older.size > newest.checkpoint.size) {
    throw Error::tampered("the journal's newest checkpoint has " + std::to_string(newest.checkpoint.size) + " entries, that one " + std::to_string(older.size),
                          "read the number again; if it is right, this home is an older copy, or entries were removed");
  }
  const auto read = journal::hash_reader(reader.home.paths.journal());
  const tlog::Checkpoint then{reader.home.config.origin(), older.size, tlog::root_of(older.size, read)};
  tlog::Proof proof = tlog::prove_consistency(then.size, newest.checkpoint.size, read);
  if (!tlog::check_consistency(proof, then.size, newest.checkpoint.size, then.root, newest.checkpoint.root)) {
    throw Error::tampered("the tree does not lead from its first " + std::to_string(then.size) + " entries to the newest checkpoint", "kmtool audit verify says everything that is wrong");
  }
  if (digest_of(then) != *wanted) {
    throw Error::tampered("the journal's first " + std::to_string(then.size) + " entries are not those of that paper",
                          "read number and words again; if they are right, the journal was rewritten, or it is another home's");
  }
  return {then, newest, consistency_file(then, newest, std::move(proof))};
}

}  // namespace kmtool::audit
