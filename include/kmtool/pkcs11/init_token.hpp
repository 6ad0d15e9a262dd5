#pragma once
#include <cstddef>
#include <functional>
#include <string>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/secret.hpp"
#include "kmtool/pkcs11/token.hpp"

namespace kmtool::pkcs11 {

/// Initialises the free slot of a software token's module and sets its user PIN, then unloads the module again.
///
/// `make_pin` is called once, before the user PIN is set, with the token's own random generator (C_GenerateRandom, which
/// answers only once C_InitToken is done); it returns the PIN, and has made it safe where it must outlive a crash. The security
/// officer's PIN is random and forgotten. `label` has at most 32 bytes. Returns label and serial.
using RandomBytes = std::function<Bytes(std::size_t)>;
TokenSelector init_software_token(const ModuleSpec& module, const std::string& label,
                                  const std::function<SecretBytes(const RandomBytes& random)>& make_pin);

}  // namespace kmtool::pkcs11
