#pragma once
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::rotate {

/// One finding as a plugin reports it: 1 warning, 2 critical; a line for each thing that it is about.
struct HomeFinding {
  int status;
  std::string what;
  std::vector<std::string> lines;
};

/// What is no matter of keys or bundles and yet stops jobs or gateways, as far as home and proven catalog tell: a policy that is not
/// accepted, a PIN that was refused, a sink that is behind, a published API key snapshot that ends or is not the registry any more.
std::vector<HomeFinding> home_findings(op::Context& reader);

}  // namespace kmtool::rotate
