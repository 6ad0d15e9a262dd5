#pragma once
#include "kmtool/home/home.hpp"

namespace kmtool::home {

/// What HOME/pin.refused says of the PIN file that jobs read; any login that the token takes removes it.
enum class PinNote {
  none,     ///< no PIN was refused since the last login
  refused,  ///< the file is the one that was refused, or the source is no file that could be told apart: who reads that file is refused (77)
  changed,  ///< the file is not what was refused: nobody has tried it yet
};
PinNote pin_note(const Paths& paths, const PinSource& source);

}  // namespace kmtool::home
