#include "kmtool/tlog/tree.hpp"

#include <doctest/doctest.h>

#include <bit>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"

using namespace kmtool;
using namespace kmtool::tlog;

namespace {

/// A tree in memory, stored as the journal stores it.
struct Tree {
  std::vector<Hash> leaves, stored;
  mutable std::size_t reads = 0, calls = 0;

  [[nodiscard]] HashReader reader() const {
    return [this](const std::vector<std::uint64_t>& indexes) {
      ++calls;
      reads += indexes.size();
      std::vector<Hash> hashes;
      for (const auto index : indexes) hashes.push_back(stored.at(index));
      return hashes;
    };
  }
  void add(const Hash& leaf) {
    for (const Hash& hash : hashes_for_append(leaves.size(), leaf, reader())) stored.push_back(hash);
    leaves.push_back(leaf);
  }
  static Tree of(std::size_t size) {
    Tree tree;
    for (std::size_t i = 0; i < size; ++i) tree.add(leaf_hash(view("leaf " + std::to_string(i))));
    return tree;
  }
};

/// RFC 6962, 2.1, word for word: MTH(D[begin:end]).
Hash reference_root(const std::vector<Hash>& leaves, std::size_t begin, std::size_t end) {
  if (end - begin == 1) return leaves[begin];
  std::size_t k = 1;
  while (k * 2 < end - begin) k *= 2;
  return node_hash(reference_root(leaves, begin, begin + k), reference_root(leaves, begin + k, end));
}

Hash flipped(Hash hash) {
  hash[7] = static_cast<std::uint8_t>(hash[7] ^ 0x10);
  return hash;
}

/// The certificate-transparency project's test tree.
const std::vector<std::string> ct_leaves{
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
const std::vector<std::string> ct_roots{"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

Tree ct_tree() {
  Tree tree;
  for (const auto& leaf : ct_leaves) tree.add(leaf_hash(from_hex(leaf).value()));
  return tree;
}

constexpr std::size_t most = 64;

}  // namespace

TEST_CASE("the certificate-transparency vectors: roots") {
  CHECK(hex(empty_root()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const Tree tree = ct_tree();
  CHECK(root_of(0, tree.reader()) == empty_root());
  for (std::size_t size = 1; size <= 8; ++size) CHECK(hex(root_of(size, tree.reader())) == ct_roots[size - 1]);
}

TEST_CASE("the certificate-transparency vectors: proofs") {
  const Tree tree = ct_tree();
  const auto texts = [](const Proof& proof) {
    std::vector<std::string> all;
    for (const Hash& hash : proof) all.push_back(hex(hash));
    return all;
  };
  using Texts = std::vector<std::string>;
  CHECK(texts(prove_inclusion(0, 1, tree.reader())).empty());
  CHECK(texts(prove_inclusion(0, 8, tree.reader())) == Texts{"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                                                             "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                                                             "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"});
  CHECK(texts(prove_inclusion(5, 8, tree.reader())) == Texts{"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                                                             "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                                                             "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"});
  CHECK(texts(prove_inclusion(2, 3, tree.reader())) == Texts{ct_roots[1]});
  CHECK(texts(prove_consistency(1, 8, tree.reader())) == texts(prove_inclusion(0, 8, tree.reader())));
  CHECK(texts(prove_consistency(6, 8, tree.reader())) ==
        Texts{"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
              "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
              "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"});
  CHECK(texts(prove_consistency(2, 5, tree.reader())) ==
        Texts{"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
              "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"});
}

TEST_CASE("leaves and nodes are hashed apart") {
  const Hash left = leaf_hash(view("l")), right = leaf_hash(view("r"));
  Bytes both{1};
  append(both, left);
  append(both, right);
  CHECK(leaf_hash(both) != node_hash(left, right));
  CHECK(node_hash(left, right) != node_hash(right, left));
}

TEST_CASE("stored hashes: the numbers are a sequence without gaps, in the order of completion") {
  std::uint64_t next = 0;
  for (std::uint64_t n = 0; n < 3000; ++n) {
    CHECK(stored_count(n) == next);
    for (unsigned level = 0; level <= static_cast<unsigned>(std::countr_one(n)); ++level)
      CHECK(stored_index(level, n >> level) == next++);
  }
  // As golang.org/x/mod/sumdb/tlog numbers them.
  CHECK(stored_index(0, 0) == 0);
  CHECK(stored_index(0, 1) == 1);
  CHECK(stored_index(1, 0) == 2);
  CHECK(stored_index(0, 2) == 3);
  CHECK(stored_index(2, 0) == 6);
  CHECK(stored_index(0, 4) == 7);
  CHECK(stored_count(4) == 7);
  CHECK(stored_count(std::uint64_t{1} << 40) == (std::uint64_t{1} << 41) - 1);
}

TEST_CASE("roots of every size, against RFC 6962 word for word") {
  const Tree tree = Tree::of(most);
  CHECK(tree.stored.size() == stored_count(most));
  for (std::size_t size = 1; size <= most; ++size) CHECK(root_of(size, tree.reader()) == reference_root(tree.leaves, 0, size));
}

TEST_CASE("a root costs one call and no more reads than the size has bits") {
  const Tree tree = Tree::of(1000);
  tree.reads = tree.calls = 0;
  root_of(999, tree.reader());
  CHECK(tree.calls == 1);
  CHECK(tree.reads == static_cast<std::size_t>(std::popcount(999U)));
  tree.calls = 0;
  prove_inclusion(500, 999, tree.reader());
  prove_consistency(300, 999, tree.reader());
  CHECK(tree.calls == 2);
}

TEST_CASE("inclusion: every leaf of every tree, and nothing else") {
  const Tree tree = Tree::of(most);
  for (std::size_t size = 1; size <= most; ++size) {
    const Hash root = root_of(size, tree.reader());
    for (std::size_t leaf = 0; leaf < size; ++leaf) {
      const Proof proof = prove_inclusion(leaf, size, tree.reader());
      const Hash& hash = tree.leaves[leaf];
      CHECK(check_inclusion(proof, leaf, size, hash, root));
      CHECK_FALSE(check_inclusion(proof, leaf, size, flipped(hash), root));
      CHECK_FALSE(check_inclusion(proof, leaf, size, hash, flipped(root)));
      for (std::size_t other = 0; other < size + 2; ++other) {
        if (other != leaf) CHECK_FALSE(check_inclusion(proof, other, size, hash, root));
      }
      Proof longer = proof;
      longer.push_back(hash);
      CHECK_FALSE(check_inclusion(longer, leaf, size, hash, root));
      for (std::size_t i = 0; i < proof.size(); ++i) {
        Proof damaged = proof;
        damaged[i] = flipped(damaged[i]);
        CHECK_FALSE(check_inclusion(damaged, leaf, size, hash, root));
        Proof shorter = proof;
        shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(i));
        CHECK_FALSE(check_inclusion(shorter, leaf, size, hash, root));
      }
    }
  }
}

TEST_CASE("consistency: every pair of sizes, and nothing else") {
  const Tree tree = Tree::of(most);
  std::vector<Hash> roots;
  for (std::size_t size = 0; size <= most; ++size) roots.push_back(root_of(size, tree.reader()));
  for (std::size_t size = 0; size <= most; ++size) {
    for (std::size_t old = 0; old <= size; ++old) {
      CAPTURE(old);
      CAPTURE(size);
      const Proof proof = prove_consistency(old, size, tree.reader());
      CHECK(check_consistency(proof, old, size, roots[old], roots[size]));
      CHECK_FALSE(check_consistency(proof, old, size, flipped(roots[old]), roots[size]));
      // From nothing, every tree is reached: the old size says all there is to say.
      if (old != 0) CHECK_FALSE(check_consistency(proof, old, size, roots[old], flipped(roots[size])));
      Proof longer = proof;
      longer.push_back(roots[size]);
      CHECK_FALSE(check_consistency(longer, old, size, roots[old], roots[size]));
      for (std::size_t i = 0; i < proof.size(); ++i) {
        Proof damaged = proof;
        damaged[i] = flipped(damaged[i]);
        CHECK_FALSE(check_consistency(damaged, old, size, roots[old], roots[size]));
        Proof shorter = proof;
        shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(i));
        CHECK_FALSE(check_consistency(shorter, old, size, roots[old], roots[size]));
      }
      if (old != size) CHECK_FALSE(check_consistency(proof, size, old, roots[size], roots[old]));
    }
  }
}

TEST_CASE("consistency: a log that was rewritten has no proof") {
  const Tree honest = Tree::of(40);
  Tree forked;
  for (std::size_t i = 0; i < 50; ++i) forked.add(i == 17 ? leaf_hash(view("rewritten")) : honest.leaves[i % 40]);
  const Hash old_root = root_of(40, honest.reader());
  CHECK_FALSE(check_consistency(prove_consistency(40, 50, forked.reader()), 40, 50, old_root, root_of(50, forked.reader())));
}

TEST_CASE("what lies outside the tree is not proved, and a reader that gives too little is found out") {
  const Tree tree = Tree::of(4);
  CHECK_THROWS_AS(prove_inclusion(4, 4, tree.reader()), Error);
  CHECK_THROWS_AS(prove_inclusion(0, 0, tree.reader()), Error);
  CHECK_THROWS_AS(prove_consistency(5, 4, tree.reader()), Error);
  CHECK_THROWS_AS(root_of(~std::uint64_t{0}, tree.reader()), Error);
  CHECK_FALSE(check_inclusion({}, 0, 0, {}, empty_root()));
  const HashReader short_reader = [](const std::vector<std::uint64_t>&) { return std::vector<Hash>{}; };
  CHECK_THROWS_AS(root_of(4, short_reader), Error);
  CHECK_THROWS_AS(hashes_for_append(3, {}, short_reader), Error);
  CHECK(hashes_for_append(4, {}, short_reader).size() == 1);  // completes nothing, needs nothing
}

TEST_CASE("sizes from strangers cost nothing and prove nothing") {
  const Proof proof(64);
  const std::uint64_t enormous = ~std::uint64_t{0};
  CHECK_FALSE(check_inclusion(proof, enormous - 1, enormous, {}, {}));
  CHECK_FALSE(check_consistency(proof, enormous - 1, enormous, {}, {}));
  CHECK_FALSE(check_inclusion({}, 0, enormous, {}, {}));
  CHECK_FALSE(check_consistency({}, 1, enormous, {}, {}));
}
