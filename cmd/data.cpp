#include "data.hpp"

#include "common.hpp"
#include "kmtool/core/encoding.hpp"

namespace kmtool::cmd {

void add_in(CLI::App* sub, DataOptions& data) {
  sub->add_option("--in,-i", data.in, "the data (default, or -: standard input)")->type_name("FILE");
}

void add_out(CLI::App* sub, DataOptions& data) {
  sub->add_option("--out,-o", data.out, "where it goes (default, or -: standard output)")->type_name("FILE");
}

std::optional<OutStream> open_out(const Globals& globals, const DataOptions& data, bool binary) {
  if (!data.out.empty() && data.out != "-") home::check_output(data.out, globals.force);
  if (globals.dry_run) return std::nullopt;
  std::optional<OutStream> out(std::in_place, data.out, globals.force);
  if (binary && data.out.empty() && out->is_terminal()) {
    throw Error::usage("standard output is a terminal", "name a file with --out FILE, or say --out - where it is meant");
  }
  return out;
}

void require_file_for_json(const Globals& globals, const DataOptions& data) {
  if (!json_wanted(globals) || (!data.out.empty() && data.out != "-")) return;
  throw Error::usage("--json needs standard output for its document", "name a file for the data: --out FILE");
}

void put(OutStream& out, ByteView product, const std::string& format) {
  if (format == "raw") {
    out.write(product);
  } else {
    out.write(view((format == "hex" ? hex(product) : base64(product)) + "\n"));
  }
  out.finish();
}

void warn_all(const Globals& globals, const std::vector<std::string>& warnings) {
  for (const auto& text : warnings) warn(globals, text);
}

}  // namespace kmtool::cmd
