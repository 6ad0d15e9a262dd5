#include "kmtool/core/encoding.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/turn.hpp"
#include "op/sink.hpp"
#include "op/state.hpp"

namespace kmtool::op {

journal::LogSigner log_signer(Context& context) {
  auto& state = context.state();
  const auto& key = state.keys.at("log");
  const auto handle = state.signer_handles.at("log");
  const bool edwards = key.is_ed25519();
  return {context.home.config.origin(), key, [&context, handle, edwards](ByteView text) {
            if (edwards) return context.token().sign_ed25519(handle, text);
            return context.token().sign_ecdsa(handle, crypto::sha256(text));
          }};
}

std::uint64_t append(Context& context, journal::Draft draft) {
  take_turn(context);
  auto& state = context.state();
  draft.policy_digest = context.home.policy_digest;
  draft.config_digest = context.home.config_digest;
  draft.authenticated = state.signer_handles.contains("log");
  if (!draft.authenticated) return state.journal->append(draft, state.actor, context.now(), nullptr);
  if (!state.anchor_checked && !context.options.skip_anchor) {
    check_anchor(context);  // also a refusal that a mere look ends with: in a home that was put back it would move the anchor there
    state.anchor_checked = true;
  }
  const auto signer = log_signer(context);
  const auto first = state.journal->append(draft, state.actor, context.now(), &signer);
  if (state.head) {
    state.head->checkpoint = tlog::parse_checkpoint(state.journal->last_note().value().text);
    state.head->size = state.journal->size();
  }
  advance_anchor(context);
  const bool sink_is_down = state.unsent && draft.result == "failed";  // it was told of the act, and failed: the next command tries again
  if (!sink_is_down) send_checkpoint(context);
  return first;
}

void require_document_signer(Context& context) {
  if (context.state().signer_handles.contains("document")) return;
  throw Error::tampered("the token has no document signer of this home (" + context.active_signer("document").label(context.home.config.home_id) + ")",
                        "it was removed behind kmtool's back; kmtool signer rotate makes a new one, which other sites must then pin");
}

Bytes Context::sign_document(ByteView digest) { require_document_signer(*this); return token().sign_ecdsa(state_->signer_handles.at("document"), digest); }
crypto::PublicKey Context::document_key() const {
  auto& keys = state_->keys;
  auto found = keys.find("document");  // decoded where it is asked for: that costs OpenSSL more than a signature
  if (found == keys.end()) found = keys.emplace("document", crypto::PublicKey::from_spki(active_signer("document").spki)).first;
  return found->second;
}

void Context::note(const std::string& command, const std::string& target, Json details, std::vector<journal::Change> changes) {
  journal::Draft draft;
  draft.phase = journal::Phase::note;
  draft.command = command;
  draft.target = target;
  draft.result = "done";
  draft.details = std::move(details);
  draft.changes = std::move(changes);
  append(*this, std::move(draft));
  require_sent(*this, "it is done and recorded, but");
}

void Context::refused(const std::string& command, const std::string& target, const Error& error) noexcept {
  try {
    journal::Draft draft;
    draft.phase = journal::Phase::refusal;
    draft.command = command;
    draft.target = target.size() > 1000 ? target.substr(0, 1000) : target;
    draft.result = "refused";
    draft.details["code"] = error.code();
    draft.details["message"] = error.message();
    append(*this, std::move(draft));
    state_->unsent.reset();  // nothing was done; the next command that changes something sends it
  } catch (const std::exception&) {  // the refusal stands, recorded or not: nothing was done
  }
}

journal::Change open_intents(const std::map<std::string, std::size_t>& open) {
  Json value = Json::object();
  for (const auto& [id, rows] : open) value[id] = rows;
  return {"intents", "open", value};
}

namespace {

journal::Draft draft_of(const Plan& plan, journal::Phase phase) {
  journal::Draft draft;
  draft.phase = phase;
  draft.command = plan.command;
  draft.target = plan.target;
  return draft;
}

/// True while every object that was to be destroyed still stands.
bool untouched(Context& context, const Plan& plan) try {
  for (const auto& label : plan.destroys) {
    const auto version = context.find_version(label);
    if (!version || context.token().find_by_id(version->id).size() < parts_of(version->role).size()) return false;
  }
  return true;
} catch (const Error&) {  // a token that does not answer: nobody knows
  return false;
}

/// Puts the intent on record; its entry's number.
std::uint64_t begin(Context& context, const Plan& plan, const std::string& id) {
  auto intent = draft_of(plan, journal::Phase::intent);
  intent.details = plan.details;
  intent.changes = plan.to_changes(id);
  const std::size_t rows = intent.changes.size();
  for (const auto& change : plan.begin) intent.changes.push_back(change);
  intent.changes.push_back(open_intents({{id, rows}}));
  return append(context, std::move(intent));
}

/// Throws where a failed act has gone so far that it is finished, not undone.
void leave_what_landed(Context& context, const Plan& plan, const Error& error) {
  if (!plan.destroys.empty() && !untouched(context, plan)) {
    throw Error(error.exit(), error.code(), error.message(), "the next command or kmtool doctor --repair finishes it");
  }
  if (!plan.each_alone && files_landed(plan)) {  // whole and under its name: the next command records it as done, nothing is taken away again
    throw Error(error.exit(), error.code(), error.message(), "the bundle was written; the next command or kmtool doctor --repair records it");
  }
}

}  // namespace

Outcome Context::run(const Plan& wanted, const std::function<Outcome()>& act) {
  if (state_->in_doubt) throw Error(*state_->in_doubt);
  take_turn(*this);
  if (state_->unsettled) {
    recover(*this);
    state_->unsettled = false;
  }
  Plan plan = wanted;
  if (!plan.files.empty()) require_document_signer(*this);
  if (!plan.keys.empty()) plan.nameless = nameless_objects(*this);
  const std::string id = hex(token().random(16));
  const auto started = std::filesystem::file_time_type::clock::now() - std::chrono::seconds(2);
  const auto number = begin(*this, plan, id);
  state_->unsettled = true;

  auto close = [&](const std::string& how, Json details, std::vector<journal::Change> changes) {
    auto outcome = draft_of(plan, journal::Phase::outcome);
    outcome.intent = number;
    outcome.result = how;
    outcome.details = std::move(details);
    outcome.changes = std::move(changes);
    for (auto& change : plan.removal(id)) outcome.changes.push_back(std::move(change));
    outcome.changes.push_back(open_intents({}));
    append(*this, std::move(outcome));
    state_->unsettled = false;
  };
  Outcome result;
  const bool untold = state_->unsent.has_value();
  bool closing = false;
  try {
    if (untold) throw Error(*state_->unsent);
    Outcome outcome = act();
    if (home.config.embedded && (!plan.keys.empty() || !plan.destroys.empty())) home::sync_token_files(home.paths, started);
    closing = true;
    close("done", outcome.details, outcome.changes);
    result = std::move(outcome);
  } catch (const Error& error) {
    leave_what_landed(*this, plan, error);
    // A commit whose fsync failed may yet be found in the write-ahead log: what it records as done must not be undone. Opening the database
    // anew tells, which this process cannot.
    if (closing && error.exit() == ExitCode::io) {
      state_->in_doubt = Error(error.exit(), error.code(), error.message(), "make room or mend the disk; then the next command or kmtool doctor --repair finishes or undoes it");
      throw Error(*state_->in_doubt);
    }
    try {
      std::vector<std::string> done;
      auto changes = plan.each_alone ? settle_files(*this, plan, done) : plan.back;
      Json details{{"code", error.code()}, {"message", error.message()}};
      if (!plan.each_alone) {
        if (auto undone = undo(*this, plan); !undone.nameless.empty()) details["destroyed"] = std::move(undone.nameless);
      }
      close("failed", std::move(details), std::move(changes));
    } catch (const std::exception&) {
      throw Error(error.exit(), error.code(), error.message(),
                  (error.hint().empty() ? "" : error.hint() + "; ") +
                      std::string("what was begun could not be undone yet: the next command or kmtool doctor --repair does it"));
    }
    if (untold) require_sent(*this, "nothing was done:");
    state_->unsent.reset();  // the failure is what counts
    throw;
  }
  require_sent(*this, "it is done and recorded, but");
  return result;
}

}  // namespace kmtool::op
