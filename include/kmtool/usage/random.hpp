#pragma once
#include <functional>

#include "kmtool/op/context.hpp"

namespace kmtool::usage {

inline constexpr std::uint64_t most_random = std::uint64_t{1} << 30;

/// So many octets of C_GenerateRandom, handed on piece by piece; each piece is cleansed after `sink` has returned. Journalled: how many, never
/// what. Throws usage (64) for none, or for more than most_random.
void random(op::Context& context, std::uint64_t octets, const std::function<void(ByteView)>& sink);

}  // namespace kmtool::usage
