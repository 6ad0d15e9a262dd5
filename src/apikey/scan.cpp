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

/// Regular files only: a pipe would wait for ever.
void scan_file(const std::filesystem::path& path, const Needles& needles, ScanReport& report) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info {};
  if (!fd || fstat(fd.get(), &info) != 0) {
    if (errno != ELOOP) report.unread.push_back(path.string() + ": " + std::generic_category().message(errno));
    return;
  }
  if (!S_ISREG(info.st_mode)) return;
  ++report.files;
  Scanner scanner(needles);
  Bytes buffer(piece);
  for (;;) {
    const auto got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) report.unread.push_back(path.string() + ": " + std::generic_category().message(errno));
    if (got <= 0) break;
    report.bytes += static_cast<std::uint64_t>(got);
    scanner.feed(ByteView(buffer).subspan(0, static_cast<std::size_t>(got)));
  }
  for (auto& hit : scanner.finish()) report.findings.push_back({path.string(), "", "", "", std::move(hit)});
}

void scan_folder(const std::filesystem::path& folder, const Needles& needles, ScanReport& report, const std::function<void()>& each_file) {
  std::error_code error;
  std::vector<std::filesystem::directory_entry> entries;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) entries.push_back(*at);
  if (error) report.unread.push_back(folder.string() + ": " + error.message());
  std::sort(entries.begin(), entries.end());
  for (const auto& entry : entries) {
    each_file();
    const auto status = entry.symlink_status(error);
    if (std::filesystem::is_directory(status)) {
      if (entry.path().filename() != ".git") scan_folder(entry.path(), needles, report, each_file);
    } else if (std::filesystem::is_regular_file(status)) {
      scan_file(entry.path(), needles, report);
    }
  }
}

std::string what_of(const Needles::Needle& needle) { return needle.stored ? "stored key" : "issued API key"; }

}  // namespace

void scan_paths(const std::vector<std::filesystem::path>& paths, const Needles& needles, ScanReport& report, const std::function<void()>& each_file) {
  for (const auto& path : paths) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (!std::filesystem::exists(status)) throw Error::missing("there is no " + printable(path.string()));
    each_file();
    if (std::filesystem::is_directory(status)) {
      scan_folder(path, needles, report, each_file);
    } else {
      scan_file(std::filesystem::canonical(path), needles, report);
    }
  }
}

void scan_git(const std::vector<std::filesystem::path>& paths, const Needles& needles, ScanReport& report, const std::function<void()>& each_object) {
  std::vector<std::string> done;
  for (const auto& path : paths) {
    const auto folder = std::filesystem::is_directory(path) ? path : path.parent_path().empty() ? std::filesystem::path(".") : path.parent_path();
    const auto repository = git_folder(folder);
    if (std::find(done.begin(), done.end(), repository) != done.end()) continue;
    done.push_back(repository);
    std::vector<ScanFinding> found;
    std::optional<Scanner> scanner;
    GitObject now;
    each_git_object(
        repository,
        [&](const GitObject& object) {
          each_object();
          ++report.objects;
          report.bytes += object.size;
          now = object;
          scanner.emplace(needles);
        },
        [&](ByteView bytes) { scanner->feed(bytes); },
        [&] {
          for (auto& hit : scanner->finish()) found.push_back({"", repository, now.id, now.type == "commit" ? now.id : "", std::move(hit)});
        });
    for (auto& finding : found) {
      if (finding.commit.empty()) name_object(repository, finding.object, finding.commit, finding.path);
      report.findings.push_back(std::move(finding));
    }
  }
}

Json to_json(const ScanReport& report) {
  Json json{{"findings", Json::array()}, {"files", report.files}, {"objects", report.objects}, {"bytes", report.bytes}, {"unread", report.unread}, {"not_looked_for", report.not_looked_for}};
  for (const auto& finding : report.findings) {
    const auto& hit = finding.hit;
    Json each{{"kind", hit.needle.stored ? "stored" : "issued"}, {"id", hit.needle.id}, {"app", hit.needle.app}, {"environment", hit.needle.environment},
              {"state", hit.needle.state}, {"live", hit.needle.live}, {"path", finding.path}, {"line", hit.line}, {"column", hit.column},
              {"offset", hit.offset}, {"encoding", hit.encoding}};
    if (!finding.repository.empty()) {
      each["repository"] = finding.repository;
      each["object"] = finding.object;
      each["commit"] = finding.commit;
    }
    json["findings"].push_back(std::move(each));
  }
  return json;
}

Json to_sarif(const ScanReport& report) {
  Json rules = Json::array();
  rules.push_back({{"id", "A-ENV"},
                   {"name", "ApiKeyInCode"},
                   {"shortDescription", {{"text", "an API key lies in a file or in git history"}}},
                   {"fullDescription", {{"text", "API keys are not put in code, but in environment variables: rotate the key, take it out, and use kmtool apikey exec"}}},
                   {"defaultConfiguration", {{"level", "error"}}}});
  Json results = Json::array();
  for (const auto& finding : report.findings) {
    const auto& hit = finding.hit;
    std::string text = fmt::format("{} {}", what_of(hit.needle), hit.needle.id);
    if (!hit.needle.stored) text += fmt::format(" of {} ({}), {}", hit.needle.app, hit.needle.environment, hit.needle.state);
    if (hit.encoding != "plain") text += ", as " + hit.encoding;
    if (!finding.object.empty()) text += fmt::format(", in git object {}{}", finding.object, finding.commit.empty() ? "" : " of commit " + finding.commit);
    const auto uri = finding.path.empty() ? "git:" + finding.object : finding.path;
    results.push_back({{"ruleId", "A-ENV"},
                       {"ruleIndex", 0},
                       {"level", hit.needle.live ? "error" : "note"},
                       {"message", {{"text", text}}},
                       {"locations", {{{"physicalLocation", {{"artifactLocation", {{"uri", uri}}}, {"region", {{"startLine", hit.line}, {"startColumn", hit.column}}}}}}}},
                       {"partialFingerprints", {{"kmtool/v1", fmt::format("{}:{}:{}", hit.needle.id, uri, hit.encoding)}}}});
  }
  Json driver{{"name", "kmtool"}, {"version", KMTOOL_VERSION}, {"rules", rules}};
  return {{"$schema", "https://json.schemastore.org/sarif-2.1.0.json"}, {"version", "2.1.0"}, {"runs", {{{"tool", {{"driver", driver}}}, {"columnKind", "utf16CodeUnits"}, {"results", results}}}}};
}

std::string gitleaks_rule(const std::string& prefix) {
  return fmt::format(
      "# A rule for gitleaks (https://github.com/gitleaks/gitleaks): the form of API keys that kmtool issues.\n"
      "[[rules]]\n"
      "id = \"kmtool-api-key\"\n"
      "description = \"API key issued by kmtool\"\n"
      "regex = '''\\b({}_[0-9a-hjkmnp-tv-z]{{{}}}_[0-9A-Za-z]{{{}}})\\b'''\n"
      "secretGroup = 1\n"
      "entropy = 4.0\n"
      "keywords = [\"{}_\"]\n",
      prefix, id_length, secret_length + check_length, prefix);
}

}  // namespace kmtool::apikey
