#include "kmtool/core/host.hpp"

#include <doctest/doctest.h>
#include <sys/utsname.h>

#include "kmtool/core/text.hpp"

using namespace kmtool;

TEST_CASE("the machine's name is the kernel's, printable") {
  utsname names{};
  REQUIRE(uname(&names) == 0);
  CHECK(host_name() == printable(names.nodename));
}
