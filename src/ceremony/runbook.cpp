#include "kmtool/ceremony/runbook.hpp"

#include <cmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "ceremony/check.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::ceremony {

namespace {

constexpr std::size_t max_runbook = std::size_t{1} << 20;
constexpr std::size_t max_steps = 1000;

struct Free {
  void operator()(cmark_node* node) const { cmark_node_free(node); }
  void operator()(cmark_iter* iterator) const { cmark_iter_free(iterator); }
};

/// A fenced block, or a heading, where it stands in the file.
struct Block {
  std::string info, text;  ///< of a heading: empty info
  std::size_t first = 0, last = 0;
  bool heading = false;
};

class Fail {
 public:
  explicit Fail(std::string name) : name_(std::move(name)) {}
  [[noreturn]] void damaged(std::size_t line, const std::string& what, const std::string& hint = "see kmtool-ceremony(1)") const {
    throw Error::tampered(fmt::format("{}: line {}: {}", printable(name_), line, what), hint);
  }
  [[noreturn]] void refused(std::size_t line, const std::string& what, const std::string& hint) const {
    throw Error::refused("ceremony", fmt::format("{}: line {}: {}", printable(name_), line, what), hint);
  }

 private:
  std::string name_;
};

std::string heading_text(cmark_node* heading) {
  std::string text;
  const std::unique_ptr<cmark_iter, Free> iterator(cmark_iter_new(heading));
  while (cmark_iter_next(iterator.get()) != CMARK_EVENT_DONE) {
    const char* literal = cmark_node_get_literal(cmark_iter_get_node(iterator.get()));
    if (literal != nullptr && cmark_iter_get_event_type(iterator.get()) == CMARK_EVENT_ENTER) text += literal;
  }
  return text;
}

std::vector<Block> blocks_of(const std::string& text) {
  const std::unique_ptr<cmark_node, Free> document(cmark_parse_document(text.data(), text.size(), CMARK_OPT_DEFAULT));
  if (!document) throw Error::internal("libcmark cannot read the runbook");
  std::vector<Block> blocks;
  const std::unique_ptr<cmark_iter, Free> iterator(cmark_iter_new(document.get()));
  while (cmark_iter_next(iterator.get()) != CMARK_EVENT_DONE) {
    if (cmark_iter_get_event_type(iterator.get()) != CMARK_EVENT_ENTER) continue;
    cmark_node* node = cmark_iter_get_node(iterator.get());
    const auto type = cmark_node_get_type(node);
    if (type != CMARK_NODE_HEADING && type != CMARK_NODE_CODE_BLOCK) continue;
    Block block;
    block.heading = type == CMARK_NODE_HEADING;
    block.first = static_cast<std::size_t>(cmark_node_get_start_line(node));
    block.last = static_cast<std::size_t>(cmark_node_get_end_line(node));
    if (block.heading) {
      block.text = heading_text(node);
    } else {
      const char* info = cmark_node_get_fence_info(node);
      block.info = info != nullptr ? info : "";
      block.text = cmark_node_get_literal(node);
    }
    blocks.push_back(std::move(block));
  }
  return blocks;
}

// -- commands -------------------------------------------------------------------------------------------------------------

bool is_option(const std::string& word, std::string_view option) {
  return word == option || (word.starts_with(option) && word.size() > option.size() && word[option.size()] == '=');
}

void refuse_words(const Command& command, const Fail& fail) {
  for (const auto& word : command.argv) {
    for (const char* option : {"--home", "--module", "--module-args", "--hook", "--pin-source"}) {
      if (is_option(word, option))
        fail.refused(command.line, fmt::format("{} is refused in a runbook", option),
                     "home, module and PIN are those that the ceremony is started with");
    }
    const auto value = word.substr(word.find('=') == std::string::npos ? 0 : word.find('=') + 1);
    if (word.starts_with("exec:") || value.starts_with("exec:"))
      fail.refused(command.line, "exec: is refused in a runbook", "a runbook starts no program but kmtool");
    for (const char* sign : {"|", "||", "&&", ";", "&", "<", "<<", ">>", "2>", ">"}) {
      if (word == sign)
        fail.damaged(command.line, fmt::format("\"{}\": there is no shell in a runbook", word),
                     "one command a line; > FILE at its end keeps what it prints");
    }
  }
  const auto& verb = command.argv[0];
  if (verb.starts_with('-')) fail.damaged(command.line, "the command must come first, options after it");
  const bool starts_programs = verb == "ceremony" || (verb == "apikey" && command.argv.size() > 1 &&
                                                      (command.argv[1] == "exec" || command.argv[1] == "serve"));
  if (starts_programs)
    fail.refused(command.line, fmt::format("kmtool {} is refused in a runbook", verb),
                 "a runbook starts no program but kmtool, and no other ceremony");
}

Command command_of(const std::string& text, std::size_t line, const Fail& fail) {
  Command command;
  command.line = line;
  command.text = text;
  if (printable(text) != text) fail.damaged(line, "a command with characters that cannot be seen");
  if (text.ends_with('\\')) fail.damaged(line, "a command that ends in a backslash: nothing is joined to it");
  try {
    command.argv = split_command(text);
  } catch (const Error& error) {
    fail.damaged(line, error.message(), error.hint());
  }
  auto& words = command.argv;
  if (words[0] == "kmtool") {
    words.erase(words.begin());
    command.text.erase(0, std::min(text.find_first_not_of(' ', 6), text.size()));
  }
  if (words.size() > 2 && words[words.size() - 2] == ">") {
    command.into = words.back();
    words.resize(words.size() - 2);
  }
  if (words.empty() || words[0].empty()) fail.damaged(line, "a command without words");
  refuse_words(command, fail);
  return command;
}

/// Lines of a block that say something; a backslash at the end joins the next one. `first` is the line of the fence.
template <class F>
void each_line(const Block& block, F&& visit) {
  std::string joined;
  std::size_t number = block.first, begun = 0;
  for (auto text : split(block.text, '\n')) {
    ++number;
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.pop_back();
    if (joined.empty()) {
      begun = number;
      text.erase(0, std::min(text.find_first_not_of(" \t"), text.size()));
      if (text.empty() || text[0] == '#') continue;
    }
    const bool more = text.ends_with('\\');
    if (more) text.pop_back();
    joined += text;
    if (more) continue;
    while (joined.ends_with(' ') || joined.ends_with('\t')) joined.pop_back();
    if (!joined.empty()) visit(joined, begun);
    joined.clear();
  }
  if (!joined.empty()) visit(joined, begun);
}

class Builder {
 public:
  Builder(Runbook& book, const std::string& text) : book_(book), fail_(book.name), lines_(split(text, '\n')) {}

  void add(const Block& block) {
    if (block.heading) {
      if (block.text.empty()) return;
      if (book_.title.empty()) book_.title = block.text;
      title_ = block.text;
      fresh_title_ = true;
      return;
    }
    const auto words = split_words(block.info);
    const std::string kind = words.empty() ? "" : words[0];
    if (kind == "kmtool") {
      add_steps(block);
    } else if (kind == "check") {
      add_checks(block);
    } else if (kind == "rehearsal") {
      add_scenes(block, words);
    } else {
      const auto near = nearest(kind, {"kmtool", "check", "rehearsal"});
      if (!near.empty())
        fail_.damaged(block.first, fmt::format("a block marked \"{}\"", printable(kind)), "did you mean " + near + "?");
    }
  }

  void finish() {
    book_.closing = prose_until(lines_.size() + 1);
    if (book_.steps.empty()) fail_.damaged(1, "no block is marked kmtool: there is nothing to do");
    if (book_.title.empty()) book_.title = book_.name;
    for (auto& step : book_.steps) {
      const auto& checks = step.checks;
      const bool exit =
          std::any_of(checks.begin(), checks.end(), [](const Check& check) { return check.kind == Check::Kind::exit; });
      if (!exit) step.checks.insert(step.checks.begin(), {Check::Kind::exit, {}, "0", "exit 0", step.command.line});
    }
  }

 private:
  static std::vector<std::string> split_words(const std::string& info) {
    std::vector<std::string> words;
    for (auto& word : split(info, ' ')) {
      if (!word.empty()) words.push_back(std::move(word));
    }
    return words;
  }

  std::string prose_until(std::size_t line) {
    std::string prose;
    for (; next_ < line && next_ <= lines_.size(); ++next_) prose += lines_[next_ - 1] + "\n";
    while (prose.ends_with("\n\n")) prose.pop_back();
    while (prose.starts_with('\n')) prose.erase(0, 1);
    return prose;
  }

  void add_steps(const Block& block) {
    std::string prose = prose_until(block.first);
    next_ = block.last + 1;
    const std::size_t before = book_.steps.size();
    each_line(block, [&](const std::string& text, std::size_t line) {
      Step step;
      step.command = command_of(text, line, fail_);
      step.title = fresh_title_ ? title_ : step.command.argv[0];
      fresh_title_ = false;
      step.prose = std::exchange(prose, {});
      if (book_.steps.size() == max_steps) fail_.damaged(line, fmt::format("more than {} steps", max_steps));
      book_.steps.push_back(std::move(step));
    });
    if (book_.steps.size() == before) fail_.damaged(block.first, "a block without a command");
  }

  void add_checks(const Block& block) {
    if (book_.steps.empty()) fail_.damaged(block.first, "a check before any command");
    prose_until(block.first);  // between a command and its check: nothing that anybody has to read
    next_ = block.last + 1;
    each_line(block, [&](const std::string& text, std::size_t line) {
      book_.steps.back().checks.push_back(parse_check(text, line, [&](const std::string& what) { fail_.damaged(line, what); }));
    });
  }

  void add_scenes(const Block& block, const std::vector<std::string>& words) {
    const std::string prose = prose_until(block.first);
    if (!book_.steps.empty())
      fail_.damaged(block.first, "a rehearsal block after a step", "what a rehearsal needs comes before the first step");
    if (words.size() != 2 || (words[1] != "here" && words[1] != "there")) {
      fail_.damaged(block.first, "where?",
                    "write rehearsal here, for the home of the ceremony, or rehearsal there, for the other site");
    }
    next_ = block.last + 1;
    kept_ += prose;
    each_line(block, [&](const std::string& text, std::size_t line) {
      book_.scenes.push_back({words[1] == "there", command_of(text, line, fail_)});
    });
  }

  Runbook& book_;
  Fail fail_;
  std::vector<std::string> lines_;
  std::size_t next_ = 1;  ///< the first line that no step has taken as its prose
  std::string title_, kept_;
  bool fresh_title_ = false;

 public:
  /// Prose that stood before rehearsal blocks belongs to the first step.
  void give_back() {
    if (!book_.steps.empty() && !kept_.empty())
      book_.steps.front().prose = kept_ + (book_.steps.front().prose.empty() ? "" : "\n" + book_.steps.front().prose);
  }
};

}  // namespace

std::vector<std::string> Command::files() const {
  std::vector<std::string> files;
  for (std::size_t i = 0; i < argv.size(); ++i) {
    for (const char* option : {"--out", "--backup"}) {
      if (argv[i] == option && i + 1 < argv.size()) files.push_back(argv[i + 1]);
      if (argv[i].starts_with(option) && is_option(argv[i], option) && argv[i] != option)
        files.push_back(argv[i].substr(std::string_view(option).size() + 1));
    }
  }
  if (into) files.push_back(*into);
  return files;
}

Runbook parse_runbook(const std::string& text, const std::string& name) {
  Runbook book;
  book.name = name;
  const auto digest = crypto::sha256(view(text));
  book.digest_bytes.assign(digest.begin(), digest.end());
  book.digest = hex(digest);
  if (!is_utf8(text) || text.find('\0') != std::string::npos) throw Error::tampered(printable(name) + " is not UTF-8 text");
  Builder builder(book, text);
  for (const auto& block : blocks_of(text)) builder.add(block);
  builder.finish();
  builder.give_back();
  return book;
}

Runbook read_runbook(const std::filesystem::path& path) {
  return parse_runbook(read_file(path, max_runbook), path.filename().string());
}

}  // namespace kmtool::ceremony
