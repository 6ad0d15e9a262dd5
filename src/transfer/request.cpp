#include "kmtool/bundle/request.hpp"

#include <algorithm>

#include "kmtool/core/text.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/transfer/kek.hpp"

namespace kmtool::transfer {

std::string make_request(op::Context& context, const std::string& reference) {
  const auto version = context.resolve(reference);
  if (version.role != Role::transport || !version.public_spki) {
    throw Error::usage(version.label() + " has role " + std::string(to_text(version.role)) + ": a transport request is for a transport key",
                       "make one with kmtool gen NAME --role transport");
  }
  if (!may_process(version.state)) {
    throw Error::refused("G-WORK", version.label() + " is " + std::string(to_text(version.state)) + ": it would open nothing", "make another: kmtool gen NAME --role transport");
  }
  const auto objects = context.objects_of({version});
  for (const auto& [part, object] : objects.at(version.label())) op::require_as_recorded(context, version, part, object);
  const auto& info = context.token().info();
  const auto& opens = context.token().profile().transports_in;
  bundle::TransportRequest request;
  request.created = context.now();
  request.creator = std::string("kmtool ") + KMTOOL_VERSION;
  request.home = context.home.config.home_id;
  request.token = {info.label, info.serial, info.manufacturer, info.model, info.hardware};
  request.name = version.name;
  request.version = version.version;
  request.type = version.type;
  request.state = version.state;
  request.expires = version.expires;
  request.public_spki = *version.public_spki;
  for (const auto& transport : all_transports()) {
    if (fits(transport, version.type) && std::ranges::find(opens, to_text(transport)) != opens.end()) request.algorithms.push_back(transport);
  }
  if (request.algorithms.empty()) {
    throw Error::unavailable("this token opens nothing that is wrapped to a key of type " + std::string(to_text(version.type)),
                             "kmtool token shows what it does; choose another --type");
  }
  if (context.options.dry_run) return {};
  const auto text = bundle::write_request(
      request, [&](ByteView digest) { return context.sign_document(digest); }, context.document_key().fingerprint());
  Json algorithms = Json::array();
  for (const auto& transport : request.algorithms) algorithms.push_back(to_text(transport));
  context.note("show --request", version.label(), {{"fingerprint", crypto::PublicKey::from_spki(request.public_spki).fingerprint()}, {"algorithms", algorithms}}, {});
  return text;
}

}  // namespace kmtool::transfer
