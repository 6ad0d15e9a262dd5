#include "common.hpp"
#include "kmtool/bundle/bundle.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::cmd {

namespace {

Json record_json(const bundle::Record& record) {
  return {{"name", record.name}, {"version", record.version}, {"id", hex(record.id)}, {"role", to_text(record.role)},
          {"type", to_text(record.type)}, {"strength", record.strength}, {"state", to_text(record.state)},
          {"created", rfc3339(record.created)}, {"expires", record.expires ? Json(rfc3339(*record.expires)) : Json(nullptr)},
          {"extractable", record.extractable}};
}

void print_header(Globals& globals, const bundle::Summary& summary) {
  const auto& header = summary.header;
  Table table({{"FIELD"}, {"VALUE"}});
  table.row({"bundle", header.id + (header.of_kek() ? ", holds a kek" : "")});
  table.row({"created", rfc3339(header.created) + " by " + header.creator});
  table.row({"token", header.token.label + " (serial " + header.token.serial + "), " + (header.token.hardware ? "hardware" : "software")});
  for (const auto& recipient : header.recipients) {
    table.row({recipient.is_public() ? "public key" : "kek", (recipient.is_public() ? recipient.public_key : recipient.kek) + ", " + std::string(to_text(recipient.type)) + ", " +
                                                                 std::string(recipient.algorithm_text()) + " (" + recipient.mechanism + ")"});
  }
  if (header.quorum) table.row({"quorum", std::to_string(header.quorum->needed) + " of " + std::to_string(header.quorum->shares) + " shares open it"});
  for (const auto& waiver : header.waivers) table.row({"waiver", waiver.rule + ": " + waiver.reason});
  table.row({"signer", summary.signature.key});
  globals.out.table(table, false);
}

int run(Globals& globals, const std::string& file) {
  LineReader input(file, bundle::max_line);
  std::vector<bundle::Record> records;
  const auto summary = bundle::read(input, [&](const bundle::Record& record, std::size_t) {
    records.push_back(record);
    records.back().wrapped.clear();
  });
  note(globals, "nothing here is verified; kmtool verify does that");
  if (json_wanted(globals)) {
    const auto& header = summary.header;
    Json json{{"verified", false}, {"bundle", header.id}, {"kind", header.kind}, {"created", rfc3339(header.created)}, {"creator", header.creator},
              {"token", {{"label", header.token.label}, {"serial", header.token.serial}, {"hardware", header.token.hardware}}},
              {"recipients", Json::array()}, {"waivers", Json::array()}, {"signer", summary.signature.key}, {"keys", Json::array()}};
    for (const auto& recipient : header.recipients) {
      Json one = recipient.is_public() ? Json{{"public_key", recipient.public_key}} : Json{{"kek", recipient.kek}, {"id", hex(recipient.id)}};
      one["type"] = to_text(recipient.type);
      one["algorithm"] = recipient.algorithm_text();
      json["recipients"].push_back(std::move(one));
    }
    for (const auto& waiver : header.waivers) json["waivers"].push_back({{"rule", waiver.rule}, {"reason", waiver.reason}});
    if (header.quorum) json["quorum"] = {{"needed", header.quorum->needed}, {"shares", header.quorum->shares}};
    for (const auto& record : records) json["keys"].push_back(record_json(record));
    globals.out.json(json);
    return 0;
  }
  print_header(globals, summary);
  Table table({{"KEY"}, {"ROLE"}, {"TYPE"}, {"BITS", true}, {"STATE"}, {"CREATED"}, {"EXPIRES"}});
  for (const auto& record : records) {
    table.row({label_of(record.name, record.version), std::string(to_text(record.role)), std::string(to_text(record.type)),
               std::to_string(record.strength), std::string(to_text(record.state)), day(record.created), day(record.expires)});
  }
  globals.out.table(table);
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("inspect", "show what a bundle says of itself; verifies nothing");
  auto file = std::make_shared<std::string>();
  sub->add_option("file", *file, "the bundle")->required()->type_name("FILE");
  sub->callback([&globals, &action, file] { action = [&globals, file] { return run(globals, *file); }; });
}

}  // namespace kmtool::cmd
