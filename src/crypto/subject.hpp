#pragma once
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

namespace kmtool::crypto {

template <auto free_function>
struct FreeWith {
  template <typename T>
  void operator()(T* pointer) const {
    free_function(pointer);
  }
};
using NamePtr = std::unique_ptr<X509_NAME, FreeWith<X509_NAME_free>>;
using AlternativesPtr = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;

/// Throws usage (64) saying what is malformed.
NamePtr parse_name(const std::string& text);
AlternativesPtr parse_alternatives(const std::vector<std::string>& texts);

}  // namespace kmtool::crypto
