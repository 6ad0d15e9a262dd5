#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/core/json.hpp"

namespace kmtool::bundle {

/// The rules of the format about values. Reader and writer hold the same ones, so that nothing is written that could not be read
/// back. `fail` must throw.
void check_header(const Header& header, const JsonFail& fail);
void check_record(const Record& record, const Header& header, const JsonFail& fail);
/// The HMAC key of a KEK, after its AES key: everything but the type must agree.
void check_second(const Record& first, const Record& second, const JsonFail& fail);
/// The public half is a key of the record's type in its one encoding. Apart from check_record because it is slow, and the
/// writer's comes from the same code.
void check_public(const Record& record, const JsonFail& fail);
void check_seals(const std::vector<Seal>& seals, const Header& header, const JsonFail& fail);
/// Who seals, in order.
std::vector<std::size_t> sealers_of(const Header& header);
void check_signature(const Signature& signature, const JsonFail& fail);

/// Names and CKA_IDs that must be unique within one bundle, in 32 octets a record: a table of full values would not be flat, and
/// a hash table could be flooded. Sorted once at the end.
using Seen = std::vector<std::pair<std::uint64_t, std::uint32_t>>;
void remember(Seen& seen, const Record& record, std::size_t line);
/// The line that repeats an earlier one, and the earlier one; {0, 0} when all are unique. Sorts.
std::pair<std::size_t, std::size_t> repeated(Seen& seen);

}  // namespace kmtool::bundle
