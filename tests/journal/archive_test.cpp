#include "kmtool/journal/archive.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include "journal/sqlite.hpp"
#include "kmtool/core/file.hpp"

using namespace kmtool;
using namespace kmtool::journal;

namespace {

struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kmtool-archive-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path); }

  std::filesystem::path file(const std::string& name, const std::string& text) const {
    write_private_file(path / name, view(text), false);
    return path / name;
  }
  /// An archive of these, ten bytes a piece.
  std::filesystem::path archive(const std::vector<Archived>& files) const {
    const auto out = file("archive", "");
    write_archive(out, files, 10);
    return out;
  }
  std::vector<std::string> extract() const {
    std::filesystem::remove_all(path / "out");
    make_private_dir(path / "out");
    return extract_archive(path / "archive", path / "out");
  }
  void change(const char* sql) const { Database(path / "archive", SQLITE_OPEN_READWRITE).exec(sql); }
};

}  // namespace

TEST_CASE_FIXTURE(Folder, "what is longer than a piece comes back whole") {
  for (const std::size_t size : std::initializer_list<std::size_t>{0, 1, 9, 10, 11, 20, 21, 95}) {
    CAPTURE(size);
    std::filesystem::remove(path / "archive");
    std::filesystem::remove(path / "a");
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + i % 23);
    archive({{"signers/a.pem", file("a", text)}});
    CHECK(extract() == std::vector<std::string>{"signers/a.pem"});
    CHECK(read_file(path / "out/signers/a.pem") == text);
  }
}

TEST_CASE_FIXTURE(Folder, "a part that is missing, doubled or shortened is damage") {
  archive({{"a", file("a", std::string(35, 'x'))}, {"b", file("b", "short")}});
  CHECK(extract() == std::vector<std::string>{"a", "b"});
  for (const char* sql : {"UPDATE sqlar SET data = 'xx' WHERE name = 'a.part0002-of-0004'", "UPDATE sqlar SET name = 'a.part0002-of-0005' WHERE name = 'a.part0002-of-0004'",
                          "DELETE FROM sqlar WHERE name = 'a.part0001-of-0004'", "DELETE FROM sqlar WHERE name = 'a.part0004-of-0004'", "DELETE FROM sqlar WHERE name = 'a.part0003-of-0004'"}) {
    CAPTURE(sql);
    std::filesystem::remove(path / "archive");
    archive({{"a", path / "a"}, {"b", path / "b"}});
    change(sql);
    CHECK_THROWS_AS(extract(), Error);
  }
}

TEST_CASE_FIXTURE(Folder, "names that lead out of the folder are refused") {
  for (const char* sql : {"UPDATE sqlar SET name = '../a'", "UPDATE sqlar SET name = '/tmp/a'", "UPDATE sqlar SET name = 'x/../../a'", "UPDATE sqlar SET name = ''",
                          "INSERT INTO sqlar SELECT '../c.part0001-of-0002', mode, mtime, sz, data FROM sqlar"}) {
    CAPTURE(sql);
    std::filesystem::remove(path / "archive");
    std::filesystem::remove(path / "a");
    archive({{"a", file("a", "text")}});
    change(sql);
    CHECK_THROWS_AS(extract(), Error);
  }
  file("other", "no database");
  CHECK_THROWS_AS(extract_archive(path / "other", path / "out"), Error);
  CHECK_THROWS_AS(extract_archive(path / "nowhere", path / "out"), Error);
}
