#include "table.hpp"

#include <libsmartcols.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "kmtool/core/text.hpp"

namespace kmtool::cmd {
namespace {

constexpr std::size_t least_wrapped_width = 20;

struct Unref {
  void operator()(libscols_table* table) const { scols_unref_table(table); }
};
struct Free {
  void operator()(char* text) const { std::free(text); }
};

template <class T>
T* need(T* made) {
  if (made == nullptr) throw std::bad_alloc();
  return made;
}

void need(int result) {
  if (result < 0) throw std::bad_alloc();
}

/// Columns of the terminal behind standard output; 0 where there is none.
std::size_t terminal_width() {
  winsize size{};
  if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

/// The first of the lines only decides; wide characters make it a guess, which is enough here.
std::size_t widest(const std::string& title, const std::vector<std::vector<std::string>>& rows, std::size_t column) {
  std::size_t width = title.size();
  for (const auto& cells : rows) width = std::max(width, cells[column].size());
  return width;
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

Table& Table::row(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (auto& cell : cells) cell = printable(cell);
  rows_.push_back(std::move(cells));
  return *this;
}

std::string Table::text(bool headings) const {
  const std::unique_ptr<libscols_table, Unref> table(need(scols_new_table()));
  need(scols_table_enable_noencoding(table.get(), 1));  // printable() has seen to it
  need(scols_table_enable_noheadings(table.get(), headings ? 0 : 1));
  need(scols_table_set_column_separator(table.get(), "  "));
  std::size_t least = 0;
  bool wraps = false;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const std::size_t width = widest(columns_[i].title, rows_, i);
    least += 2 + (columns_[i].wrap ? std::min(width, least_wrapped_width) : width);
    wraps = wraps || columns_[i].wrap;
  }
  // Without a terminal, or in one that is too narrow all the same, nothing is cut and nothing left out.
  const std::size_t terminal = terminal_width();
  const bool fit = wraps && terminal > 0 && least <= terminal;
  need(scols_table_set_termforce(table.get(), fit ? SCOLS_TERMFORCE_ALWAYS : SCOLS_TERMFORCE_NEVER));
  if (fit) need(scols_table_set_termwidth(table.get(), terminal));
  for (const auto& column : columns_) {
    const int flags = (column.right ? SCOLS_FL_RIGHT : 0) | (fit && column.wrap ? SCOLS_FL_WRAP : 0);
    need(scols_table_new_column(table.get(), column.title.c_str(), 0, flags));
  }
  for (const auto& cells : rows_) {
    libscols_line* line = need(scols_table_new_line(table.get(), nullptr));
    for (std::size_t i = 0; i < cells.size(); ++i) need(scols_line_set_data(line, i, cells[i].c_str()));
  }
  char* raw = nullptr;
  need(scols_print_table_to_string(table.get(), &raw));
  const std::unique_ptr<char, Free> owned(raw);
  std::string out = raw != nullptr ? raw : "";
  if (!out.empty() && out.back() != '\n') out += '\n';
  return out;
}

}  // namespace kmtool::cmd
