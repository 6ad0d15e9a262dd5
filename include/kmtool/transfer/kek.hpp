#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/op/kek_out.hpp"

namespace kmtool::transfer {

struct ExportKekRequest {
  std::string kek;  ///< reference
  op::KekDestinations to;
  std::filesystem::path out;
  op::ValueLayer layer;
};
struct ExportKekResult {
  op::BundleRecord bundle;
  op::VersionRecord kek;
  std::vector<op::KekRecipient> recipients;
  std::vector<policy::Waiver> waivers;
  std::string kept;  ///< where the bundle that lay there was moved to, which alone holds another key; empty: nowhere
};
/// Both objects of an exportable KEK, wrapped to each recipient, into a bundle of kind `kek` (DESIGN.md). One intent; in a dry run what it
/// would do. Throws refused (77) for a KEK that is not exportable: such a one leaves its token at birth alone (keys::generate).
ExportKekResult export_kek(op::Context& context, const ExportKekRequest& request);

struct ImportKekRequest {
  std::filesystem::path file;
  std::optional<std::filesystem::path> signer;  ///< PEM; else a pinned one
  std::string using_key;                        ///< the transport key or parent KEK that shall open it; empty: the first that can
  std::string as;                               ///< new name
  bool activate = false, check = false;
  /// When everything about the file is proven, and before anything is begun: what the layer needs (a quorum's shares).
  std::function<void(const bundle::Header& header)> before_open;
  /// Takes a layer off a wrapped value (a quorum's); empty where there is none.
  std::function<Bytes(const bundle::Header& header, std::size_t record, std::size_t recipient, ByteView value)> take_off;
};
struct ImportKekResult {
  op::VersionRecord kek;
  std::string opened_by;  ///< label
  std::string signer;     ///< who signed, as it is known here
  bool pinned = false;    ///< that one is this home's, or was pinned in it: no PEM has to be named
  bool checked = false, compared = false;  ///< a drill was made (false in a dry run of one), and held against the KEK that is here
  std::vector<policy::Violation> reported;  ///< what is not as it should be, and does not hinder
  std::vector<bundle::WaiverNote> waived;   ///< at the exporting site
};
/// Brings a KEK in under its own CKA_ID, so that the bundles under it open here. Before any C_UnwrapKey: the signature, of `signer` or a pinned
/// one; the seal of the parent KEK, where that opens it. As session objects the two are proven: the seal that the KEK itself made, by the
/// HMAC key and by the one that the AES key opens. Then they persist, not extractable, are read back, and seal once more.
/// `check`: a drill, compared with the KEK on the token where it is here; nothing is left.
ImportKekResult import_kek(op::Context& context, const ImportKekRequest& request);

/// A signed transport request for a key of role `transport` (bundle/request.hpp): journalled. Empty in a dry run.
std::string make_request(op::Context& context, const std::string& reference);

}  // namespace kmtool::transfer
