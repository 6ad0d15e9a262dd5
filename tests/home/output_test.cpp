#include <doctest/doctest.h>

#include "core/temp_dir.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/home/home.hpp"

using namespace kmtool;
using test::TempDir;

TEST_CASE("no output takes the place of a home's own file") {
  const TempDir dir;
  const auto refused = [&](const char* name) {
    try {
      home::check_output(dir / name, true);
    } catch (const Error& error) {
      return error.exit() == ExitCode::exists;
    }
    return false;
  };
  CHECK_FALSE(refused("config.json"));  // a folder that is no home
  CHECK_FALSE(refused("token.pin"));
  const home::Paths paths{dir.path()};
  write_private_file(paths.config(), {}, false);
  write_private_file(paths.journal(), {}, false);
  make_private_dir(paths.token_dir());
  for (const char* name : {"config.json", "journal.db", "journal.db-wal", "usage.db", "token.pin", "signers", "token/object", "mutate.lock"}) CHECK(refused(name));
  CHECK_FALSE(refused("payments.kmb"));
  CHECK(home::check_output(dir / "payments.kmb", false) == dir / "payments.kmb");
  const auto folder_refused = [](const std::filesystem::path& folder) {
    try {
      home::check_folder(folder);
    } catch (const Error& error) {
      return error.exit() == ExitCode::exists;
    }
    return false;
  };
  for (const auto& folder : {dir.path(), dir / "restore.new", dir / "restore.ready/deeper", dir / "none/../token/x/y", paths.signers()}) CHECK(folder_refused(folder));
  for (const auto& folder : {dir / "record", dir / "record/signers", dir / "none/../record", dir.path().parent_path() / "beside"}) CHECK_FALSE(folder_refused(folder));
}
