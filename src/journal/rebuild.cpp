#include "journal/rebuild.hpp"

#include "journal/changes.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::journal {

Rebuild::Name Rebuild::name_of(const std::string& kind, const std::string& id) {
  static thread_local std::string text;
  text.assign(kind).push_back('\0');
  text += id;
  const auto digest = crypto::sha256(view(text));
  Name name{};
  std::copy(digest.begin(), digest.begin() + name.size(), name.begin());
  return name;
}

bool Rebuild::add(std::uint64_t seq, std::string_view entry) {
  if (!changes_nothing(entry)) {
    const auto take = [this](const RawChange& change) { pending_.push_back({name_of(change.kind, change.id), change.value.empty()}); };
    if (!each_change(entry, take)) return false;
  }
  if (!closes_draft(entry)) return true;
  for (const auto& change : pending_) {
    if (change.removed) {
      rows_.erase(change.name);
    } else {
      rows_[change.name] = seq;
    }
  }
  pending_.clear();
  return true;
}

namespace {

/// The value that the draft ending at `seq` gave to a row; its parts stand before it.
std::string value_in(Database& db, std::uint64_t seq, const std::string& kind, const std::string& id) {
  Statement query(db, "SELECT data FROM entries WHERE seq <= ? ORDER BY seq DESC");
  query.bind(1, static_cast<std::int64_t>(seq));
  for (bool last = true; query.step(); last = false) {
    const auto entry = query.text(0);
    if (!last && (closes_draft(entry) || !says_authenticated(entry))) break;
    std::string in_this;
    each_change(entry, [&](const RawChange& change) {
      if (change.kind == kind && change.id == id) in_this = change.value;
    });
    if (!in_this.empty()) return in_this;
  }
  return {};
}

}  // namespace

void Rebuild::compare(Database& db, Findings& findings) {
  Statement query(db, "SELECT kind, id, value, seq FROM items ORDER BY kind, id");
  std::size_t met = 0;
  while (query.step()) {
    const auto kind = query.text(0), id = query.text(1);
    const auto said = static_cast<std::uint64_t>(query.integer(3));
    const auto found = rows_.find(name_of(kind, id));
    const std::string row = "the catalog's row " + kind + " " + id;
    if (found == rows_.end()) {
      findings.add(row + " is in no entry: it was added behind kmtool's back");
      continue;
    }
    ++met;
    if (found->second != said) {
      findings.add(row + " says that entry " + std::to_string(said) + " set it, but entry " + std::to_string(found->second) + " did");
    } else if (value_in(db, said, kind, id) != query.text(2)) {
      findings.add(row + " is not what entry " + std::to_string(said) + " says: it was altered");
    }
  }
  if (met < rows_.size()) name_the_missing(db, findings);
}

void Rebuild::name_the_missing(Database& db, Findings& findings) {
  Statement entries(db, "SELECT data FROM entries ORDER BY seq");
  Statement there(db, "SELECT 1 FROM items WHERE kind = ? AND id = ?");
  while (entries.step()) {
    each_change(entries.text(0), [&](const RawChange& change) {
      const auto row = rows_.find(name_of(change.kind, change.id));
      if (row == rows_.end() || change.value.empty()) return;
      there.bind(1, change.kind).bind(2, change.id);
      const bool found = there.step();
      there.reset();
      if (found) return;
      findings.add("the catalog lacks row " + change.kind + " " + change.id + ", which entry " + std::to_string(row->second) + " set: it was removed");
      rows_.erase(row);
    });
  }
}

}  // namespace kmtool::journal
