#pragma once
#include <string>

#include "cli.hpp"

namespace kmtool::cmd {

/// `kept` of the JSON: the file in which the bundle is kept that this output takes the place of (under --dry-run: will be). null where
/// nothing lay there.
Json kept_json(const Globals& globals, const std::string& out, const std::string& kept);
/// True where a bundle lay there. Else the one that is on record there was moved away, and `kept` is but the name that its row has now.
bool kept_lies_there(const Globals& globals, const std::string& out, const std::string& kept);
/// Says which bundle is kept, and why; or that it was moved away, and how to say where to.
void say_kept(const Globals& globals, const std::string& out, const std::string& kept);

}  // namespace kmtool::cmd
