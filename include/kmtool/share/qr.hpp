#pragma once
#include "kmtool/core/secret.hpp"

namespace kmtool::share {

/// A QR code (ISO/IEC 18004, error correction M) of a share's text, for paper.
struct Code {
  unsigned width = 0;   ///< modules a side, without the quiet zone
  SecretBytes modules;  ///< row by row, 1 is dark
};
/// Throws internal (70). The library works on the plain heap: call lock_heap() before.
Code encode(const SecretBytes& text);
/// A PNG file, 1 bit a pixel, 8 pixels a module, quiet zone of 4 modules. Made in locked memory.
SecretBytes png_of(const Code& code);
/// UTF-8 text for a terminal, two modules a character one above the other; light on dark or dark on light does not matter to
/// scanners of today, and the quiet zone is drawn.
SecretBytes art_of(const Code& code);

}  // namespace kmtool::share
