#include "kmtool/core/host.hpp"

#include <unistd.h>

#include "kmtool/core/text.hpp"

namespace kmtool {

std::string host_name() {
  char name[256] = {};  // longer than HOST_NAME_MAX: what is cut off still ends
  return gethostname(name, sizeof name - 1) == 0 ? printable(name) : "";
}

}  // namespace kmtool
