#include "journal/rebuild.hpp"

#include <fmt/format.h>

namespace kmtool::journal {

const std::string& Rebuild::name_of(std::string_view kind, std::string_view id) {
  name_.assign(kind).push_back('\0');
  return name_.append(id);
}

Rebuild::Rows::value_type*& Rebuild::recent(const std::string& name) {
  return recent_[(name.size() * 31 + static_cast<unsigned char>(name.back())) % recent_.size()];
}

void Rebuild::set(const std::string& name, bool removed, std::uint64_t seq) {
  auto*& known = recent(name);
  if (removed) {
    if (known != nullptr && known->first == name) known = nullptr;
    if (const auto found = rows_.find(name); found != rows_.end()) rows_.erase(found);
    return;
  }
  if (known == nullptr || known->first != name) known = &*rows_.try_emplace(name).first;
  known->second = seq;
}

bool Rebuild::add(std::uint64_t seq, std::string_view entry, const Marks& marks) {
  if (marks.closes) {
    for (const auto& part : pending_) set(part.name, part.removed, seq);
    pending_.clear();
  }
  if (marks.changes_nothing) return true;
  return each_change(entry, marks, [&](const RawChange& change) {
    const auto& name = name_of(change.kind, change.id);
    if (marks.closes) set(name, change.value.empty(), seq);
    else pending_.push_back({name, change.value.empty()});
  });
}

namespace {

/// The value that the draft ending at `seq` gave to a row; its parts stand before it.
std::string value_in(Statement& back_from, std::uint64_t seq, const std::string& kind, const std::string& id) {
  back_from.reset();
  back_from.bind(1, static_cast<std::int64_t>(seq));
  for (bool last = true; back_from.step(); last = false) {
    const auto entry = back_from.text(0);
    const auto marks = marks_of(entry);
    if (!last && (marks.closes || !marks.authenticated)) break;
    std::string in_this;
    each_change(entry, marks, [&](const RawChange& change) {
      if (change.kind == kind && change.id == id) in_this = change.value;
    });
    if (!in_this.empty()) return in_this;
  }
  return {};
}

}  // namespace

void Rebuild::compare(Database& db, Findings& findings) {
  Statement query(db, "SELECT kind, id, value, seq FROM items ORDER BY kind, id");
  Statement back_from(db, "SELECT data FROM entries WHERE seq <= ? ORDER BY seq DESC");
  std::size_t met = 0;
  while (query.step()) {
    const auto kind = query.text(0), id = query.text(1);
    const auto said = static_cast<std::uint64_t>(query.integer(3));
    const auto found = rows_.find(name_of(kind, id));
    const std::string row = fmt::format("the catalog's row {} {}", kind, id);
    if (found == rows_.end()) {
      findings.add(row + " is in no entry: it was added behind kmtool's back");
      continue;
    }
    ++met;
    if (found->second != said) {
      findings.add(row + " says that entry " + std::to_string(said) + " set it, but entry " + std::to_string(found->second) + " did");
    } else if (value_in(back_from, said, kind, id) != query.text(2)) {
      findings.add(row + " is not what entry " + std::to_string(said) + " says: it was altered");
    }
  }
  if (met < rows_.size()) name_the_missing(db, findings);
}

void Rebuild::name_the_missing(Database& db, Findings& findings) {
  Statement entries(db, "SELECT data FROM entries ORDER BY seq");
  Statement there(db, "SELECT 1 FROM items WHERE kind = ? AND id = ?");
  while (entries.step()) {
    const auto entry = entries.text(0);
    each_change(entry, marks_of(entry), [&](const RawChange& change) {
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
