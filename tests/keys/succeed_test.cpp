#include "kmtool/keys/succeed.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

#include "core/temp_dir.hpp"

using namespace kmtool;

namespace {

/// An embedded home, made by the program itself.
struct Made {
  test::TempDir folder;
  std::filesystem::path home = folder.path() / "home";

  void kmtool(const std::string& words) const {
    const auto command = "KMTOOL_HOME='" + home.string() + "' '" + std::getenv("KMTOOL_BINARY") + "' " + words + " > /dev/null 2>&1";
    REQUIRE(std::system(command.c_str()) == 0);  // NOLINT(cert-env33-c,concurrency-mt-unsafe)
  }
  [[nodiscard]] op::Context open() const {
    op::Options options;
    options.paths.root = home;
    return op::Context::open(options, op::Need::mutation);
  }
};

keys::SuccessorRequest rotation_of(op::Context& context, const std::string& name) {
  keys::SuccessorRequest request;
  request.key = context.find_key(name).value();
  request.from = context.resolve(name);
  return request;
}

}  // namespace

TEST_CASE("a row that does not say whether a quorum opens the backup decides nothing without the file of its digest") {
  const Made made;
  made.kmtool("init --embedded");
  made.kmtool("gen parent --role kek");
  const auto file = made.folder.path() / "old.kmk";
  made.kmtool("gen old --role kek --backup '" + file.string() + "' --kek parent");
  auto context = made.open();
  auto row = op::backups_of_kek(context, context.resolve("old")).at(0);
  CHECK(row.quorum == "");
  // As an earlier version wrote it.
  row.quorum.reset();
  CHECK_FALSE(row.changes().at(0).value->contains("quorum"));
  context.note("test", "old", Json::object(), {row.changes().at(0)});
  CHECK(op::backups_of_kek(context, context.resolve("old")).at(0).quorum == std::nullopt);

  auto request = rotation_of(context, "old");
  request.backup = made.folder.path() / "new.kmk";
  const auto refused = [&] {
    const auto error = test::error_of([&] { keys::succeed(context, request); });
    return error.exit() == ExitCode::refused && error.message().find("is not on record") != std::string::npos;
  };
  const auto away = made.folder.path() / "away.kmk";
  std::filesystem::rename(file, away);
  CHECK(refused());
  std::filesystem::copy_file(made.home / "config.json", file);
  CHECK(refused());
  std::filesystem::remove(file);
  std::filesystem::rename(away, file);
  const auto done = keys::succeed(context, request);
  CHECK(done.to.label() == "old@2");
  CHECK(op::backups_of_kek(context, done.to).at(0).quorum == "");
}
