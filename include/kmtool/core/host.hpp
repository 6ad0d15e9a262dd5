#pragma once
#include <string>

namespace kmtool {

/// The name of this machine (gethostname(2)), printable; empty where it has none. Journal entries and rows of bundles carry it.
std::string host_name();

}  // namespace kmtool
