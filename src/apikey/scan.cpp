#include "kmtool/apikey/scan.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <system_error>

#include "apikey/git.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::size_t piece = std::size_t{256} << 10;

/// What one of the named paths leads to.
struct Search {
  const Needles& needles;
  ScanReport& report;
  std::string root;  ///< of ScanFinding
};

std::string special(const std::filesystem::path& path) { return path.string() + ": not a regular file"; }

/// Regular files only: a pipe would wait for ever. True where it could be read.
bool scan_file(const std::filesystem::path& path, Search& search, bool named) {
  auto& report = search.report;
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (named ? 0 : O_NOFOLLOW)));
  struct stat info {};
  if (!fd || fstat(fd.get(), &info) != 0) {
    if (errno != ELOOP || named) report.unread.push_back(path.string() + ": " + std::generic_category().message(errno));
    return false;
  }
  if (!S_ISREG(info.st_mode)) {
    report.skipped.push_back(special(path));
    return false;
  }
  ++report.files;
  Scanner scanner(search.needles);
  Bytes buffer(piece);
  for (;;) {
    const auto got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) report.unread.push_back(path.string() + ": " + std::generic_category().message(errno));
    if (got <= 0) break;
    report.bytes += static_cast<std::uint64_t>(got);
    scanner.feed(ByteView(buffer).subspan(0, static_cast<std::size_t>(got)));
  }
  for (auto& hit : scanner.finish()) report.findings.push_back({path.string(), search.root, "", "", "", std::move(hit)});
  return true;
}

/// True where it could be listed.
bool scan_folder(const std::filesystem::path& folder, Search& search, const std::function<void()>& each_file) {
  std::error_code error;
  std::vector<std::filesystem::directory_entry> entries;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) entries.push_back(*at);
  const bool listed = !error;
  if (!listed) search.report.unread.push_back(folder.string() + ": " + error.message());
  std::sort(entries.begin(), entries.end());
  for (const auto& entry : entries) {
    each_file();
    const auto status = entry.symlink_status(error);
    if (std::filesystem::is_directory(status)) {
      if (entry.path().filename() != ".git") scan_folder(entry.path(), search, each_file);
    } else if (std::filesystem::is_regular_file(status)) {
      scan_file(entry.path(), search, false);
    } else if (!std::filesystem::is_symlink(status)) {
      search.report.skipped.push_back(special(entry.path()));
    }
  }
  return listed;
}

}  // namespace

void scan_paths(const std::vector<std::filesystem::path>& paths, const Needles& needles, ScanReport& report, const std::function<void()>& each_file) {
  std::error_code error;
  for (const auto& path : paths) {
    if (!std::filesystem::exists(std::filesystem::status(path, error))) throw Error::missing("there is no " + printable(path.string()));
  }
  for (const auto& path : paths) {
    const bool folder = std::filesystem::is_directory(path, error);
    const auto full = std::filesystem::absolute(path).lexically_normal();
    Search search{needles, report, folder ? full.string() : full.parent_path().string()};
    each_file();
    report.readable += (folder ? scan_folder(path, search, each_file) : scan_file(path, search, true)) ? 1 : 0;
  }
}

void scan_git(const std::vector<std::filesystem::path>& paths, const Needles& needles, ScanReport& report, const std::function<void()>& each_object) {
  std::vector<std::string> done;
  for (const auto& path : paths) {
    const auto folder = std::filesystem::is_directory(path) ? path : path.parent_path().empty() ? std::filesystem::path(".") : path.parent_path();
    const auto repository = git_folder(folder);
    if (std::find(done.begin(), done.end(), repository) != done.end()) continue;
    done.push_back(repository);
    const auto top = git_top(folder);
    std::vector<ScanFinding> found;
    std::optional<Scanner> scanner;
    GitObject now;
    GitReader reader;
    reader.begin = [&](const GitObject& object) {
      each_object();
      ++report.objects;
      report.bytes += object.size;
      now = object;
      scanner.emplace(needles);
    };
    reader.bytes = [&](ByteView bytes) { scanner->feed(bytes); };
    reader.end = [&] {
      for (auto& hit : scanner->finish()) found.push_back({"", top, repository, now.id, now.type == "commit" ? now.id : "", std::move(hit)});
    };
    reader.damaged = [&](const std::string& what) { report.unread.push_back(fmt::format("{}: {} (git fsck says more)", repository, what)); };
    each_git_object(repository, reader);
    for (auto& finding : found) {
      if (finding.commit.empty()) name_object(repository, finding.object, finding.commit, finding.path);
      report.findings.push_back(std::move(finding));
    }
  }
}

}  // namespace kmtool::apikey
