#include <algorithm>
#include <iterator>
#include <set>

#include "kmtool/core/encoding.hpp"
#include "kmtool/domain/name.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

/// Ids that the catalog knows: repair never touches an object that carries one.
std::set<Bytes> known_ids(Context& context) {
  std::set<Bytes> ids{context.home.config.anchor_id()};
  for (const auto& version : context.versions()) {
    if (version.state != State::destroyed) ids.insert(version.id);  // a destroyed kek may come back from its export under its own id
  }
  for (const auto& signer : context.signers()) ids.insert(signer.id);
  return ids;
}

/// Destroys what bears the planned ids; what the token has nothing of may have been left without label and id.
std::vector<Unmade> destroy_planned(Context& context, const Plan& plan, std::vector<std::string>& done) {
  const auto known = known_ids(context);
  std::vector<Bytes> ids;
  std::map<Bytes, std::string> labels;
  for (const auto& key : plan.keys) {
    if (known.contains(key.id)) {
      throw Error::tampered("an open intent of " + plan.command + " names the id of a key that already exists (" + key.label + ")",
                            "the intent was planted or the journal is damaged; nothing was destroyed");
    }
    ids.push_back(key.id);
    labels[key.id] = key.label;
  }
  auto located = context.token().locate(ids);
  // Also what a kill inside the token left half-copied: by label, for locate() sees only what is whole.
  std::set<std::string> names;
  for (const auto& key : plan.keys) names.insert(key.label);
  for (auto& object : context.token().find_by_labels(names)) {
    const auto ours = labels.find(object.id);
    if (ours != labels.end() && ours->second == object.label && object.token == false) located[object.id].push_back(std::move(object));
  }
  auto unmade = unmade_of(plan, located);
  for (const auto& [id, objects] : located) {
    for (const auto& object : objects) {
      if (!object.label.empty() && object.label != labels.at(id)) {
        throw Error::tampered("an object with the id of unfinished " + labels.at(id) + " carries the label " + object.label,
                              "it was not made by kmtool; nothing was destroyed");
      }
      context.token().destroy(object.handle);
      done.push_back("destroyed an unfinished object of " + labels.at(id));
    }
  }
  return unmade;
}

/// True when every planned key stands on the token exactly as planned; fills in the public halves' keys.
bool keys_complete(Context& context, const Plan& plan, std::map<std::string, Bytes>& spkis) {
  std::vector<Bytes> ids;
  for (const auto& key : plan.keys) ids.push_back(key.id);
  const auto located = context.token().locate(ids);
  for (const auto& key : plan.keys) {
    const auto found = located.find(key.id);
    if (found == located.end() || found->second.size() != parts_of(key.role).size()) return false;
    for (const auto& object : found->second) {
      bool fits = false;
      for (const Part part : parts_of(key.role)) {
        pkcs11::ObjectSpec spec{key.role, key.type, part, key.label, key.id, key.extractable};
        fits = fits || context.token().differences(object, spec, key.imported).empty();
      }
      if (!fits) return false;
      if (object.object_class == pkcs11::ObjectClass::public_key) spkis[key.label] = context.token().public_key(object).spki();
    }
  }
  return true;
}

/// The signed intent itself says, in the catalog, that these versions are destroyed: what is left of their objects goes.
void finish_destroying(Context& context, const Plan& plan, std::vector<std::string>& done) {
  for (const auto& label : plan.destroys) {
    const auto version = context.find_version(label);
    if (!version || version->state != State::destroyed) {
      throw Error::tampered("an open intent would destroy " + label + ", which the catalog does not call destroyed",
                            "the intent was planted or the journal is damaged; nothing was destroyed");
    }
    destroy_objects(context, *version);
    done.push_back("finished destroying " + label);
  }
}

void resolve_intent(Context& context, const std::string& id, const Plan& plan, std::uint64_t number, std::vector<std::string>& done) {
  journal::Draft draft;
  draft.phase = journal::Phase::outcome;
  draft.command = plan.command;
  draft.target = plan.target;
  draft.intent = number;
  draft.details["recovered"] = true;
  std::map<std::string, Bytes> spkis;
  // What the interrupted run made or destroyed may be in memory still and never have reached the disk.
  const auto sync = [&] {
    if (context.home.config.embedded) home::sync_token_files(context.home.paths, std::filesystem::file_time_type::min());
  };
  if (!plan.destroys.empty()) {
    draft.result = "done";
    finish_destroying(context, plan, done);
    sync();
  } else if (plan.each_alone) {
    draft.result = "done";
    draft.changes = settle_files(context, plan, done);
  } else if (files_landed(plan) && keys_complete(context, plan, spkis)) {
    if (!plan.keys.empty()) sync();
    draft.result = "done";
    draft.changes = plan.finish;
    for (auto& change : draft.changes) {
      const auto spki = spkis.find(change.id);
      if (change.kind == "version" && change.value && spki != spkis.end()) (*change.value)["public"] = base64(spki->second);
    }
    for (const auto& file : plan.files) {
      for (auto& change : landed_changes(context, file)) draft.changes.push_back(std::move(change));
    }
    done.push_back("finished " + plan.command + " " + plan.target);
  } else {
    draft.result = "undone";
    auto undone = undo(context, plan);
    std::ranges::move(undone.done, std::back_inserter(done));
    if (!undone.nameless.empty()) draft.details["destroyed"] = std::move(undone.nameless);
    if (!plan.keys.empty()) sync();
    done.push_back("undid unfinished " + plan.command + " " + plan.target);
  }
  for (auto& change : plan.removal(id)) draft.changes.push_back(std::move(change));
  draft.changes.push_back(open_intents({}));
  append(context, std::move(draft));
}

}  // namespace

void prove_log_signer(Context& context) {
  const auto signer = log_signer(context);
  const auto text = context.state().head.value().checkpoint.body();
  const auto note = tlog::sign_note(text, signer.name, signer.key, signer.sign);
  if (!tlog::verify_note(note, signer.name, signer.key)) {
    throw Error::tampered("the token's log signer does not belong to signers/log.pem",
                          "the home was altered or belongs to another token; nothing was done");
  }
}

Undone undo(Context& context, const Plan& plan) {
  Undone undone;
  for (const auto& file : plan.files) clear_file(file, undone.done);
  if (plan.keys.empty()) return undone;
  destroy_nameless(context, plan, destroy_planned(context, plan, undone.done), undone);
  return undone;
}

std::vector<std::string> recover(Context& context) {
  std::vector<std::string> done;
  std::map<std::string, std::pair<std::uint64_t, std::vector<Json>>> open;
  if (const auto index = context.journal().proven("intents", "open")) {
    const Json list = index->json();
    for (const auto& [id, count] : list.items()) {
      auto& [number, rows] = open[id];
      for (std::size_t i = 0; i < count.get<std::size_t>(); ++i) {
        const auto row = context.journal().proven("intent", Plan::row_id(id, i));
        if (!row) throw Error::tampered("the journal lacks a part of its open intent " + id, "run kmtool doctor");
        rows.push_back(row->json());
        number = row->seq;
      }
    }
  }
  std::size_t listed = 0;
  for (const auto& [id, intent] : open) listed += intent.second.size();
  if (context.journal().items("intent").size() != listed) {
    throw Error::tampered("the database holds intents that the signed journal does not know", "they were planted; nothing was done because of them");
  }
  const bool behind = check_anchor(context) == AnchorState::behind;
  context.state().anchor_checked = true;
  const bool surplus = context.state().anchors.size() > 2;
  if (open.empty() && !behind && !surplus && !context.state().rotation_cut_off) return done;
  prove_log_signer(context);
  if (surplus) {
    drop_surplus_anchors(context);
    done.push_back("removed a rollback anchor that was one too many");
  }
  if (behind) {
    advance_anchor(context);
    done.push_back("brought the rollback anchor up to the newest entry");
  }
  for (const auto& [id, intent] : open) resolve_intent(context, id, Plan::from_rows(intent.second), intent.first, done);
  finish_signer_rotation(context, done);
  return done;
}

}  // namespace kmtool::op
