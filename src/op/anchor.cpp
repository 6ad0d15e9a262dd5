#include <algorithm>
#include <charconv>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

struct Anchor {
  std::uint64_t size = 0;
  tlog::Hash root{};
  char suffix = 'a';
};

constexpr const char* prefix = "kmtool-anchor";

/// `kmtool-anchor:HOME-ID:SIZE:ROOT-HEX-a`; nullopt for anything else.
std::optional<Anchor> parse_anchor(const std::string& label, const std::string& home_id) {
  const auto parts = split(label, ':');
  if (parts.size() != 4 || parts[0] != prefix || parts[1] != home_id || parts[3].size() != 66) return std::nullopt;
  Anchor anchor;
  const auto [end, error] = std::from_chars(parts[2].data(), parts[2].data() + parts[2].size(), anchor.size);
  const auto root = from_hex(parts[3].substr(0, 64));
  anchor.suffix = parts[3][65];
  if (error != std::errc{} || end != parts[2].data() + parts[2].size() || !root || parts[3][64] != '-' ||
      (anchor.suffix != 'a' && anchor.suffix != 'b')) {
    return std::nullopt;
  }
  std::copy(root->begin(), root->end(), anchor.root.begin());
  return anchor;
}

Error rolled_back(const std::string& what) {
  return Error::tampered(what,
                         "this home is a copy or was restored from an older state; use the newest home, or, if it was meant: "
                         "kmtool doctor --accept-rollback --reason TEXT");
}

}  // namespace

std::string anchor_label(const std::string& home_id, const tlog::Checkpoint& checkpoint, char suffix) {
  return std::string(prefix) + ":" + home_id + ":" + std::to_string(checkpoint.size) + ":" + hex(checkpoint.root) + "-" + suffix;
}

std::vector<pkcs11::Object> anchors_among(const Context& context, const std::vector<pkcs11::Object>& objects) {
  std::vector<pkcs11::Object> found;
  const std::string start = std::string(prefix) + ":" + context.home.config.home_id + ":";
  for (const auto& object : objects) {
    if (object.object_class == pkcs11::ObjectClass::secret_key && object.label.rfind(start, 0) == 0) found.push_back(object);
  }
  return found;
}

std::uint64_t highest_anchor(const Context& context, const std::vector<pkcs11::Object>& anchors) {
  std::uint64_t highest = 0;
  for (const auto& object : anchors) {
    if (const auto anchor = parse_anchor(object.label, context.home.config.home_id)) highest = std::max(highest, anchor->size);
  }
  return highest;
}

AnchorState check_anchor(Context& context) {
  auto& state = context.state();
  // Where anchors stand, they count, whatever the profile says: an older home has an older one.
  if (state.anchors.empty() && !context.token().profile().relabels) return AnchorState::unsupported;
  const auto& head = state.head.value();
  std::uint64_t highest = 0;
  for (const auto& object : state.anchors) {
    const auto anchor = parse_anchor(object.label, context.home.config.home_id);
    if (!anchor) throw rolled_back("the rollback anchor on the token is unreadable");
    if (anchor->size > head.checkpoint.size) {
      throw rolled_back("the token's rollback anchor stands at entry " + std::to_string(anchor->size) + ", this home's journal ends at " +
                        std::to_string(head.checkpoint.size));
    }
    if (!state.journal->contains_root(anchor->size, anchor->root)) {
      throw rolled_back("the token's rollback anchor at entry " + std::to_string(anchor->size) + " does not lie on this home's journal");
    }
    highest = std::max(highest, anchor->size);
  }
  if (state.anchors.empty()) throw rolled_back("the token has no rollback anchor for this home");
  return highest == head.checkpoint.size ? AnchorState::ok : AnchorState::behind;
}

void make_anchor(Context& context) {
  auto& state = context.state();
  if (state.anchors.empty() && !context.token().profile().relabels) return;
  for (const auto& object : state.anchors) context.token().destroy(object.handle);
  state.anchors.clear();
  const auto note = state.journal->last_note();
  const auto checkpoint = tlog::parse_checkpoint(note.value().text);
  for (const char suffix : {'a', 'b'}) {
    const auto label = anchor_label(context.home.config.home_id, checkpoint, suffix);
    const auto handle = context.token().create_anchor_object(context.home.config.anchor_id(), label);
    pkcs11::Object object;
    object.handle = handle;
    object.object_class = pkcs11::ObjectClass::secret_key;
    object.label = label;
    state.anchors.push_back(std::move(object));
  }
}

void drop_surplus_anchors(Context& context) {
  auto& anchors = context.state().anchors;
  const auto size_of = [&](const pkcs11::Object& object) {
    const auto anchor = parse_anchor(object.label, context.home.config.home_id);
    return anchor ? anchor->size : 0;
  };
  while (anchors.size() > 2) {
    const auto oldest = std::ranges::min_element(anchors, {}, size_of);
    context.token().destroy(oldest->handle);
    anchors.erase(oldest);
  }
}

void advance_anchor(Context& context) {
  auto& state = context.state();
  if (state.anchors.empty()) return;  // init makes them after its first entry
  const auto note = state.journal->last_note();
  const auto checkpoint = tlog::parse_checkpoint(note.value().text);
  // The older one moves, so that a kill in the middle of a relabel costs one and leaves the other.
  std::size_t older = 0;
  std::uint64_t older_size = ~std::uint64_t{0};
  bool has_a = false;
  for (std::size_t i = 0; i < state.anchors.size(); ++i) {
    const auto anchor = parse_anchor(state.anchors[i].label, context.home.config.home_id);
    if (anchor && anchor->size < older_size) {
      older_size = anchor->size;
      older = i;
    }
    has_a = has_a || (anchor && anchor->suffix == 'a');
  }
  if (state.anchors.size() == 1) {  // one was lost in a crash: make it anew
    const char suffix = has_a ? 'b' : 'a';
    pkcs11::Object object;
    object.label = anchor_label(context.home.config.home_id, checkpoint, suffix);
    object.handle = context.token().create_anchor_object(context.home.config.anchor_id(), object.label);
    state.anchors.push_back(std::move(object));
    return;
  }
  auto& object = state.anchors[older];
  const char suffix = object.label.empty() ? 'a' : object.label.back();
  object.label = anchor_label(context.home.config.home_id, checkpoint, suffix);
  context.token().relabel(object.handle, object.label);
}

}  // namespace kmtool::op
