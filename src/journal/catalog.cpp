#include "journal/catalog.hpp"

#include <algorithm>
#include <set>
#include <tuple>

#include "kmtool/core/encoding.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::journal {

namespace {

constexpr int buckets = 256;

int bucket_of(const std::string& kind, const std::string& id) { return crypto::sha256(view(kind + '\0' + id))[0]; }

Error not_as_recorded(const std::string& what) {
  return Error::tampered("the catalog does not agree with the signed journal: " + what,
                         "somebody changed the database behind kmtool; run kmtool doctor, or restore the home from its backup");
}

}  // namespace

const std::vector<const char*>& Catalog::schema() {
  static const std::vector<const char*> statements{
      "CREATE TABLE items(kind TEXT NOT NULL, id TEXT NOT NULL, bucket INTEGER NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL,"
      " PRIMARY KEY(kind, id)) WITHOUT ROWID",
      "CREATE INDEX items_bucket ON items(bucket)",
      "CREATE TABLE buckets(bucket INTEGER PRIMARY KEY, digest BLOB NOT NULL)"};
  return statements;
}

std::optional<Item> Catalog::item(const std::string& kind, const std::string& id) {
  Statement query(db_, "SELECT value, seq FROM items WHERE kind = ? AND id = ?");
  query.bind(1, kind).bind(2, id);
  if (!query.step()) return std::nullopt;
  return Item{kind, id, query.text(0), static_cast<std::uint64_t>(query.integer(1))};
}

std::vector<Item> Catalog::items(const std::string& kind, const std::string& prefix) {
  Statement query(db_, "SELECT id, value, seq FROM items WHERE kind = ? AND id >= ? ORDER BY id");
  query.bind(1, kind).bind(2, prefix);
  std::vector<Item> result;
  while (query.step()) {
    Item item{kind, query.text(0), query.text(1), static_cast<std::uint64_t>(query.integer(2))};
    if (item.id.compare(0, prefix.size(), prefix) != 0) break;
    result.push_back(std::move(item));
  }
  return result;
}

std::vector<Catalog::Digest> Catalog::digests() {
  std::vector<Digest> result(buckets, Digest(32, 0));
  Statement query(db_, "SELECT bucket, digest FROM buckets");
  while (query.step()) {
    const auto bucket = query.integer(0);
    const auto digest = query.blob(1);
    if (bucket < 0 || bucket >= buckets || digest.size() != 32) throw not_as_recorded("a bucket is malformed");
    result[static_cast<std::size_t>(bucket)].assign(digest.begin(), digest.end());
  }
  return result;
}

std::string Catalog::root_of(const std::vector<Digest>& digests) {
  crypto::Digest hash(crypto::Hash::sha256);
  hash.update(view("kmtool-catalog-v1\n"));
  for (const auto& digest : digests) hash.update(digest);
  return hex(hash.value());
}

std::string Catalog::root() { return root_of(digests()); }

namespace {

/// What a bucket's digest is over: lengths before texts, so that no two different rows give the same bytes.
void add_row(std::string& to, ByteView kind, ByteView id, ByteView value, std::uint64_t seq) {
  const auto number = [&to](std::uint64_t of) {
    for (int shift = 56; shift >= 0; shift -= 8) to.push_back(static_cast<char>(of >> shift));
  };
  for (const ByteView text : {kind, id, value}) {
    number(text.size());
    to.append(text.begin(), text.end());
  }
  number(seq);
}

std::vector<std::uint8_t> digest_text(const std::string& rows) {
  if (rows.empty()) return std::vector<std::uint8_t>(32, 0);
  const auto hash = crypto::sha256(view(rows));
  return {hash.begin(), hash.end()};
}

}  // namespace

std::string_view Catalog::Arena::keep(ByteView text) {
  if (text.size() > block_size / 4) {  // one of its own, behind the current one
    auto own = std::make_unique<char[]>(text.size());
    std::ranges::copy(text, own.get());
    const std::string_view kept(own.get(), text.size());
    blocks_.insert(blocks_.empty() ? blocks_.end() : blocks_.end() - 1, std::move(own));
    return kept;
  }
  if (block_size - used_ < text.size()) blocks_.push_back(std::make_unique<char[]>(block_size)), used_ = 0;
  char* place = blocks_.empty() ? nullptr : blocks_.back().get() + used_;
  std::ranges::copy(text, place);
  used_ += text.size();
  return {place, text.size()};
}

Catalog::Digest Catalog::digest_of(const std::vector<Row>& rows) {
  std::string text;
  for (const auto& row : rows) add_row(text, view(row.kind), view(row.id), view(row.value), row.seq);
  return digest_text(text);
}

void Catalog::read_every_row() {
  Statement query(db_, "SELECT bucket, kind, id, value, seq FROM items ORDER BY bucket, kind, id");
  proven_.assign(buckets, {});
  while (query.step()) {
    const auto bucket = query.integer(0);
    if (bucket < 0 || bucket >= buckets) throw not_as_recorded("a row lies in no bucket");
    proven_[static_cast<std::size_t>(bucket)].push_back(
        {arena_.keep(query.blob(1)), arena_.keep(query.blob(2)), arena_.keep(query.blob(3)), static_cast<std::uint64_t>(query.integer(4))});
  }
  for (std::size_t i = 0; i < proven_.size(); ++i) {
    if (digest_of(proven_[i]) != trusted_digests_[i]) throw not_as_recorded("a row of bucket " + std::to_string(i) + " was altered, added or removed");
  }
}

void Catalog::put_into(std::vector<Row>& rows, const Change& change, std::uint64_t seq) {
  const auto place = std::lower_bound(rows.begin(), rows.end(), change, [](const Row& row, const Change& wanted) {
    return std::tuple<std::string_view, std::string_view>(row.kind, row.id) < std::tuple<std::string_view, std::string_view>(wanted.kind, wanted.id);
  });
  const bool there = place != rows.end() && place->kind == change.kind && place->id == change.id;
  if (!change.value) {
    if (there) rows.erase(place);
    return;
  }
  const Row row{arena_.keep(view(change.kind)), arena_.keep(view(change.id)), arena_.keep(view(dump_json(*change.value))), seq};
  if (there) {
    *place = row;
  } else {
    rows.insert(place, row);
  }
}

std::string Catalog::apply(const std::vector<Change>& changes, std::uint64_t seq) {
  // What gets a new digest here is signed next: it must be the proven rows with these changes, and nothing that the database added.
  if (trusted_root_.empty()) throw Error::internal("the catalog was changed before the journal's head was checked");
  if (root() != trusted_root_) throw not_as_recorded("it has changed since it was read");
  Statement put(db_, "INSERT OR REPLACE INTO items(kind, id, bucket, value, seq) VALUES(?, ?, ?, ?, ?)");
  Statement remove(db_, "DELETE FROM items WHERE kind = ? AND id = ?");
  std::set<int> touched;
  for (const auto& change : changes) {
    const int bucket = bucket_of(change.kind, change.id);
    put_into(proven_bucket(bucket), change, seq);
    touched.insert(bucket);
    if (change.value) {
      put.bind(1, change.kind).bind(2, change.id).bind(3, bucket).bind(4, dump_json(*change.value));
      put.bind(5, static_cast<std::int64_t>(seq)).run();
    } else {
      remove.bind(1, change.kind).bind(2, change.id).run();
    }
  }
  Statement store(db_, "INSERT OR REPLACE INTO buckets(bucket, digest) VALUES(?, ?)");
  Statement written(db_, "SELECT kind, id, value, seq FROM items WHERE bucket = ? ORDER BY kind, id");
  for (const int bucket : touched) {
    const auto digest = digest_of(proven_bucket(bucket));
    written.bind(1, bucket);
    std::string text;
    while (written.step()) add_row(text, written.blob(0), written.blob(1), written.blob(2), static_cast<std::uint64_t>(written.integer(3)));
    written.reset();
    if (digest_text(text) != digest) throw not_as_recorded("writing bucket " + std::to_string(bucket) + " gave other rows than were written");
    store.bind(1, bucket).bind_blob(2, digest).run();
    trusted_digests_[static_cast<std::size_t>(bucket)] = digest;
  }
  trusted_root_ = root_of(trusted_digests_);
  return trusted_root_;
}

void Catalog::distrust() {
  proven_.clear();
  arena_.clear();
  trusted_digests_.clear();
  trusted_root_.clear();
}

void Catalog::trust(const std::string& root) {
  distrust();
  trusted_digests_ = digests();
  if (root_of(trusted_digests_) != root) throw not_as_recorded("its root differs from the newest signed entry's");
  read_every_row();
  trusted_root_ = root;
}

std::vector<Catalog::Row>& Catalog::proven_bucket(int bucket) {
  if (trusted_root_.empty()) throw Error::internal("the catalog was read before the journal's head was checked");
  return proven_.at(static_cast<std::size_t>(bucket));
}

std::optional<Item> Catalog::proven(const std::string& kind, const std::string& id) {
  for (const auto& row : proven_bucket(bucket_of(kind, id))) {
    if (row.kind == kind && row.id == id) return row.item();
  }
  return std::nullopt;
}

void Catalog::each_proven(const std::string& kind, const std::function<void(const Item&)>& visit) {
  std::vector<const Row*> rows;
  for (int bucket = 0; bucket < buckets; ++bucket) {
    for (const auto& row : proven_bucket(bucket)) {
      if (row.kind == kind) rows.push_back(&row);
    }
  }
  std::ranges::sort(rows, {}, [](const Row* row) { return row->id; });
  for (const Row* row : rows) visit(row->item());
}

}  // namespace kmtool::journal
