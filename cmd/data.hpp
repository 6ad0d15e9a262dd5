#pragma once
#include <optional>
#include <string>

#include "cli.hpp"
#include "kmtool/core/stream.hpp"

namespace kmtool::cmd {

/// --in and --out of the commands that work on data.
struct DataOptions {
  std::string in, out;
};
void add_in(CLI::App* sub, DataOptions& data);
void add_out(CLI::App* sub, DataOptions& data);

/// Where the product goes, opened before anything is done; nullopt for a dry run (the name is checked all the same). `binary`: not to a
/// terminal unless it was asked for with --out -.
std::optional<OutStream> open_out(const Globals& globals, const DataOptions& data, bool binary);
/// --json has standard output for itself: throws usage (64) unless the product goes to a file.
void require_file_for_json(const Globals& globals, const DataOptions& data);
/// A short product in the format asked for: hex and base64 as a line, raw as it is.
void put(OutStream& out, ByteView product, const std::string& format);
void warn_all(const Globals& globals, const std::vector<std::string>& warnings);

}  // namespace kmtool::cmd
