#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <memory>

#include "cli.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {
namespace {

// The tree of commands as the three shells need it: made from CLI11's own, so that they cannot drift apart.

enum class Kind { nothing, file, folder, key, choice };

struct Value {
  Kind kind = Kind::nothing;
  std::vector<std::string> choices;
};
struct OptionNode {
  std::vector<std::string> names;  ///< with their dashes
  std::string help;
  bool takes_value = false;
  Value value;
};
struct CommandNode {
  std::string path;  ///< words after `kmtool`, e.g. `signer trust`; empty: kmtool itself
  std::string name, help;
  std::vector<std::string> commands;
  std::vector<OptionNode> options;
  std::vector<Value> positionals;
};

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

Kind kind_of_word(const std::string& word) {
  const std::string name = lower(word);
  if (name == "file" || name == "pem" || name == "bundle" || name == "path") return Kind::file;
  if (name == "dir") return Kind::folder;
  if (name == "key" || name == "kek" || name == "name") return Kind::key;
  return Kind::nothing;
}

/// type_name() is `FILE`, `TEXT:{kek,data}` and the like; positional arguments are told by their name too.
Value value_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::size_t open = type.find('{');
  const std::size_t close = type.find('}');
  if (open != std::string::npos && close != std::string::npos && open < close) {
    return {Kind::choice, split(type.substr(open + 1, close - open - 1), ',')};
  }
  Value out{kind_of_word(type.substr(0, type.find_first_of(":[= "))), {}};
  if (out.kind == Kind::nothing && option.get_positional()) out.kind = kind_of_word(option.get_name(true, false));
  return out;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

OptionNode option_node(const CLI::Option& option) {
  OptionNode out;
  for (const auto& name : option.get_lnames()) out.names.push_back("--" + name);
  for (const auto& name : option.get_snames()) out.names.push_back("-" + name);
  out.help = first_line(option.get_description());
  out.takes_value = option.get_items_expected_max() > 0;
  if (out.takes_value) out.value = value_of(option);
  return out;
}

void collect(const CLI::App& app, const std::string& path, std::vector<CommandNode>& out) {
  CommandNode node{path, app.get_name(), first_line(app.get_description()), {}, {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    if (option->nonpositional()) {
      node.options.push_back(option_node(*option));
    } else {
      node.positionals.push_back(value_of(*option));
    }
  }
  const auto subs =
      app.get_subcommands([](const CLI::App* sub) { return !sub->get_name().empty() && !sub->get_group().empty(); });
  for (const CLI::App* sub : subs) node.commands.push_back(sub->get_name());
  out.push_back(std::move(node));
  for (const CLI::App* sub : subs) collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), out);
}

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
    case Kind::choice:
      return fmt::format(fmt::runtime(verbs.words), join(value.choices, " "));
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
      out += "    " + join(patterns, "|") + ") " + offer(option->value, verbs) + "; return ;;\n";
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
    for (const Kind kind : {Kind::key, Kind::file, Kind::folder}) {
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
  out += "    case \"$previous\" in " + all_valued_options(nodes) + ") previous=\"\"; continue ;; esac\n";
  out += "    previous=\"$word\"\n    case \"$command:$word\" in\n" + walk_cases(nodes) + "    esac\n  done\n";
  out += "  case \"$command:$previous\" in\n" + value_cases(nodes, verbs) + "  esac\n";
  out += "  if [[ \"$current\" == -* ]]; then\n    case \"$command\" in\n" + option_cases(nodes, verbs) +
         "    esac\n    return\n  fi\n";
  out += "  case \"$command\" in\n" + word_cases(nodes, verbs) + "  esac\n";
  return out;
}

std::string bash_script(const std::vector<CommandNode>& nodes) {
  const Verbs verbs{"__kmtool_files -f", "__kmtool_files -d",
                    "__kmtool_words \"$(kmtool list --quiet --format names 2>/dev/null)\"", "__kmtool_words \"{}\""};
  std::string out = fmt::format(fmt::runtime(heading), "bash");
  out += "__kmtool_words() { COMPREPLY+=( $(compgen -W \"$1\" -- \"$current\") ); }\n";
  out +=
      "__kmtool_files() {\n  local IFS=$'\\n'\n  compopt -o filenames 2>/dev/null\n"
      "  COMPREPLY+=( $(compgen \"$1\" -- \"$current\") )\n}\n";
  out +=
      "_kmtool() {\n  local current=\"${COMP_WORDS[COMP_CWORD]}\"\n  local before=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n  "
      "COMPREPLY=()\n";
  out += shared_body(nodes, verbs);
  out += "}\ncomplete -F _kmtool kmtool\n";
  return out;
}

std::string zsh_script(const std::vector<CommandNode>& nodes) {
  const Verbs verbs{"_files", "_files -/", "compadd -- ${(f)\"$(kmtool list --quiet --format names 2>/dev/null)\"}",
                    "compadd -- {}"};
  std::string out = "#compdef kmtool\n" + fmt::format(fmt::runtime(heading), "zsh");
  out += "_kmtool() {\n  local current=\"${words[CURRENT]}\"\n  local -a before\n  before=(\"${(@)words[2,CURRENT-1]}\")\n";
  out += shared_body(nodes, verbs);
  out += "}\nif [[ \"${funcstack[1]}\" == _kmtool ]]; then _kmtool \"$@\"; else compdef _kmtool kmtool; fi\n";
  return out;
}

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
      return " -f -a '(kmtool list --quiet --format names 2>/dev/null)'";
    case Kind::choice:
      return " -f -a " + fish_quoted(join(value.choices, " "));
    case Kind::nothing:
      break;
  }
  return " -f";
}

std::string fish_option(const OptionNode& option, const std::string& when) {
  std::string line = "complete -c kmtool" + when;
  for (const auto& name : option.names) line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  if (option.takes_value) line += " -r" + fish_value(option.value);
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

std::string fish_script(const std::vector<CommandNode>& nodes) {
  std::string out = fmt::format(fmt::runtime(heading), "fish") + fish_walk(nodes) + "complete -c kmtool -f\n";
  for (const auto& option : nodes.front().options) out += fish_option(option, "");
  for (const auto& node : nodes) {
    const std::string when = " -n \"__kmtool_at '" + node.path + "'\"";
    for (const auto& name : node.commands) {
      const std::string path = node.path.empty() ? name : node.path + " " + name;
      const auto sub = std::find_if(nodes.begin(), nodes.end(), [&path](const CommandNode& other) { return other.path == path; });
      out += "complete -c kmtool" + when + " -a " + name + " -d " + fish_quoted(sub->help) + "\n";
    }
    for (const auto& value : node.positionals) {
      if (value.kind != Kind::nothing) out += "complete -c kmtool" + when + fish_value(value) + "\n";
    }
    if (&node == &nodes.front()) continue;
    for (const auto& option : node.options) {
      if (option.names.front() != "--help" && option.names.back() != "--help") out += fish_option(option, when);
    }
  }
  return out;
}

}  // namespace

void add_completion(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* sub = app.add_subcommand("completion", "print the completion script for a shell");
  const auto shell = std::make_shared<std::string>();
  sub->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  sub->footer("For instance: kmtool completion bash > /usr/share/bash-completion/completions/kmtool");
  sub->callback([&app, &globals, &action, shell] {
    action = [&app, &globals, shell] {
      std::vector<CommandNode> nodes;
      collect(app, "", nodes);
      const std::string script = *shell == "bash" ? bash_script(nodes) : *shell == "zsh" ? zsh_script(nodes) : fish_script(nodes);
      globals.out.raw(view(script));
      return 0;
    };
  });
}

}  // namespace kmtool::cmd
