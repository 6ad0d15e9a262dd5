#include "transfer/openers.hpp"

#include <algorithm>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/op/objects.hpp"

namespace kmtool::transfer {

namespace {

std::optional<std::map<Part, pkcs11::Object>> objects_there(op::Context& context, const op::VersionRecord& version) try {
  return context.objects_of({version}).at(version.label());
} catch (const Error& failure) {
  if (failure.exit() != ExitCode::missing) throw;
  return std::nullopt;
}

}  // namespace

std::optional<op::Kek> kek_on_token(op::Context& context, const op::VersionRecord& version) {
  auto objects = objects_there(context, version);
  if (!objects) return std::nullopt;
  return op::keks_on_token(context, {version}, {{version.label(), *std::move(objects)}}).front();
}

std::optional<pkcs11::Object> seal_on_token(op::Context& context, const op::VersionRecord& version) {
  auto objects = objects_there(context, version);
  return objects ? std::optional(objects->at(Part::kek_seal)) : std::nullopt;
}

bool on_token(op::Context& context, const op::VersionRecord& version) { return objects_there(context, version).has_value(); }

void refuse_lost_keks(const std::vector<op::VersionRecord>& lost) {
  std::string labels;
  for (const auto& version : lost) labels += (labels.empty() ? "" : ", ") + version.label();
  throw Error::missing("none of the bundle's KEKs is on this token: " + labels + (lost.size() == 1 ? " was" : " were") + " removed from it behind kmtool's back",
                       "kmtool state " + lost.front().label() + " destroy --reason TEXT, then bring it back: kmtool import-kek BUNDLE --as NEWNAME");
}

void require_not_forgotten(op::Context& context, const bundle::Header& header) {
  for (const auto& recipient : header.recipients) {
    const auto objects = context.token().find_by_id(recipient.id);
    const bool known = std::ranges::any_of(context.versions(), [&](const auto& version) { return version.id == recipient.id; });
    if (objects.empty() || known) continue;
    const auto& label = objects.front().label;
    const auto was = op::named_as_version(objects.front());
    throw Error::missing("the bundle's kek " + recipient.kek + " is on this token, as " + printable(label) + ", but this home's record does not know it",
                         "where a restore forgot it: kmtool adopt " + (was ? was->name : "NAME") + " --id " + hex(recipient.id) + " brings it back");
  }
}

Json recipients_json(const op::Context& context, const bundle::Header& header) {
  Json json{{"keks", Json::array()}, {"kek_ids", Json::array()}, {"public_keys", Json::array()}};
  const auto versions = context.versions();
  for (const auto& recipient : header.recipients) {
    if (recipient.is_public()) {
      json["public_keys"].push_back(recipient.public_key);
      continue;
    }
    json["kek_ids"].push_back(hex(recipient.id));
    for (const auto& version : versions) {
      if (version.role == Role::kek && version.id == recipient.id) json["keks"].push_back(version.label());
    }
  }
  return json;
}

}  // namespace kmtool::transfer
