#pragma once
#include "kmtool/pkcs11/token.hpp"
#include "kmtool/policy/objects.hpp"

namespace kmtool::op {

/// One object as the rulebook sees it; whose it is, only as far as the labels tell that kmtool gives.
policy::ObjectFacts object_facts(pkcs11::Token& token, const pkcs11::Object& object);
/// What the token does, by its probed profile; nothing is tried.
policy::TokenTraits token_traits(const pkcs11::Token& token);

}  // namespace kmtool::op
