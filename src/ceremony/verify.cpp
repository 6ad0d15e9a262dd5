#include <fmt/format.h>

#include "ceremony/transcript.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::ceremony {

namespace {

constexpr std::size_t most_transcript = std::size_t{256} << 20;

[[noreturn]] void damaged(const std::string& file, const std::string& what) {
  throw Error::tampered(printable(file) + ": " + what, "it is not a whole transcript; get another copy");
}

/// The value of the first line `- NAME: value` of the head.
std::string field(const std::vector<std::string>& lines, const std::string& name) {
  for (const auto& line : lines) {
    if (line.starts_with("- " + name + ": ")) return line.substr(name.size() + 4);
  }
  return {};
}
/// The last one: of the end.
std::string last_field(const std::vector<std::string>& lines, const std::string& name) {
  return field({lines.rbegin(), lines.rend()}, name);
}

std::size_t number(const std::string& text, const std::string& file) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
    damaged(file, "the end is not that of a transcript");
  return std::stoul(text);
}

/// The note in the indented block after the heading; it ends the transcript.
tlog::Note checkpoint_of(const std::vector<std::string>& lines, const std::string& file) {
  std::size_t at = lines.size();
  while (at > 0 && lines[at - 1] != checkpoint_heading) --at;
  if (at == 0) damaged(file, "there is no checkpoint of the journal");
  std::string note;
  for (++at; at < lines.size(); ++at) {  // past the empty line
    if (!lines[at].starts_with("    ")) damaged(file, "something stands behind the checkpoint of the journal");
    note += lines[at].substr(4) + "\n";
  }
  return tlog::Note::parse(note);
}

}  // namespace

Transcript verify_transcript(const std::filesystem::path& path, const crypto::PublicKey& signer) {
  const auto file = path.string();
  const auto text = read_file(path, most_transcript);
  if (!text.starts_with(std::string(transcript_first_line) + "\n"))
    damaged(file, fmt::format("it does not begin with \"{}\"", transcript_first_line));
  if (!text.ends_with('\n') || !is_utf8(text)) damaged(file, "the last line is not whole");
  const auto begin = text.rfind('\n', text.size() - 2) + 1;
  const auto words = split(std::string_view(text).substr(begin, text.size() - begin - 1), ' ');
  if (words.size() != 4 || words[0] != "signature" || words[1] != "ecdsa-p256-sha256")
    damaged(file, "it is not signed: the ceremony did not come to its end");
  const auto signature = from_base64(words[3]);
  if (!signature) damaged(file, "the signature is not base64");
  Transcript transcript;
  transcript.signer = words[2];
  if (words[2] != signer.fingerprint()) {
    throw Error::no(printable(file) + " is signed by someone else: " + printable(words[2]),
                    "the key given has the fingerprint " + signer.fingerprint());
  }
  const auto signed_text = std::string_view(text).substr(0, begin);
  if (!signer.verify_ecdsa_digest(crypto::sha256(view(signed_text)), *signature))
    damaged(file, "the signature is bad: the transcript was changed");
  auto lines = split(signed_text, '\n');
  lines.pop_back();
  transcript.digest = hex(crypto::sha256(view(text)));
  transcript.title = lines.size() > 2 && lines[2].starts_with("# ") ? lines[2].substr(2) : "";
  transcript.id = field(lines, "ceremony");
  transcript.runbook = field(lines, "SHA-256 of the runbook");
  transcript.begun = field(lines, "begun");
  transcript.ended = last_field(lines, "ended");
  transcript.steps = number(last_field(lines, "steps"), file);
  transcript.deviations = number(last_field(lines, "deviations"), file);
  transcript.checkpoint = checkpoint_of(lines, file);
  tlog::parse_checkpoint(transcript.checkpoint.text);
  return transcript;
}

}  // namespace kmtool::ceremony
