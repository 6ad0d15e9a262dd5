#pragma once
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::audit {

/// A bundle that holds a key version, and who can open it.
struct Copy {
  std::string bundle, path, host;
  std::vector<std::string> recipients;  ///< KEKs, and public keys by fingerprint
  UnixTime written = 0;
};
/// Where one key version is (G-WHERE).
struct Placed {
  op::VersionRecord version;
  std::string owner, application;
  bool on_token = false;  ///< not destroyed
  std::vector<Copy> copies;
};
struct Inventory {
  std::string home_id;
  std::string token_label, token_serial, token_model, token_manufacturer;
  bool hardware = false;
  std::string validation;  ///< as recorded; empty: none
  std::vector<Placed> keys;
  std::vector<op::BundleRecord> bundles;
};
/// From the home's proven catalog; the token is not asked.
Inventory take_inventory(op::Context& reader);

Json inventory_json(const Inventory& inventory);
/// CycloneDX 1.6 cryptographic bill of materials: a component a key version, with its bundles as properties; never a key value.
Json inventory_cyclonedx(const Inventory& inventory, UnixTime now, const std::string& serial_uuid);

}  // namespace kmtool::audit
