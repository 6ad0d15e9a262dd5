#include "usage/admit.hpp"

#include <algorithm>

#include "kmtool/domain/name.hpp"
#include "kmtool/op/bundle_out.hpp"

namespace kmtool::usage {

namespace {

/// A key that is there, but of which no version may be used: that is a matter of state, not of a missing input.
void require_active(const op::Context& context, const std::string& reference, policy::Use use) {
  const auto ref = KeyRef::parse(reference);
  const auto key = context.find_key(ref.name);
  if (!key || ref.version || key->active) return;
  const auto latest = context.find_version(ref.name, key->latest);
  if (!latest) return;
  if (latest->role == policy::role_for(use)) {
    throw Error::refused("G-WORK", "no version of " + ref.name + " is active: " + latest->label() + " is " + std::string(to_text(latest->state)),
                         latest->state == State::suspended || latest->state == State::pre_activation
                             ? "kmtool state " + latest->label() + (latest->state == State::suspended ? " resume" : " activate") + " --reason TEXT"
                             : "name a version (" + latest->label() + ") to process what it protected, or kmtool rotate " + ref.name);
  }
}

}  // namespace

void judge(const op::Context& context, const op::VersionRecord& version, policy::Use use, std::vector<std::string>& warnings) {
  const auto found = policy::judge_use(context.home.policy, version.facts(), use, context.now());
  policy::enforce(context.home.policy, found, context.options.waivers);
  for (const auto& violation : found) {
    if (std::ranges::find(warnings, violation.what) == warnings.end()) warnings.push_back(violation.what);
  }
}

op::VersionRecord admit(op::Context& context, const std::string& reference, policy::Use use, std::vector<std::string>& warnings) {
  require_active(context, reference, use);
  auto version = context.resolve(reference);
  judge(context, version, use, warnings);
  return version;
}

pkcs11::Object object_for(op::Context& context, const op::VersionRecord& version) {
  const Part part = op::wrapped_part(version.role);
  auto objects = context.objects_of({version});
  auto& object = objects.at(version.label()).at(part);
  op::require_as_recorded(context, version, part, object);
  return std::move(object);
}

void require_gcm(op::Context& context) {
  if (context.token().profile().aes_gcm) return;
  throw Error::unavailable("this token does not do AES-GCM", "kmtool token shows what it does");
}

}  // namespace kmtool::usage
