#include "kmtool/share/qr.hpp"

#include <png.h>
#include <qrencode.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>

#include "kmtool/core/error.hpp"

namespace kmtool::share {

namespace {

constexpr unsigned quiet = 4, scale = 8;

struct Free {
  void operator()(QRcode* code) const {
    cleanse(code->data, static_cast<std::size_t>(code->width) * static_cast<std::size_t>(code->width));
    QRcode_free(code);
  }
};

bool dark(const Code& code, unsigned x, unsigned y) {
  if (x < quiet || y < quiet || x >= quiet + code.width || y >= quiet + code.width) return false;
  return code.modules.reveal()[std::size_t{y - quiet} * code.width + (x - quiet)] != 0;
}

/// Text or bytes that grow in locked memory.
class Sink {
 public:
  void add(ByteView bytes) {
    if (used_ + bytes.size() > bytes_.size()) {
      SecretBytes larger(std::max(2 * bytes_.size(), used_ + bytes.size() + 4096));
      std::copy_n(bytes_.reveal().begin(), used_, larger.reveal_mutable().begin());
      bytes_ = std::move(larger);
    }
    std::copy(bytes.begin(), bytes.end(), bytes_.reveal_mutable().begin() + static_cast<std::ptrdiff_t>(used_));
    used_ += bytes.size();
  }
  void add(std::string_view text) { add(ByteView(reinterpret_cast<const std::uint8_t*>(text.data()), text.size())); }
  SecretBytes take() {
    bytes_.truncate(used_);
    return std::move(bytes_);
  }

 private:
  SecretBytes bytes_;
  std::size_t used_ = 0;
};

// libpng and the zlib below it take their memory here.
png_voidp take_memory(png_structp, png_alloc_size_t size) {
  auto* block = new (std::nothrow) SecretBytes;
  if (block == nullptr) return nullptr;
  try {
    *block = SecretBytes(size + sizeof(void*) * 2);
  } catch (const Error&) {
    delete block;
    return nullptr;
  }
  auto* memory = block->reveal_mutable().data();
  std::memcpy(memory, &block, sizeof(void*));  // so that it can be given back
  return memory + sizeof(void*) * 2;
}

void give_memory(png_structp, png_voidp memory) {
  if (memory == nullptr) return;
  SecretBytes* block = nullptr;
  std::memcpy(&block, static_cast<std::uint8_t*>(memory) - sizeof(void*) * 2, sizeof(void*));
  delete block;
}

void write_png(png_structp png, png_bytep data, png_size_t size) {
  static_cast<Sink*>(png_get_io_ptr(png))->add(ByteView(data, size));
}

[[noreturn]] void fail(png_structp, png_const_charp) { throw Error::internal("libpng cannot draw the QR code"); }

struct Writer {
  png_structp png = nullptr;
  png_infop info = nullptr;
  ~Writer() { png_destroy_write_struct(&png, &info); }
};

}  // namespace

Code encode(const SecretBytes& text) {
  const std::unique_ptr<QRcode, Free> drawn(
      QRcode_encodeData(static_cast<int>(text.size()), text.reveal().data(), 0, QR_ECLEVEL_M));
  if (!drawn) throw Error::internal("libqrencode cannot draw the QR code");
  Code code;
  code.width = static_cast<unsigned>(drawn->width);
  code.modules = SecretBytes(std::size_t{code.width} * code.width);
  auto room = code.modules.reveal_mutable();
  for (std::size_t i = 0; i < room.size(); ++i) room[i] = drawn->data[i] & 1U;
  return code;
}

SecretBytes png_of(const Code& code) {
  const unsigned side = (code.width + 2 * quiet) * scale;
  Sink sink;
  Writer writer;
  writer.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, nullptr, fail, nullptr, nullptr, take_memory, give_memory);
  if (writer.png == nullptr) throw Error::internal("libpng cannot be used");
  writer.info = png_create_info_struct(writer.png);
  if (writer.info == nullptr) throw Error::internal("libpng cannot be used");
  png_set_write_fn(writer.png, &sink, write_png, nullptr);
  png_set_IHDR(writer.png, writer.info, side, side, 1, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(writer.png, writer.info);
  SecretBytes row((side + 7) / 8);
  for (unsigned y = 0; y < side; ++y) {
    auto bits = row.reveal_mutable();
    std::fill(bits.begin(), bits.end(), std::uint8_t{0xff});
    for (unsigned x = 0; x < side; ++x) {
      if (dark(code, x / scale, y / scale)) bits[x / 8] = static_cast<std::uint8_t>(bits[x / 8] & ~(0x80U >> x % 8));
    }
    png_write_row(writer.png, bits.data());
  }
  png_write_end(writer.png, nullptr);
  return sink.take();
}

SecretBytes art_of(const Code& code) {
  Sink sink;
  const unsigned side = code.width + 2 * quiet;
  for (unsigned y = 0; y < side; y += 2) {
    for (unsigned x = 0; x < side; ++x) {
      const bool above = !dark(code, x, y), below = y + 1 >= side || !dark(code, x, y + 1);  // light modules are what is printed
      sink.add(std::string_view(above && below ? "\u2588" : above ? "\u2580" : below ? "\u2584" : " "));
    }
    sink.add(std::string_view("\n"));
  }
  return sink.take();
}

}  // namespace kmtool::share
