#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::transfer {

/// One catalogued bundle as it was found.
struct BundleCheck {
  op::BundleRecord bundle;  ///< `verified` is set where it is good
  enum class Verdict { ok, elsewhere, missing, bad } verdict = Verdict::ok;
  std::string why;
  std::string replaces = {};  ///< id of the recorded bundle whose place this one took before a restore, which forgot it; empty: it is that one
};
/// Reads every bundle of these that should lie on this host: structure, signature, and the seals of the KEKs on this token. What was
/// verified, and what was not, is journalled in one entry. In a home that was put back (doctor --accept-rollback) a newer bundle of its own
/// that lies in the place of a recorded one, and holds all that it held, is put on record in its place.
std::vector<BundleCheck> verify_bundles(op::Context& context, const std::vector<op::BundleRecord>& bundles);

/// Bundles of the catalog that lie under other names now. Each must be the very file that was written, byte for byte, signed by
/// somebody known, and no longer be where the catalog has it: a copy takes no row. `offline`: they lie on media that are kept there and are here
/// only at times; empty: they lie on this host. Throws missing (66: no file, or no bundle of the catalog), damaged (65: altered), exists (73: the
/// one on record is in its place, or two files are one bundle).
struct Moved {
  op::BundleRecord bundle;  ///< with its new path and host
  std::string from, host;   ///< where the catalog had it
};
std::vector<Moved> take_moved(op::Context& context, const std::vector<std::filesystem::path>& files, const std::string& offline);

/// Bundles of the catalog that are no more, named by their path on record or by their id. Their rows go: nothing asks for them, or counts on
/// them, any longer. What was kept until a drill with one of them is current again. Throws usage (64: no reason), missing (66: no such bundle),
/// exists (73: it lies where the catalog has it).
struct Lost {
  std::vector<op::BundleRecord> bundles;
  std::vector<std::string> losses;   ///< what no other bundle of the catalog holds, and whether the token still has it
  std::vector<std::string> current;  ///< paths of what was kept
};
Lost take_lost(op::Context& context, const std::vector<std::string>& which, const std::string& reason);

struct Confirmed {
  struct Left {
    std::string path, why;
  };
  std::vector<std::string> removed;
  std::vector<Left> left;  ///< not removed, since the bundle that was kept does not lie there
};

/// Records that this bundle was restored at the other site in a drill. Bundles that were kept because of it (FILE.@1) are no longer needed:
/// they are removed, file and row. A file that is not that bundle any more is nobody's to remove: its row goes, it stays.
Confirmed confirm_restored(op::Context& context, const std::filesystem::path& file);

}  // namespace kmtool::transfer
