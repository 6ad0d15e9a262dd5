#include "kmtool/usage/encrypted_file.hpp"

#include <algorithm>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::usage {

namespace {

constexpr std::size_t id_length = 16, longest_id = 64;

}  // namespace

std::string Header::line() const {
  Json json;
  json["kmencrypted"] = 1;
  json["key"] = key;
  json["version"] = version;
  json["id"] = hex(id);
  json["cipher"] = "AES-GCM";
  json["chunk"] = chunk;
  json["file"] = hex(file);
  return dump_json(json) + "\n";
}

Header Header::parse(const std::string& line, const std::string& name) {
  const JsonFail fail = [&](const std::string& what) {
    throw Error::tampered(printable(name) + ": " + what, "it is not what kmtool encrypt wrote, or it is damaged");
  };
  const Json json = parse_json(line, [&](const std::string&) { fail("it does not begin with the header of an encrypted file"); });
  if (!json.is_object() || !json.contains("kmencrypted")) fail("it does not begin with the header of an encrypted file");
  JsonReader reader(json, fail);
  if (reader.integer("kmencrypted", 0, 1000000) != 1) {
    throw Error::tampered(printable(name) + ": it is of a version that this kmtool does not know", "use the kmtool that wrote it");
  }
  Header header;
  header.key = reader.text("key");
  if (!is_name(header.key)) reader.fail("\"key\" is not the name of a key");
  header.version = static_cast<int>(reader.integer("version", 1, 999999));
  header.id = reader.hex("id");
  if (header.id.empty() || header.id.size() > longest_id) reader.fail("\"id\" is not a CKA_ID");
  if (reader.text("cipher") != "AES-GCM") reader.fail("\"cipher\" is not AES-GCM");
  header.chunk = static_cast<std::size_t>(reader.integer("chunk", smallest_chunk, largest_chunk));
  header.file = reader.hex("file");
  if (header.file.size() != id_length) reader.fail("\"file\" does not have 16 octets");
  reader.finish();
  if (header.line() != line + "\n") reader.fail("the header is not in its one spelling");
  return header;
}

AssociatedData::AssociatedData(const Header& header) {
  const auto digest = crypto::sha256(view(header.line()));
  std::ranges::copy(digest, data_.begin());
}

ByteView AssociatedData::of(std::uint64_t index, bool last) {
  std::ranges::copy(big_endian(index, 8), data_.begin() + 32);
  data_[40] = last ? 1 : 0;
  return data_;
}

std::uint64_t chunks_of(std::uint64_t octets, std::size_t chunk) {
  return octets == 0 ? 1 : octets / chunk + (octets % chunk != 0 ? 1 : 0);
}

}  // namespace kmtool::usage
