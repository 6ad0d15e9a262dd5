#include "kmtool/op/records.hpp"

#include <doctest/doctest.h>

using namespace kmtool;
using namespace kmtool::op;

namespace {

journal::Item item_of(const journal::Change& change) { return {change.kind, change.id, dump_json(change.value.value()), 0}; }

/// What the row says is what was put in, and a row that was read is written again as it was.
template <class Record>
Record there_and_back(const Record& record) {
  const auto row = item_of(record.change());
  const auto back = Record::from(row);
  CHECK(item_of(back.change()).value == row.value);
  return back;
}

VersionRecord version() {
  VersionRecord version;
  version.name = "root";
  version.version = 7;
  version.id = Bytes(16, 0xab);
  version.role = Role::kek;
  version.state = State::suspended;
  version.origin = "imported";
  version.created = 1700000000;
  version.changed = 1700000100;
  version.expires = 1800000000;
  version.reason = "a card was lost";
  version.waivers = {{"G-KEK", "until the new HSM is here"}};
  return version;
}

}  // namespace

TEST_CASE("a version's row") {
  const auto back = there_and_back(version());
  CHECK(back.label() == "root@7");
  CHECK(back.state == State::suspended);
  CHECK(back.expires == 1800000000);
  CHECK_FALSE(back.activated);
  CHECK(back.waivers.at(0).reason == "until the new HSM is here");
  CHECK(back.quorum.empty());
}

TEST_CASE("a version's quorum: kept, and absent from the rows of those that have none") {
  auto record = version();
  CHECK_FALSE(record.change().value->contains("quorum"));  // as rows of a kmtool that did not keep it
  record.quorum = "3/5";
  CHECK(there_and_back(record).quorum == "3/5");
}

TEST_CASE("a row with a member that no kmtool wrote, or without one, is tampered with") {
  auto row = item_of(version().change());
  auto json = row.json();
  json["colour"] = "red";
  CHECK_THROWS_AS(VersionRecord::from({row.kind, row.id, dump_json(json), 0}), Error);
  json.erase("colour");
  json.erase("state");
  CHECK_THROWS_AS(VersionRecord::from({row.kind, row.id, dump_json(json), 0}), Error);
}

TEST_CASE("a bundle's row: whether it needs a quorum is one of three") {
  BundleRecord bundle;
  bundle.id = "00000000-0000-4000-8000-000000000000";
  bundle.kind = "kek";
  bundle.path = "/vault/root.kmk";
  bundle.created = 1700000000;
  for (const auto& quorum : {std::optional<std::string>(), std::optional<std::string>(""), std::optional<std::string>("2/3")}) {
    bundle.quorum = quorum;
    const auto back = BundleRecord::from(item_of(bundle.changes().front()));
    CHECK(back.quorum == quorum);
    CHECK(back.path == bundle.path);
  }
}
