#include "objects.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <set>
#include <span>
#include <thread>

#include "templates.hpp"

namespace kmtool::pkcs11 {
namespace {

/// Tokens hold long runs of one kind of key. Attributes that a class does not have are slow to ask for and, on many tokens, an error: after
/// two objects of one class the next one is first read as a third, and again where that was wrong, which ends the run.
class Run {
 public:
  [[nodiscard]] std::optional<ObjectClass> expected() const { return length_ >= 2 ? last_ : std::nullopt; }
  void saw(std::optional<ObjectClass> found) {
    length_ = found == last_ ? length_ + 1 : 1;
    last_ = found;
  }

 private:
  std::optional<ObjectClass> last_;
  std::size_t length_ = 0;
};

std::optional<ObjectClass> class_in(Attributes& filter) {
  for (CK_ULONG i = 0; i < filter.size(); ++i) {
    const CK_ATTRIBUTE& attribute = filter.data()[i];
    if (attribute.type != CKA_CLASS) continue;
    CK_ULONG number = 0;
    std::memcpy(&number, attribute.pValue, sizeof number);
    return class_from(number);
  }
  return std::nullopt;
}

Object read_next(const Session& session, CK_OBJECT_HANDLE handle, Run& run) {
  std::optional<Object> object;
  if (const auto expected = run.expected()) object = read_object_as(session, handle, *expected);
  if (!object) object = read_object(session, handle);
  run.saw(object->object_class);
  return std::move(*object);
}

/// `all`: everything that the session sees was asked for, and one object more or less that says nothing of itself does not end that.
std::vector<Object> read_objects(const Session& session, std::span<const CK_OBJECT_HANDLE> handles, std::optional<ObjectClass> known, bool all = false) {
  std::vector<Object> out;
  out.reserve(handles.size());
  Run run;
  for (const CK_OBJECT_HANDLE handle : handles) {
    try {
      out.push_back(known ? read_object(session, handle, known) : read_next(session, handle, run));
    } catch (const Error& error) {
      // Another process may destroy an object between the find and the read.
      if (is_rv(error, CKR_OBJECT_HANDLE_INVALID)) continue;
      // A kill inside SoftHSM's C_CopyObject leaves an object without a single attribute, of which it says this.
      if (!all || !is_rv(error, CKR_ATTRIBUTE_VALUE_INVALID)) throw;
      out.emplace_back().handle = {handle};
    }
  }
  return out;
}

/// Several sessions read stretches of the handles, this thread's among them; the order stays.
class Readers {
 public:
  Readers(const Session& session, std::span<const CK_OBJECT_HANDLE> handles, std::size_t sessions, const OpenSession& open)
      : handles_(handles), stretches_((handles.size() + stretch - 1) / stretch) {
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < std::min(sessions, stretches_.size()); ++i) {
      threads.emplace_back([&] {
        try {
          serve(open());
        } catch (const Error&) {  // a session less: whoever needs all of them says so
        }
      });
    }
    serve(session);
  }

  std::vector<Object> take() {
    std::vector<Object> out;
    out.reserve(handles_.size());
    for (auto& [objects, error] : stretches_) {
      if (error) std::rethrow_exception(error);
      std::ranges::move(objects, std::back_inserter(out));
    }
    return out;
  }

 private:
  static constexpr std::size_t stretch = 16;
  struct Stretch {
    std::vector<Object> objects;
    std::exception_ptr error;
  };

  void serve(const Session& session) {
    for (std::size_t i = next_++; i < stretches_.size(); i = next_++) {
      try {
        const auto here = handles_.subspan(i * stretch);
        stretches_[i].objects = read_objects(session, here.first(std::min(stretch, here.size())), std::nullopt);
      } catch (...) {
        stretches_[i].error = std::current_exception();
        next_ = stretches_.size();
      }
    }
  }

  std::span<const CK_OBJECT_HANDLE> handles_;
  std::vector<Stretch> stretches_;
  std::atomic<std::size_t> next_{0};
};

}  // namespace

std::vector<Object> find_objects(const Session& session, Attributes filter) {
  const std::optional<ObjectClass> known = class_in(filter);
  const bool all = filter.size() == 0;
  return read_objects(session, session.find(std::move(filter)), known, all);
}

std::optional<std::map<Bytes, std::vector<Object>>> all_objects(const Session& session, std::size_t most, std::size_t sessions,
                                                                const OpenSession& open) {
  const auto handles = session.find(std::move(Attributes().flag(CKA_TOKEN, true)));
  if (handles.size() > most) return std::nullopt;
  std::map<Bytes, std::vector<Object>> out;
  auto objects = sessions > 1 ? Readers(session, handles, sessions, open).take() : read_objects(session, handles, std::nullopt);
  for (Object& object : objects) {
    const Bytes id = object.id;
    out[id].push_back(std::move(object));
  }
  return out;
}

std::map<Bytes, std::vector<Object>> locate_objects(const Session& session, const Profile& profile,
                                                    const std::vector<Bytes>& ids) {
  const std::set<Bytes> wanted(ids.begin(), ids.end());
  std::map<Bytes, std::vector<Object>> out;
  if (wanted.size() <= few_finds) {
    for (const Bytes& id : wanted) {
      if (id.empty()) continue;
      for (const Bytes& stored : stored_ids(id, profile)) {
        Attributes filter;
        filter.flag(CKA_TOKEN, true).bytes(CKA_ID, stored);
        for (Object& object : find_objects(session, std::move(filter))) {
          // Some modules ignore what they do not index.
          if (equal(object.id, id)) out[id].push_back(std::move(object));
        }
      }
    }
    return out;
  }
  out = all_objects(session, std::numeric_limits<std::size_t>::max(), 1, {}).value();
  std::erase_if(out, [&](const auto& entry) { return entry.first.empty() || !wanted.contains(entry.first); });
  return out;
}

crypto::PublicKey public_key_of(const Object& object) {
  if (object.key_type == CKK_RSA && !object.modulus.empty() && !object.public_exponent.empty()) {
    return crypto::PublicKey::from_rsa(object.modulus, object.public_exponent);
  }
  if (!object.ec_params.empty() && !object.ec_point.empty()) return crypto::PublicKey::from_ec(object.ec_params, object.ec_point);
  throw Error::tampered("the object has no public key of a kind that kmtool knows");
}

}  // namespace kmtool::pkcs11
