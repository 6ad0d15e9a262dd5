#pragma once
#include <memory>

#include "ceremony/standing.hpp"
#include "kmtool/ceremony/ceremony.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::ceremony {

inline constexpr std::string_view transcript_first_line = "kmtool ceremony transcript 1";
inline constexpr std::string_view checkpoint_heading = "Journal checkpoint:";

/// The transcript while the ceremony runs: NAME.unfinished, to which is only added.
class Unfinished {
 public:
  explicit Unfinished(const std::filesystem::path& transcript);
  void begin();  ///< makes it, or empties what no journal knows of
  /// What the journal knows of it must be there unchanged; what lies behind is cut off, and returned. Throws missing (66), damaged (65).
  std::string resume(const Standing& standing);
  /// Adds and fsyncs, and notes size and digest for the journal.
  void add(const std::string& text, Standing& standing);
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::string text() const;

 private:
  std::filesystem::path path_;
  Fd fd_;
  crypto::Digest digest_{crypto::Hash::sha256};
  std::uint64_t size_ = 0;
};

/// Foreign text as a block of code: every line indented by four blanks, so that nothing in it can look like ours.
std::string indented(std::string_view text);
/// SHA-256 as two lines, hexadecimal and in words.
std::string digest_lines(const std::string& what, ByteView digest);

std::string head_text(const Runbook& runbook, const Standing& standing, op::Context& context);
std::string step_text(const Runbook& runbook, std::size_t number, UnixTime begun, UnixTime ended, const Ran& ran,
                      const std::vector<Verdict>& verdicts, const std::filesystem::path& folder);
std::string end_text(const Runbook& runbook, const Standing& standing, UnixTime now);

}  // namespace kmtool::ceremony
