#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/op/kek_out.hpp"
#include "kmtool/share/share.hpp"

namespace kmtool::share {

/// Who gets a share: `NAME`, or `NAME=CERT.pem` for one that is encrypted to
/// them.
struct Custodian {
  std::string name;
  std::optional<std::filesystem::path> certificate;
  /// Throws usage (64).
  static Custodian parse(const std::string& text);
};

struct QuorumRequest {
  Quorum quorum;
  std::filesystem::path folder;       ///< one folder in it for each custodian
  std::vector<Custodian> custodians;  ///< of the first shares; the others are `custodian-K`
  bool qr = false;                    ///< beside each share a PNG and a text with its QR code
};

/// One share that was written.
struct WrittenShare {
  std::string custodian;
  unsigned index = 0;
  std::filesystem::path file;
  std::string certificate;  ///< fingerprint of the certificate it is encrypted
                            ///< to; empty: plain
};

/// A quorum in the making: draws the gate secret, splits it, encrypts the
/// wrapped values, and writes the shares when the bundle is fsynced and before
/// it appears. What it wrote is removed again when it is destroyed without
/// keep(): shares of a bundle that never came to be.
class Maker {
 public:
  /// Looks at everything that can be looked at beforehand: names, certificates,
  /// files in the way. Share files of a bundle that was begun and never came
  /// to be are leftovers, and are replaced; those of one whose place another
  /// took need --force; those of one that the catalog knows, or that the
  /// journal does not know, never are. Throws usage (64), exists (73),
  /// refused (77), damaged (65).
  Maker(op::Context& context, QuorumRequest request, const std::filesystem::path& bundle);
  ~Maker();
  Maker(const Maker&) = delete;
  Maker& operator=(const Maker&) = delete;

  /// For the exporter; works as long as this object lives.
  op::ValueLayer layer();
  void keep();
  [[nodiscard]] const Quorum& quorum() const;
  [[nodiscard]] const std::vector<WrittenShare>& shares() const;
  [[nodiscard]] std::vector<std::string> warnings() const;  ///< expired certificates

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The shares in these files, all of this bundle, each held against its
/// commitment and each there once. Throws refused (77, quorum) when there are
/// too few, saying how many are missing; damaged (65) for a share that is
/// altered, foreign, repeated or not the bundle's, naming it.
std::vector<Share> gather(const bundle::Header& header, const std::vector<std::filesystem::path>& files);
/// Holds one share against a bundle. Throws damaged (65).
void require_share_of(const bundle::Header& header, const Share& share, const std::string& name);

/// What takes the layer off, for the importer.
struct Opener {
  /// Reads the shares and puts them together; before anything is begun. Throws as gather().
  std::function<void(const bundle::Header&)> before_open;
  /// A value without its layer; as it is, where there is none. Throws damaged (65).
  std::function<Bytes(const bundle::Header&, std::size_t record, std::size_t recipient, ByteView value)> take_off;
};
Opener opener(op::Context& context, std::vector<std::filesystem::path> files);

}  // namespace kmtool::share
