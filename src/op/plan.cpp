#include "kmtool/op/plan.hpp"

#include <fmt/format.h>

#include "kmtool/core/encoding.hpp"

namespace kmtool::op {

namespace {

constexpr std::size_t keys_per_row = 200;
constexpr std::size_t finish_per_row = 40;

[[noreturn]] void fail(const std::string& what) {
  throw Error::tampered("an open intent in the journal cannot be read: " + what, "run kmtool doctor");
}

Json key_json(const PlannedKey& key) {
  return {key.label, hex(key.id), to_text(key.role), to_text(key.type), key.extractable, key.imported};
}

PlannedKey key_from(const Json& json) {
  if (!json.is_array() || json.size() != 6) fail("a planned key is malformed");
  PlannedKey key;
  key.label = json[0].get<std::string>();
  const auto id = from_hex(json[1].get<std::string>());
  const auto role = role_from(json[2].get<std::string>());
  const auto type = key_type_from(json[3].get<std::string>());
  if (!id || id->size() != 16 || !role || !type) fail("a planned key is malformed");
  key.id = *id;
  key.role = *role;
  key.type = *type;
  key.extractable = json[4].get<bool>();
  key.imported = json[5].get<bool>();
  return key;
}

Json main_row(const Plan& plan) {
  Json row;
  row["command"] = plan.command;
  row["target"] = plan.target;
  row["files"] = Json::array();
  for (const auto& file : plan.files) {
    Json json{{"final", file.final_path}, {"temporary", file.temporary_path}, {"bundle", file.bundle}};
    json["replaces"] = file.replaces;
    json["kept"] = file.kept_path;
    row["files"].push_back(std::move(json));
  }
  row["each_alone"] = plan.each_alone;
  row["destroys"] = plan.destroys;
  row["nameless"] = Json::object();
  for (const auto& [fingerprint, count] : plan.nameless) row["nameless"][fingerprint] = count;
  return row;
}

/// Cuts a list into rows of at most `size`, each named by the given letter.
template <class T, class Make>
void add_rows(std::vector<Json>& rows, const char* member, const std::vector<T>& list, std::size_t size, Make make) {
  for (std::size_t i = 0; i < list.size(); i += size) {
    Json part = Json::array();
    for (std::size_t k = i; k < std::min(i + size, list.size()); ++k) part.push_back(make(list[k]));
    rows.push_back(Json{{member, part}});
  }
}

std::vector<Json> rows_of(const Plan& plan) {
  std::vector<Json> rows{main_row(plan)};
  add_rows(rows, "keys", plan.keys, keys_per_row, key_json);
  add_rows(rows, "finish", plan.finish, finish_per_row, [](const journal::Change& change) {
    return Json{{"kind", change.kind}, {"id", change.id}, {"value", change.value.value_or(Json(nullptr))}};
  });
  return rows;
}

}  // namespace

std::string Plan::row_id(const std::string& id, std::size_t number) { return fmt::format("{}/{:06}", id, number); }

std::vector<journal::Change> Plan::to_changes(const std::string& id) const {
  std::vector<journal::Change> changes;
  for (auto& row : rows_of(*this)) changes.push_back({"intent", row_id(id, changes.size()), std::move(row)});
  return changes;
}

std::vector<journal::Change> Plan::removal(const std::string& id) const {
  std::vector<journal::Change> changes;
  const std::size_t count = rows_of(*this).size();
  for (std::size_t i = 0; i < count; ++i) changes.push_back({"intent", row_id(id, i), std::nullopt});
  return changes;
}

Plan Plan::from_rows(const std::vector<Json>& rows) {
  Plan plan;
  try {
    for (const auto& row : rows) {
      if (row.contains("keys")) {
        for (const auto& key : row["keys"]) plan.keys.push_back(key_from(key));
      } else if (row.contains("finish")) {
        for (const auto& change : row["finish"]) {
          const Json& value = change.at("value");
          plan.finish.push_back({change.at("kind").get<std::string>(), change.at("id").get<std::string>(),
                                 value.is_null() ? std::nullopt : std::optional<Json>(value)});
        }
      } else {
        plan.command = row.at("command").get<std::string>();
        plan.target = row.at("target").get<std::string>();
        for (const auto& file : row.at("files")) {
          plan.files.push_back({file.at("final").get<std::string>(), file.at("temporary").get<std::string>(),
                                file.at("bundle").get<std::string>(), file.at("replaces").get<std::string>(),
                                file.at("kept").get<std::string>()});
        }
        plan.each_alone = row.at("each_alone").get<bool>();
        plan.destroys = row.at("destroys").get<std::vector<std::string>>();
        for (const auto& [fingerprint, count] : row.at("nameless").items()) plan.nameless[fingerprint] = count.get<std::size_t>();
      }
    }
  } catch (const Json::exception&) {
    fail("a row is malformed");
  }
  return plan;
}

}  // namespace kmtool::op
