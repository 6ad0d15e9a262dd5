#pragma once
#include <string>
#include <string_view>

#include "kmtool/policy/objects.hpp"

/// Pages that stand alone: no script, nothing loaded from anywhere, made to be printed.
namespace kmtool::audit::html {

/// Foreign text as HTML text or attribute value: control characters shown, markup escaped.
std::string escape(std::string_view text);
/// A whole page; `body` is markup.
std::string page(const std::string& title, const std::string& body);
/// A table of whole `<tr>` rows under these `<th>` cells; a narrow screen scrolls it sideways.
std::string table(const std::string& head, const std::string& rows);
/// A small coloured word: `critical`, `met`…; the class is the word's.
std::string badge(std::string_view word);

/// One bar of a chart.
struct Bar {
  std::string label;
  std::size_t value = 0;
  std::string tone;  ///< CSS class: bad, warn, good, dim
};
/// Horizontal bars with their numbers, as inline SVG.
std::string bars(const std::string& title, const std::vector<Bar>& bars);
/// Columns side by side (a time line), as inline SVG.
std::string columns(const std::string& title, const std::vector<Bar>& bars);

}  // namespace kmtool::audit::html
