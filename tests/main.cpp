#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "kmtool/core/secret.hpp"

int main(int argc, char** argv) {
  kmtool::install_secret_heap();
  return doctest::Context(argc, argv).run();
}
