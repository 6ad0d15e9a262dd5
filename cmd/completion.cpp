#include "completion.hpp"

#include <algorithm>
#include <cctype>
#include <memory>

#include "cli.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/role.hpp"
#include "kmtool/domain/state.hpp"
#include "kmtool/domain/transport.hpp"

namespace kmtool::cmd {
namespace {

using namespace completion;

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

Kind kind_of_word(const std::string& word) {
  const std::string name = lower(word);
  if (name == "file" || name == "pem" || name == "bundle" || name == "path" || name == "old-checkpoint") return Kind::file;
  if (name == "dir") return Kind::folder;
  if (name == "key") return Kind::key;
  if (name == "kek") return Kind::kek;
  return Kind::nothing;
}

template <class Values>
std::vector<std::string> texts_of(const Values& values) {
  std::vector<std::string> out;
  out.reserve(values.size());
  for (const auto& value : values) out.emplace_back(to_text(value));
  return out;
}

/// What stands for one of a few words.
std::vector<std::string> choices_of(const std::string& type) {
  if (type == "ROLE") return texts_of(all_roles());
  if (type == "STATE") return texts_of(all_states());
  if (type == "ALGORITHM") return texts_of(all_transports());
  if (type == "CHANGE") return {"activate", "suspend", "resume", "deactivate", "compromise", "destroy"};
  std::vector<std::string> out;
  if (type != "TYPE") return out;
  for (const Role role : all_roles()) {
    for (auto& text : texts_of(types_of(role))) {
      if (std::find(out.begin(), out.end(), text) == out.end()) out.push_back(std::move(text));
    }
  }
  return out;
}

/// type_name() is `FILE`, `TEXT:{kek,data}` and the like; positional arguments are told by their name too.
Value value_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::size_t open = type.find('{');
  const std::size_t close = type.find('}');
  if (open != std::string::npos && close != std::string::npos && open < close) {
    return {Kind::choice, split(type.substr(open + 1, close - open - 1), ',')};
  }
  if (auto choices = choices_of(type); !choices.empty()) return {Kind::choice, std::move(choices)};
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

void collect(const CLI::App& app, const Globals& globals, const std::string& path, std::vector<CommandNode>& out) {
  CommandNode node{path, app.get_name(), first_line(app.get_description()), {}, {"table", "json"}, {}, {}};
  if (const auto own = globals.formats.find(&app); own != globals.formats.end()) node.formats = own->second;
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
  for (const CLI::App* sub : subs) collect(*sub, globals, path.empty() ? sub->get_name() : path + " " + sub->get_name(), out);
}

}  // namespace

void add_completion(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* sub = app.add_subcommand("completion", "print the completion script for a shell");
  offer_formats(sub, globals, {"script"});
  const auto shell = std::make_shared<std::string>();
  sub->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  sub->footer("For instance: kmtool completion bash > /usr/share/bash-completion/completions/kmtool");
  sub->callback([&app, &globals, &action, shell] {
    action = [&app, &globals, shell] {
      std::vector<CommandNode> nodes;
      collect(app, globals, "", nodes);
      const std::string script = *shell == "bash" ? bash_script(nodes) : *shell == "zsh" ? zsh_script(nodes) : fish_script(nodes);
      globals.out.raw(view(script));
      return 0;
    };
  });
}

}  // namespace kmtool::cmd
