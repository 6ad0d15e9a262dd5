#include "kmtool/op/invocations.hpp"

#include <fmt/format.h>

#include "kmtool/core/encoding.hpp"
#include "kmtool/policy/use.hpp"
#include "op/state.hpp"

namespace kmtool::op {

Invocations invocations_of(Context& context, const VersionRecord& version) {
  Invocations found;
  found.most = policy::gcm_invocations(version.origin == "generated" ? policy::Origin::here : policy::Origin::copy);
  const auto row = context.journal().proven("gcm", hex(version.id));
  if (!row) return found;
  const Json json = row->json();
  JsonReader reader(json, [&](const std::string& what) { throw Error::tampered("catalog row gcm " + row->id + ": " + what, "run kmtool doctor"); });
  found.used = static_cast<std::uint64_t>(reader.integer("used", 0, std::int64_t{1} << 40));
  found.uncertain = reader.boolean("uncertain");
  reader.text("key");
  reader.finish();
  return found;
}

journal::Change reserve_invocations(Context& context, const VersionRecord& version, std::uint64_t count) {
  const auto now = invocations_of(context, version);
  const std::string rotate = "kmtool rotate " + version.name + " makes a new version; this one still decrypts";
  if (now.uncertain) {
    throw Error::refused("G-WORK", "the journal was put back to an older state: how often " + version.label() + " has encrypted since is not known", rotate);
  }
  if (count > now.most || now.used > now.most - count) {
    throw Error::refused("G-WORK",
                         fmt::format("{} has encrypted {} chunks of the {} that AES-GCM allows it here (SP 800-38D, 8.3), and {} more are asked for",
                                     version.label(), now.used, now.most, count),
                         rotate);
  }
  return {"gcm", hex(version.id), Json{{"key", version.label()}, {"used", now.used + count}, {"uncertain", false}}};
}

}  // namespace kmtool::op
