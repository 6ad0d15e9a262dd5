#include "ceremony/transcript.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/core/words.hpp"

namespace kmtool::ceremony {

namespace {

constexpr std::size_t most_output = std::size_t{256} << 10;  ///< of one command, in the transcript; its digest is of everything
constexpr std::size_t most_transcript = std::size_t{256} << 20;

std::string quoted(const std::string& prose) {
  std::string text;
  for (const auto& line : split(prose, '\n')) text += "> " + printable(line) + "\n";
  while (text.ends_with("> \n")) text.resize(text.size() - 3);
  return text.empty() ? "" : text + "\n";
}

}  // namespace

Unfinished::Unfinished(const std::filesystem::path& transcript) : path_(transcript.string() + ".unfinished") {}

void Unfinished::begin() {
  fd_ = Fd(open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd_) throw Error::from_errno("create", path_.string(), errno);
  fsync_path(path_.parent_path());
}

std::string Unfinished::resume(const Standing& standing) {
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path_, ignored))) {
    throw Error::missing(printable(path_.string()) + ", the transcript so far, is not there",
                         "put it back to go on; where it is lost, begin anew under another name: kmtool ceremony run … --transcript OTHER.md");
  }
  const auto text = read_file(path_, most_transcript);
  const auto known = std::string_view(text).substr(0, std::min<std::size_t>(text.size(), standing.size));
  digest_.update(view(known));
  if (known.size() != standing.size || hex(digest_.value()) != standing.digest) {
    throw Error::tampered(printable(path_.string()) + " is not what the journal knows of it",
                          "put the file back as it was (kmtool audit log has its digest), or begin anew under another name: --transcript OTHER.md");
  }
  fd_ = Fd(open(path_.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!fd_) throw Error::from_errno("open", path_.string(), errno);
  size_ = standing.size;
  if (ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0) throw Error::from_errno("write", path_.string(), errno);
  if (lseek(fd_.get(), 0, SEEK_END) < 0) throw Error::from_errno("write", path_.string(), errno);
  return text.substr(size_);
}

void Unfinished::add(const std::string& text, Standing& standing) {
  write_all(fd_.get(), view(text), path_);
  if (fsync(fd_.get()) != 0) throw Error::from_errno("sync", path_.string(), errno);
  digest_.update(view(text));
  size_ += text.size();
  standing.size = size_;
  standing.digest = hex(digest_.value());
}

std::string Unfinished::text() const { return read_file(path_, most_transcript); }

std::string indented(std::string_view text) {
  std::string out;
  const bool cut = text.size() > most_output;
  if (cut) text = text.substr(0, most_output);
  auto lines = split(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  for (const auto& line : lines) out += "    " + printable(line) + "\n";
  if (cut) out += "    (the rest is left out; the digest is of everything)\n";
  return out;
}

std::string digest_lines(const std::string& what, ByteView digest) {
  return fmt::format("- SHA-256 of {}: {}\n  in words: {}\n", what, hex(digest), words_of(digest));
}

std::string head_text(const Runbook& runbook, const Standing& standing, op::Context& context) {
  const auto& token = context.token().info();
  std::string text = std::string(transcript_first_line) + "\n\n# " + printable(runbook.title) + "\n\n";
  text += fmt::format("- ceremony: {}\n- runbook: {}\n", standing.id, printable(runbook.name));
  text += digest_lines("the runbook", runbook.digest_bytes);
  text += fmt::format("- home: {}\n- token: {} (serial {}), {}\n- kmtool: {}\n", context.home.config.home_id,
                      printable(token.label), printable(token.serial), token.hardware ? "hardware" : "software", KMTOOL_VERSION);
  text += fmt::format("- operator: {}\n- witness: {}\n- begun: {}\n", printable(standing.conductor), printable(standing.witness),
                      rfc3339(standing.begun));
  return text;
}

std::string step_text(const Runbook& runbook, std::size_t number, UnixTime begun, UnixTime ended, const Ran& ran,
                      const std::vector<Verdict>& verdicts, const std::filesystem::path& folder) {
  const auto& step = runbook.steps[number - 1];
  std::string text = fmt::format("\n## Step {} of {}: {}\n\n", number, runbook.steps.size(), printable(step.title));
  text += quoted(step.prose);
  text += indented("kmtool " + step.command.text);
  text += fmt::format("\n- begun: {}\n- ended: {}, exit {}\n", rfc3339(begun), rfc3339(ended), ran.exit);
  if (!ran.out.empty()) text += digest_lines("the output", crypto::sha256(view(ran.out)));
  std::error_code ignored;
  for (const auto& file : step.command.files()) {
    const auto path = folder / file;
    if (ran.exit != 0 || !std::filesystem::is_regular_file(path, ignored)) continue;
    text += digest_lines("the file " + printable(file), from_hex(crypto::sha256_file_hex(path.string())).value());
  }
  if (!ran.out.empty()) text += "\nOutput:\n\n" + indented(ran.out);
  if (!ran.err.empty()) text += "\nMessages:\n\n" + indented(ran.err);
  text += "\nChecks:\n\n";
  for (const auto& verdict : verdicts) {
    const char* word = verdict.kind == Verdict::Kind::ok       ? "holds"
                       : verdict.kind == Verdict::Kind::failed ? "FAILED"
                                                               : "not checked";
    text += fmt::format("- {}: {}\n", word, printable(verdict.text));
  }
  return text;
}

std::string end_text(const Runbook& runbook, const Standing& standing, UnixTime now) {
  std::string text = "\n## End\n\n" + quoted(runbook.closing);
  return text + fmt::format("- steps: {}\n- deviations: {}\n- ended: {}\n", standing.done, standing.deviations, rfc3339(now));
}

}  // namespace kmtool::ceremony
