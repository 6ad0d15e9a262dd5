#include "kmtool/op/turn.hpp"

#include <doctest/doctest.h>

#include <cstdlib>

#include "core/temp_dir.hpp"
#include "kmtool/core/file.hpp"

using namespace kmtool;

namespace {

/// An embedded home, made by the program itself.
struct Made {
  test::TempDir folder;
  home::Paths paths{folder.path() / "home"};

  Made() { kmtool("init --embedded"); }
  void kmtool(const std::string& words) const {
    const auto command = "KMTOOL_HOME='" + paths.root.string() + "' '" + std::getenv("KMTOOL_BINARY") + "' " + words + " > /dev/null 2>&1";
    REQUIRE(std::system(command.c_str()) == 0);  // NOLINT(cert-env33-c,concurrency-mt-unsafe)
  }
  [[nodiscard]] op::Context open() const {
    op::Options options;
    options.paths = paths;
    return op::Context::open(options, op::Need::mutation);
  }
  void replace(const std::filesystem::path& file, const std::string& before, const std::string& after) const {
    auto text = read_file(file);
    const auto at = text.find(before);
    REQUIRE(at != std::string::npos);
    text.replace(at, before.size(), after);
    write_private_file(file, view(text), true);
  }
  void sink(const std::string& where) const { replace(paths.policy(), "\"checkpoint_sink\": null", "\"checkpoint_sink\": \"" + where + "\""); }
};

Error not_taken(op::Context& context) {
  auto error = test::error_of([&] { op::take_turn(context); });
  CAPTURE(error.message());
  return error;
}

std::uint64_t entries_of(const home::Paths& paths) { return journal::Journal::open(paths.journal(), journal::Journal::Mode::read).size(); }

}  // namespace

TEST_CASE("a policy that was accepted while the turn was given away is the one in force") {
  const Made made;
  auto context = made.open();
  op::give_turn(context);
  const auto sink = made.folder.path() / "checkpoints";
  made.sink("file:" + sink.string());
  made.kmtool("policy accept");
  const auto told = read_file(sink).size();
  op::take_turn(context);
  CHECK(context.home.policy.checkpoint_sink == "file:" + sink.string());
  context.note("test", "anything", Json::object(), {});
  CHECK(read_file(sink).size() > told);
  const auto entry = context.journal().entry(context.journal().size() - 1).json();
  CHECK(entry.at("policy") == context.home.policy_digest);
  CHECK(entry.at("policy") == context.journal().item("policy", "accepted").value().json().at("digest"));
}

TEST_CASE("the next entry takes the turn, and by the policy that is accepted now") {
  const Made made;
  auto context = made.open();
  op::give_turn(context);
  made.replace(made.paths.policy(), "\"sessions\": 1", "\"sessions\": 2");
  made.kmtool("policy accept");
  context.note("test", "anything", Json::object(), {});
  CHECK(context.home.policy.sessions == 2);
}

TEST_CASE("a policy that nobody accepted yet, or that is half written, does not end what waited: the one in force goes on") {
  const Made made;
  auto context = made.open();
  op::give_turn(context);
  made.replace(made.paths.policy(), "\"sessions\": 1", "\"sessions\": 2");
  op::take_turn(context);
  CHECK(context.home.policy.sessions == 1);
  op::give_turn(context);
  write_private_file(made.paths.policy(), view("{\"sess"), true);
  op::take_turn(context);
  CHECK(context.home.policy.sessions == 1);
  context.note("test", "anything", Json::object(), {});
  const auto entry = context.journal().entry(context.journal().size() - 1).json();
  CHECK(entry.at("policy") == context.journal().item("policy", "accepted").value().json().at("digest"));
}

TEST_CASE("neither the policy that lies there nor the one of before is accepted") {
  const Made made;
  auto context = made.open();
  op::give_turn(context);
  made.replace(made.paths.policy(), "\"sessions\": 1", "\"sessions\": 2");
  made.kmtool("policy accept");
  made.replace(made.paths.policy(), "\"sessions\": 2", "\"sessions\": 3");
  const auto error = not_taken(context);
  CHECK(error.exit() == ExitCode::config);
  CHECK(error.message().find("policy.json has changed") != std::string::npos);
}

TEST_CASE("a sink that is a program since then needs a process that can start it") {
  const Made made;
  auto context = made.open();
  op::give_turn(context);
  made.sink("exec:/bin/true");
  made.kmtool("policy accept");
  const auto error = not_taken(context);
  CHECK(error.exit() == ExitCode::busy);
  CHECK(error.message().find("checkpoint_sink") != std::string::npos);
}

TEST_CASE("another configuration may mean another token") {
  const Made made;
  auto context = made.open();
  op::give_turn(context);
  made.replace(made.paths.config(), "\"hardware\": ", "\"hardware\":  ");
  const auto error = not_taken(context);
  CHECK(error.exit() == ExitCode::busy);
  CHECK(error.message().find("config.json was changed") != std::string::npos);
}

TEST_CASE("nothing is written into the journal of a home that was restored meanwhile") {
  const Made made;
  const auto backup = "'" + (made.folder.path() / "home.kmh").string() + "'";
  made.kmtool("home backup " + backup);
  auto context = made.open();
  op::give_turn(context);
  made.kmtool("home restore --force " + backup);
  const auto entries = entries_of(made.paths);
  const auto error = not_taken(context);
  CHECK(error.exit() == ExitCode::busy);
  CHECK(error.message().find("was restored") != std::string::npos);
  // Nor does a second attempt wait for the lock that the first one took.
  CHECK_THROWS_AS(context.note("test", "anything", Json::object(), {}), Error);
  CHECK(entries_of(made.paths) == entries);
  op::Options options;
  options.paths = made.paths;
  options.lock_wait = std::chrono::milliseconds(0);
  CHECK_NOTHROW(op::Context::open(options, op::Need::reader));
  CHECK_NOTHROW(FileLock::acquire(made.paths.mutate_lock(), options.lock_wait));
}
