#include "kmtool/ceremony/runbook.hpp"

#include <doctest/doctest.h>

#include "core/temp_dir.hpp"
#include "kmtool/core/error.hpp"

namespace kmtool::ceremony {

namespace {

std::string in_block(const std::string& command) { return "# T\n\n```kmtool\n" + command + "\n```\n"; }

Error error_of(const std::string& text) {
  try {
    parse_runbook(text, "book.md");
  } catch (const Error& error) {
    return error;
  }
  FAIL("it was read: " << text);
  throw std::logic_error("unreachable");
}

}  // namespace

TEST_CASE("steps, checks, scenes and prose") {
  const auto book = parse_runbook(R"(# The first KEK

People sit down.

```rehearsal there
init-is-not-needed
```

```rehearsal here
gen old --role kek
```

## Make it

Say *aloud* what is done.

```kmtool
# a comment
kmtool gen root --role kek \
    --owner "The Board"
show root > "root card.txt"
```

```check
json keys[0].state equals active
file 'root card.txt' exists
```

```sh
this is prose
```

1. Look:

   ```kmtool
   list --json
   ```

Goodbye.
)",
                                  "book.md");
  CHECK(book.title == "The first KEK");
  CHECK(book.digest.size() == 64);
  REQUIRE(book.scenes.size() == 2);
  CHECK(book.scenes[0].there);
  CHECK_FALSE(book.scenes[1].there);
  CHECK(book.scenes[1].command.argv == std::vector<std::string>{"gen", "old", "--role", "kek"});
  REQUIRE(book.steps.size() == 3);
  CHECK(book.steps[0].title == "Make it");
  CHECK(book.steps[0].command.argv == std::vector<std::string>{"gen", "root", "--role", "kek", "--owner", "The Board"});
  CHECK(book.steps[0].command.line == 19);
  CHECK(book.steps[0].prose.find("People sit down.") != std::string::npos);
  CHECK(book.steps[0].prose.find("Say *aloud*") != std::string::npos);
  CHECK(book.steps[0].prose.find("init-is-not-needed") == std::string::npos);
  REQUIRE(book.steps[0].checks.size() == 1);
  CHECK(book.steps[0].checks[0].text == "exit 0");
  CHECK(book.steps[1].command.argv == std::vector<std::string>{"show", "root"});
  CHECK(book.steps[1].command.into == "root card.txt");
  CHECK(book.steps[1].command.files() == std::vector<std::string>{"root card.txt"});
  CHECK(book.steps[1].checks.size() == 3);
  CHECK(book.steps[1].checks[2].line == 26);
  CHECK(book.steps[2].prose.find("this is prose") != std::string::npos);
  CHECK(book.closing == "Goodbye.\n");
}

TEST_CASE("what no runbook may ask for") {
  for (const char* command :
       {"list --home /x", "--home=/x", "list --home=/x", "init --module /x.so --token-label t", "token --module=/x",
        "rotate --due --hook /bin/sh", "rotate --hook=/bin/sh", "list --pin-source exec:id", "list --pin-source=exec:id",
        "wrap --all exec:id", "list --pin-source file:/x", "ceremony run x --transcript y", "apikey exec --app a --set A=b",
        "init --module-args=x --module y"}) {
    const auto error = error_of(in_block(command));
    CHECK_MESSAGE((error.exit() == ExitCode::refused || error.message().find("command must come first") != std::string::npos),
                  command);
    CHECK(error.message().find("book.md: line 4:") != std::string::npos);
  }
}

TEST_CASE("there is no shell") {
  for (const char* command : {"list | tee x", "list ; list", "list && list", "list > a > b", "list >> a", "list < a",
                              "list > a b", "list 'x", "> a", "list 2> a", "'' list", "kmtool \"\"", "list \\ \\"}) {
    CHECK_MESSAGE(error_of(in_block(command)).exit() == ExitCode::damaged, command);
  }
  // Words that only look like it are words.
  CHECK(parse_runbook(in_block("state root deactivate --reason 'a; b | c > d $(x) `y`'"), "b").steps[0].command.argv.back() ==
        "a; b | c > d $(x) `y`");
}

TEST_CASE("a heading without words gives no title") {
  const auto book = parse_runbook("#\n\n```kmtool\nlist\n```\n", "book.md");
  CHECK(book.title == "book.md");
  CHECK(book.steps[0].title == "list");
}

TEST_CASE("mistakes in a runbook are named with their line") {
  CHECK(error_of("# T\n\nnothing\n").message().find("nothing to do") != std::string::npos);
  CHECK(error_of("```kmtol\nlist\n```\n").hint() == "did you mean kmtool?");
  CHECK(error_of("```check\nexit 0\n```\n").message().find("before any command") != std::string::npos);
  CHECK(error_of("```kmtool\nlist\n```\n```check\nexit zero\n```\n").message().find("line 5: this check is not understood") !=
        std::string::npos);
  CHECK(error_of("```kmtool\nlist\n```\n```rehearsal here\nlist\n```\n").message().find("after a step") != std::string::npos);
  CHECK(error_of("```rehearsal\nlist\n```\n").message().find("where") != std::string::npos);
  CHECK(error_of("```kmtool\n# nothing\n```\n").message().find("without a command") != std::string::npos);
  CHECK(error_of("```kmtool\nlist \x1b[2J\n```\n").message().find("cannot be seen") != std::string::npos);
  CHECK(error_of("```kmtool\nlist \xff\n```\n").exit() == ExitCode::damaged);
  for (const char* check :
       {"exit", "exit -1", "contains", "json", "json a", "json a equals", "json a..b exists", "json a[ exists", "json [x] exists",
        "json a. exists", "json a count x", "file x", "file x is there", "error has x", "maybe"}) {
    CHECK_MESSAGE(error_of(in_block("list") + "```check\n" + check + "\n```\n").exit() == ExitCode::damaged, check);
  }
}

TEST_CASE("checks hold or say what was found instead") {
  const test::TempDir dir;
  const auto there = dir.file("there.txt", "x");
  const Ran ran{3, R"({"keys":[{"state":"active","n":1},{"state":"active","n":2}],"ok":true,"none":null})",
                "error: no such key\n"};
  const auto verdict = [&](const std::string& check, const Ran* of) {
    const auto book = parse_runbook(in_block("list") + "```check\nexit 3\n" + check + "\n```\n", "b");
    return judge(book.steps[0].checks, of, dir.path()).back();
  };
  for (const char* check :
       {"exit 3", "contains active", "contains  \"ok\":true",  "lacks suspended", "error contains no such key",
        "json ok equals true", "json none equals null", "json keys[1].n equals 2", "json keys[*].state equals active",
        "json keys count 2", "json keys[0].state exists", "file there.txt exists", "file missing.txt absent"}) {
    CHECK_MESSAGE(verdict(check, &ran).kind == Verdict::Kind::ok, check);
  }
  for (const auto& [check, found] : {std::pair{"exit 0", "it ended with 3"},
                                     {"contains suspended", "it is not there"},
                                     {"lacks active", "it is there"},
                                     {"error contains x y z", "it is not there"},
                                     {"json ok equals false", "it is true"},
                                     {"json keys[*].n equals 1", "it is 2"},
                                     {"json keys[2] exists", "there is no keys[2]"},
                                     {"json keys count 3", "there are 2"},
                                     {"json ok count 1", "it is no list"},
                                     {"json keys.state exists", "there is no"},
                                     {"file missing.txt exists", "no such file"},
                                     {"file there.txt absent", "it exists"}}) {
    const auto got = verdict(check, &ran);
    const std::string asked = check;
    CHECK_MESSAGE(got.kind == Verdict::Kind::failed, asked);
    CHECK_MESSAGE(got.text.find(found) != std::string::npos, got.text);
  }
  const Ran plain{0, "no document", ""};
  CHECK(verdict("json ok exists", &plain).text.find("is --json missing") != std::string::npos);
  CHECK(verdict("contains active", nullptr).kind == Verdict::Kind::unknown);
  CHECK(verdict("file there.txt exists", nullptr).kind == Verdict::Kind::ok);
}

}  // namespace kmtool::ceremony
