#pragma once
#include <string_view>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/core/json.hpp"

namespace kmtool::bundle {

/// Where keys were wrapped, as a header and a request say it.
Json token_json(const TokenNote& token);
TokenNote parse_token(const Json& json, const JsonFail& fail);
/// One line each: syntax, fields and their types, one spelling, and the rules of check.hpp. `fail` must throw.
Header parse_header(std::string_view line, const JsonFail& fail);
Record parse_record(std::string_view line, const Header& header, const JsonFail& fail);
std::vector<Seal> parse_seals(std::string_view line, const Header& header, const JsonFail& fail);
Signature parse_signature(std::string_view line, const JsonFail& fail);

}  // namespace kmtool::bundle
