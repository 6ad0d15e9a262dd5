#pragma once
#include <functional>

#include "kmtool/ceremony/runbook.hpp"

namespace kmtool::ceremony {

/// One line of a `check` block; `fail` must throw.
Check parse_check(const std::string& text, std::size_t line, const std::function<void(const std::string& what)>& fail);

}  // namespace kmtool::ceremony
