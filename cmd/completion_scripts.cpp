#include <fmt/format.h>

#include <algorithm>

#include "completion.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd::completion {
namespace {

bool has_positional(const CommandNode& node, Kind kind) {
  return std::any_of(node.positionals.begin(), node.positionals.end(), [kind](const Value& value) { return value.kind == kind; });
}

std::vector<std::string> positional_choices(const CommandNode& node) {
  std::vector<std::string> out = node.commands;
  for (const auto& value : node.positionals) out.insert(out.end(), value.choices.begin(), value.choices.end());
  return out;
}

/// Options of a command and the global ones.
std::vector<const OptionNode*> options_with_globals(const CommandNode& node, const CommandNode& root) {
  std::vector<const OptionNode*> out;
  for (const auto& option : node.options) out.push_back(&option);
  if (&node == &root) return out;
  for (const auto& option : root.options) {
    if (option.names.front() != "--help" && option.names.front() != "--version") out.push_back(&option);
  }
  return out;
}

/// Which formats there are depends on the command.
Value value_at(const OptionNode& option, const CommandNode& node) {
  return option.names.front() == "--format" ? Value{Kind::choice, node.formats} : option.value;
}

/// As words of a shell: what has a blank in it is quoted.
std::string words_of(const std::vector<std::string>& choices, char quote) {
  std::string out;
  for (const auto& choice : choices) {
    if (!out.empty()) out += ' ';
    out += choice.find(' ') == std::string::npos ? choice : quote + choice + quote;
  }
  return out;
}

constexpr const char* heading = "# {0} completion for kmtool; made by `kmtool completion {0}`\n";

// -- bash and zsh -------------------------------------------------------------------------------------------------------
// Both walk the words with the same two tables; only how candidates are handed over differs.

/// case of `COMMAND WORD`: which command is reached next.
std::string walk_cases(const std::vector<CommandNode>& nodes) {
  std::string out;
  for (const auto& node : nodes) {
    if (node.path.empty()) continue;
    const std::size_t space = node.path.rfind(' ');
    const std::string parent = space == std::string::npos ? "" : node.path.substr(0, space);
    out += fmt::format("      \"{}:{}\") command=\"{}\" ;;\n", parent, node.name, node.path);
  }
  return out;
}

std::string all_valued_options(const std::vector<CommandNode>& nodes) {
  std::vector<std::string> names;
  for (const auto& node : nodes) {
    for (const auto& option : node.options) {
      if (option.takes_value) names.insert(names.end(), option.names.begin(), option.names.end());
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return join(names, "|");
}

struct Verbs {
  const char* files;
  const char* folders;
  const char* keys;
  const char* keks;
  const char* words;  ///< {} is the words
};

std::string offer(const Value& value, const Verbs& verbs) {
  switch (value.kind) {
    case Kind::file:
      return verbs.files;
    case Kind::folder:
      return verbs.folders;
    case Kind::key:
      return verbs.keys;
    case Kind::kek:
      return verbs.keks;
    case Kind::choice:
      return fmt::format(fmt::runtime(verbs.words), words_of(value.choices, '\''));
    case Kind::nothing:
      break;
  }
  return ":";
}

std::string value_cases(const std::vector<CommandNode>& nodes, const Verbs& verbs) {
  std::string out;
  for (const auto& node : nodes) {
    for (const auto* option : options_with_globals(node, nodes.front())) {
      if (!option->takes_value) continue;
      std::vector<std::string> patterns;
      for (const auto& name : option->names) patterns.push_back("\"" + node.path + ":" + name + "\"");
      out += "    " + join(patterns, "|") + ") " + offer(value_at(*option, node), verbs) + "; return ;;\n";
    }
  }
  return out;
}

std::string word_cases(const std::vector<CommandNode>& nodes, const Verbs& verbs) {
  std::string out;
  for (const auto& node : nodes) {
    std::vector<std::string> actions;
    const auto words = positional_choices(node);
    if (!words.empty()) actions.push_back(fmt::format(fmt::runtime(verbs.words), join(words, " ")));
    for (const Kind kind : {Kind::key, Kind::kek, Kind::file, Kind::folder}) {
      if (has_positional(node, kind)) actions.push_back(offer({kind, {}}, verbs));
    }
    if (!actions.empty()) out += "    \"" + node.path + "\") " + join(actions, "; ") + " ;;\n";
  }
  return out;
}

std::string option_cases(const std::vector<CommandNode>& nodes, const Verbs& verbs) {
  std::string out;
  for (const auto& node : nodes) {
    std::vector<std::string> words;
    for (const auto* option : options_with_globals(node, nodes.front())) {
      words.insert(words.end(), option->names.begin(), option->names.end());
    }
    out += "      \"" + node.path + "\") " + fmt::format(fmt::runtime(verbs.words), join(words, " ")) + " ;;\n";
  }
  return out;
}

/// What stands between the shell's preamble and its end.
std::string shared_body(const std::vector<CommandNode>& nodes, const Verbs& verbs) {
  std::string out;
  out += "  local command=\"\" previous=\"\" word\n  for word in \"${before[@]}\"; do\n";
  out += "    case \"$previous\" in --home) home=(--home \"${word/#\\~\\//$HOME/}\") ;; esac\n";
  out += "    case \"$previous\" in " + all_valued_options(nodes) + ") previous=\"\"; continue ;; esac\n";
  out += "    case \"$word\" in --home=*) home=(\"$word\") ;; esac\n";
  out += "    previous=\"$word\"\n    case \"$command:$word\" in\n" + walk_cases(nodes) + "    esac\n  done\n";
  out += "  case \"$command:$previous\" in\n" + value_cases(nodes, verbs) + "  esac\n";
  out += "  if [[ \"$current\" == -* ]]; then\n    case \"$command\" in\n" + option_cases(nodes, verbs) +
         "    esac\n    return\n  fi\n";
  out += "  case \"$command\" in\n" + word_cases(nodes, verbs) + "  esac\n";
  return out;
}

// `--option=value` comes in three words from bash and in one from zsh. Names of keys are those of the home that the line names.
constexpr const char* bash_begin = R"~(__kmtool_words() {
  local word
  for word; do
    word="${word// /\\ }"
    if [[ "$word" == "$current"* ]]; then COMPREPLY+=("$word"); fi
  done
}
__kmtool_keys() {
  local IFS=$'\n'
  __kmtool_words $(kmtool list --quiet --no-input --format names "${home[@]}" "$@" 2>/dev/null)
}
__kmtool_files() {
  local IFS=$'\n'
  compopt -o filenames 2>/dev/null
  COMPREPLY+=( $(compgen "$1" -- "$current") )
}
_kmtool() {
  local current="${COMP_WORDS[COMP_CWORD]}" before=() home=() glue="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ "${COMP_WORDS[i]}" == "=" && "$i" -gt 1 ]]; then
      if [[ "${before[-1]}" != -* ]]; then before[-1]+="=" glue=1; fi
    elif [[ "$glue" ]]; then
      before[-1]+="${COMP_WORDS[i]}" glue=""
    else
      before+=("${COMP_WORDS[i]}")
    fi
  done
  if [[ "$glue" ]]; then return; fi
  if [[ "$current" == "=" ]]; then current=""; fi
)~";

}  // namespace

std::string bash_script(const std::vector<CommandNode>& nodes) {
  const Verbs verbs{"__kmtool_files -f", "__kmtool_files -d", "__kmtool_keys", "__kmtool_keys --role kek", "__kmtool_words {}"};
  return fmt::format(fmt::runtime(heading), "bash") + bash_begin + shared_body(nodes, verbs) + "}\ncomplete -F _kmtool kmtool\n";
}

namespace {

constexpr const char* zsh_begin = R"~(__kmtool_keys() {
  compadd -- ${(f)"$(kmtool list --quiet --no-input --format names $home "$@" 2>/dev/null)"}
}
_kmtool() {
  local current="${words[CURRENT]}"
  local -a before home
  before=("${(@)words[2,CURRENT-1]}")
  if [[ "$current" == --*=* ]]; then
    before+=("${current%%=*}")
    current="${current#*=}"
    compset -P 1 '*='
  fi
)~";

}  // namespace

std::string zsh_script(const std::vector<CommandNode>& nodes) {
  const Verbs verbs{"_files", "_files -/", "__kmtool_keys", "__kmtool_keys --role kek", "compadd -- {}"};
  return "#compdef kmtool\n" + fmt::format(fmt::runtime(heading), "zsh") + zsh_begin + shared_body(nodes, verbs) +
         "}\nif [[ \"${funcstack[1]}\" == _kmtool ]]; then _kmtool \"$@\"; else compdef _kmtool kmtool; fi\n";
}

namespace {

// -- fish ---------------------------------------------------------------------------------------------------------------

std::string fish_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

std::string fish_value(const Value& value) {
  switch (value.kind) {
    case Kind::file:
      return " -F";
    case Kind::folder:
      return " -f -a '(__fish_complete_directories)'";
    case Kind::key:
      return " -f -a '(__kmtool_keys)'";
    case Kind::kek:
      return " -f -a '(__kmtool_keys --role kek)'";
    case Kind::choice:
      return " -f -a " + fish_quoted(words_of(value.choices, '"'));
    case Kind::nothing:
      break;
  }
  return " -f";
}

std::string fish_option(const OptionNode& option, const Value& value, const std::string& when) {
  std::string line = "complete -c kmtool" + when;
  for (const auto& name : option.names) line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  if (option.takes_value) line += " -r" + fish_value(value);
  return line + " -d " + fish_quoted(option.help) + "\n";
}

std::string fish_walk(const std::vector<CommandNode>& nodes) {
  std::string cases;
  for (const auto& node : nodes) {
    if (node.path.empty()) continue;
    const std::size_t space = node.path.rfind(' ');
    const std::string parent = space == std::string::npos ? "" : node.path.substr(0, space);
    cases += fmt::format("            case '{}:{}'\n                set at '{}'\n", parent, node.name, node.path);
  }
  std::string valued = all_valued_options(nodes);
  std::replace(valued.begin(), valued.end(), '|', ' ');
  return "function __kmtool_at\n    set -l at ''\n    set -l previous ''\n    for word in (commandline -opc)[2..-1]\n"
         "        if contains -- $previous " +
         valued +
         "\n            set previous ''\n            continue\n        end\n"
         "        set previous $word\n        switch \"$at:$word\"\n" +
         cases + "        end\n    end\n    test \"$at\" = \"$argv[1]\"\nend\n";
}

constexpr const char* fish_keys = R"~(function __kmtool_keys
    set -l home
    set -l previous ''
    for word in (commandline -opc)
        if test "$previous" = --home
            set home --home (string replace -r '^~/' "$HOME/" -- $word)
        else if string match -q -- '--home=*' $word
            set home $word
        end
        set previous $word
    end
    kmtool list --quiet --no-input --format names $home $argv 2>/dev/null
end
)~";

}  // namespace

std::string fish_script(const std::vector<CommandNode>& nodes) {
  std::string out = fmt::format(fmt::runtime(heading), "fish") + fish_keys + fish_walk(nodes) + "complete -c kmtool -f\n";
  for (const auto& option : nodes.front().options) {
    if (option.names.front() != "--format") out += fish_option(option, option.value, "");
  }
  for (const auto& node : nodes) {
    const std::string when = " -n \"__kmtool_at '" + node.path + "'\"";
    for (const auto& option : nodes.front().options) {
      if (option.names.front() == "--format") out += fish_option(option, value_at(option, node), when);
    }
    for (const auto& name : node.commands) {
      const std::string path = node.path.empty() ? name : node.path + " " + name;
      const auto sub = std::find_if(nodes.begin(), nodes.end(), [&path](const CommandNode& other) { return other.path == path; });
      out += fmt::format("complete -c kmtool{} -a {} -d {}\n", when, name, fish_quoted(sub->help));
    }
    for (const auto& value : node.positionals) {
      if (value.kind != Kind::nothing) out += "complete -c kmtool" + when + fish_value(value) + "\n";
    }
    if (&node == &nodes.front()) continue;
    for (const auto& option : node.options) {
      if (option.names.front() != "--help" && option.names.back() != "--help") out += fish_option(option, option.value, when);
    }
  }
  return out;
}

}  // namespace kmtool::cmd::completion
