#include "kept.hpp"

#include <filesystem>

namespace kmtool::cmd {

bool kept_lies_there(const Globals& globals, const std::string& out, const std::string& kept) {
  std::error_code error;
  return !kept.empty() && std::filesystem::exists(globals.dry_run ? out : kept, error);
}

Json kept_json(const Globals& globals, const std::string& out, const std::string& kept) {
  return kept_lies_there(globals, out, kept) ? Json(kept) : Json(nullptr);
}

void say_kept(const Globals& globals, const std::string& out, const std::string& kept) {
  if (kept.empty()) return;
  if (kept_lies_there(globals, out, kept)) {
    note(globals, "the bundle that lay there is kept as " + kept + ": it holds a key that no other bundle has");
    return;
  }
  warn(globals, "the bundle that the catalog had at " + out + " is not there, and holds a key that no other bundle has: it stays on record as " + kept +
                    "; kmtool bundles --moved FILE says where it lies now");
}

}  // namespace kmtool::cmd
