#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "journal/sqlite.hpp"
#include "kmtool/journal/journal.hpp"

namespace kmtool::journal {

/// The authenticated catalog: 256 buckets of rows, a digest each, one root over all (journal.hpp says why).
class Catalog {
 public:
  explicit Catalog(Database& db) : db_(db) {}
  /// The statements that make its tables, as SQLite keeps them.
  static const std::vector<const char*>& schema();

  [[nodiscard]] std::optional<Item> item(const std::string& kind, const std::string& id);
  [[nodiscard]] std::vector<Item> items(const std::string& kind, const std::string& prefix);

  /// Applies changes made by entry `seq` to proven rows and gives the new root, hex. Throws damaged (65) when the rows that are touched
  /// are not the proven ones, or when the database holds others afterwards. After trust().
  std::string apply(const std::vector<Change>& changes, std::uint64_t seq);
  [[nodiscard]] std::string root();

  /// Rows are checked against this root from now on.
  void trust(const std::string& root);
  /// Forgets what was proven (after a rollback).
  void distrust();
  [[nodiscard]] const std::string& trusted_root() const { return trusted_root_; }
  [[nodiscard]] std::optional<Item> proven(const std::string& kind, const std::string& id);
  /// Visits the rows of a kind, sorted by id.
  void each_proven(const std::string& kind, const std::function<void(const Item&)>& visit);

 private:
  using Digest = std::vector<std::uint8_t>;
  /// A proven row; its texts lie in the arena, which takes and frees a catalog of many rows at once.
  struct Row {
    std::string_view kind, id, value;
    std::uint64_t seq = 0;
    [[nodiscard]] Item item() const { return {std::string(kind), std::string(id), std::string(value), seq}; }
  };
  class Arena {
   public:
    std::string_view keep(ByteView text);
    void clear() { blocks_.clear(), used_ = block_size; }

   private:
    static constexpr std::size_t block_size = std::size_t{64} << 10;
    std::vector<std::unique_ptr<char[]>> blocks_;
    std::size_t used_ = block_size;
  };
  std::vector<Digest> digests();
  /// One pass over all rows (about 2 us each), which are kept: what is decided on later is what was proven, and no statement is spent on
  /// it again.
  void read_every_row();
  static std::string root_of(const std::vector<Digest>& digests);
  static Digest digest_of(const std::vector<Row>& rows);
  std::vector<Row>& proven_bucket(int bucket);
  /// The same change on rows in memory, which are sorted by kind and id.
  void put_into(std::vector<Row>& rows, const Change& change, std::uint64_t seq);

  Database& db_;
  std::string trusted_root_;
  std::vector<Digest> trusted_digests_;
  Arena arena_;
  std::vector<std::vector<Row>> proven_;  ///< by bucket, sorted by kind and id
};

}  // namespace kmtool::journal
