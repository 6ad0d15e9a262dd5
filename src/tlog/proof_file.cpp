#include "kmtool/tlog/proof_file.hpp"

#include <charconv>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::tlog {

namespace {

constexpr std::string_view inclusion_start = "c2sp.org/tlog-proof@v1\n";
constexpr std::string_view consistency_start = "old ";
constexpr std::size_t longest_proof = 63;

Error bad(const std::string& what) { return Error::tampered("not a proof: " + what); }

std::string hash_lines(const Proof& proof) {
  std::string lines;
  for (const auto& hash : proof) lines += base64(hash) + "\n";
  return lines;
}

/// Up to the next LF, which is taken too.
std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  if (end == std::string_view::npos) throw bad("it is cut short");
  const auto line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

std::uint64_t take_number(std::string_view& text, std::string_view word) {
  auto line = take_line(text);
  if (!line.starts_with(word)) throw bad("the line \"" + std::string(word) + "…\" is missing");
  line.remove_prefix(word.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
  const bool whole = error == std::errc{} && end == line.data() + line.size();
  if (!whole || (line.size() > 1 && line[0] == '0')) throw bad("a number is malformed");
  return number;
}

/// Lines of hashes, an empty line, and what follows that.
void take_hashes(std::string_view& text, Proof& proof) {
  for (;;) {
    const auto line = take_line(text);
    if (line.empty()) return;
    const auto bytes = from_base64(line);
    Hash hash{};
    if (!bytes || bytes->size() != hash.size()) throw bad("a hash is malformed");
    std::copy(bytes->begin(), bytes->end(), hash.begin());
    proof.push_back(hash);
    if (proof.size() > longest_proof) throw bad("it has too many hashes");
  }
}

}  // namespace

std::string InclusionFile::dump() const {
  std::string text(inclusion_start);
  if (!extra.empty()) text += "extra " + base64(extra) + "\n";
  return text + "index " + std::to_string(index) + "\n" + hash_lines(proof) + "\n" + checkpoint;
}

bool InclusionFile::is(std::string_view text) { return text.starts_with(inclusion_start); }

InclusionFile InclusionFile::parse(std::string_view text) {
  if (!is(text)) throw bad("its first line is not c2sp.org/tlog-proof@v1");
  text.remove_prefix(inclusion_start.size());
  InclusionFile file;
  if (text.starts_with("extra ")) {
    const auto extra = from_base64(take_line(text).substr(6));
    if (!extra) throw bad("its extra data is not base64");
    file.extra = *extra;
  }
  file.index = take_number(text, "index ");
  take_hashes(text, file.proof);
  file.checkpoint = text;
  return file;
}

std::string ConsistencyFile::dump() const {
  return std::string(consistency_start) + std::to_string(old_size) + "\n" + hash_lines(proof) + "\n" + checkpoint;
}

bool ConsistencyFile::is(std::string_view text) { return text.starts_with(consistency_start); }

ConsistencyFile ConsistencyFile::parse(std::string_view text) {
  ConsistencyFile file;
  file.old_size = take_number(text, consistency_start);
  take_hashes(text, file.proof);
  file.checkpoint = text;
  return file;
}

}  // namespace kmtool::tlog
