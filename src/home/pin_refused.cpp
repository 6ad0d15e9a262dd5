#include "kmtool/home/refused_pin.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include "kmtool/core/file.hpp"

namespace kmtool::home {

namespace {

std::filesystem::path note_of(const Paths& paths) { return paths.root / "pin.refused"; }

/// Empty for what has no identity of its own: a variable, a command, a descriptor, a person.
std::string identity_of(const PinSource& source) {
  struct stat info {};
  if (source.kind != PinSource::Kind::file || stat(source.value.c_str(), &info) != 0) return {};
  return fmt::format("{}:{}:{}:{}.{}:{}.{}\n", info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec,
                     info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
}

}  // namespace

void require_untried(const Paths& paths, const PinSource& source) {
  const auto identity = identity_of(source);
  std::error_code error;
  if (identity.empty() || !std::filesystem::exists(note_of(paths), error)) return;
  if (read_trusted(note_of(paths)) != identity) return;
  throw Error::refused("pin-refused-before", "the token has refused the PIN in " + source.value + ", and the file has not changed since",
                       "put the right PIN into it, or type it: --pin-source prompt; where the token's PIN was changed to this one, touch the file");
}

void note_refused_pin(const Paths& paths, const PinSource& source) noexcept try {
  if (const auto identity = identity_of(source); !identity.empty()) write_private_file(note_of(paths), view(identity), true);
} catch (const std::exception&) {  // a full disk, or a home that cannot be written, must not hide that the PIN is wrong
}

PinNote pin_note(const Paths& paths, const PinSource& source) {
  std::error_code error;
  if (!std::filesystem::exists(note_of(paths), error)) return PinNote::none;
  const auto identity = identity_of(source);
  return identity.empty() || read_trusted(note_of(paths)) == identity ? PinNote::refused : PinNote::changed;
}

void forget_refused_pin(const Paths& paths) {
  std::error_code ignored;
  std::filesystem::remove(note_of(paths), ignored);
}

}  // namespace kmtool::home
