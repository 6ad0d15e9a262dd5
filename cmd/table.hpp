#pragma once
#include <string>
#include <vector>

namespace kmtool::cmd {

/// A table for people. Foreign text may be handed in as it is: cells are made safe for a terminal here.
class Table {
 public:
  struct Column {
    std::string title;
    bool right = false;  ///< numbers
    bool wrap = false;   ///< long text: broken over lines when standard output is a terminal too narrow for it
  };
  explicit Table(std::vector<Column> columns);
  /// One cell a column; what is missing is empty.
  Table& row(std::vector<std::string> cells);
  [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
  /// With headings, or without (two columns of words and values, say); ends in LF.
  [[nodiscard]] std::string text(bool headings = true) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace kmtool::cmd
