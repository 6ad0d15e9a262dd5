#pragma once
#include <string_view>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/core/json.hpp"

namespace kmtool::bundle {

/// One line each: syntax, fields and their types, one spelling, and the rules of check.hpp. `fail` must throw.
Header parse_header(std::string_view line, const JsonFail& fail);
Record parse_record(std::string_view line, const std::vector<WrapAlgorithm>& algorithms, const JsonFail& fail);
std::vector<Seal> parse_seals(std::string_view line, std::size_t recipients, const JsonFail& fail);
Signature parse_signature(std::string_view line, const JsonFail& fail);

}  // namespace kmtool::bundle
