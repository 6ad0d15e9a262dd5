#include "audit.hpp"
#include "kmtool/audit/inventory.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::cmd {

namespace {

/// Always the same for the same content and time: no random value is needed, and none may come from the host.
std::string serial_of(const audit::Inventory& inventory, UnixTime now) {
  const auto digest = crypto::sha256(view(dump_json(audit::inventory_json(inventory)) + rfc3339(now)));
  return uuid_text(ByteView(digest).first(16));
}

void print(Globals& globals, const audit::Inventory& inventory) {
  globals.out.line("token  " + printable(inventory.token_label) + " (serial " + printable(inventory.token_serial) + (inventory.token_model.empty() ? "" : ", " + printable(inventory.token_model)) +
                   "), " + (inventory.hardware ? "hardware" : "software: not an HSM") + (inventory.validation.empty() ? "" : ", " + printable(inventory.validation)));
  Table table({{"KEY"}, {"ROLE"}, {"TYPE"}, {"STATE"}, {"WHERE"}, {"RECIPIENTS"}, {"SINCE"}, {"HOST"}});
  for (const auto& placed : inventory.keys) {
    const auto& version = placed.version;
    table.row({version.label(), std::string(to_text(version.role)), std::string(to_text(version.type)), std::string(to_text(version.state)),
               placed.on_token ? "token " + printable(version.token_serial) : "destroyed", "", day(version.created), ""});
    for (const auto& copy : placed.copies) table.row({"", "", "", "", printable(copy.path), join(copy.recipients, ", "), day(copy.written), printable(copy.host)});
  }
  if (!table.empty()) globals.out.table(table);
}

int run(Globals& globals) {
  const auto format = chosen_format(globals);
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto inventory = audit::take_inventory(context);
  if (format == "table") {
    print(globals, inventory);
  } else if (format == "json") {
    globals.out.json(audit::inventory_json(inventory));
  } else {
    globals.out.json(audit::inventory_cyclonedx(inventory, context.now(), serial_of(inventory, context.now())));
  }
  return 0;
}

}  // namespace

void add_audit_inventory(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("inventory", "where every key version is: token, bundles and their recipients (table, json, cyclonedx)");
  offer_formats(sub, globals, {"table", "json", "cyclonedx"});
  sub->callback([&globals, &action] { action = [&globals] { return run(globals); }; });
}

}  // namespace kmtool::cmd
