#include "kmtool/transfer/rewrap.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/copies.hpp"
#include "kmtool/op/workers.hpp"
#include "transfer/rewrap_prepare.hpp"

namespace kmtool::transfer {

namespace {

/// An intent must fit the journal's entries: paths are what is long in it.
constexpr std::size_t most_files = 64, most_octets = 24000;

/// One bundle on its way from the old file to the new.
struct InWork {
  const Prepared& from;
  const op::PlannedFile& plan;
  std::unique_ptr<AtomicFile> file;
  std::unique_ptr<op::BundleOut> out;
  std::uint64_t written = 0;
  bool proven_again = false;
  std::vector<std::string> keys = {};  ///< as the catalog's row names them
};

struct Job {
  std::size_t bundle = 0;
  bundle::Record record;
};

/// Everything of one intent.
class Batch {
 public:
  Batch(op::Context& context, const RewrapRequest& request, KekObjects& keks, Today& today, const std::vector<Prepared>& prepared, const op::Plan& plan,
        RewrapResult& result)
      : context_(context), request_(request), keks_(keks), today_(today), result_(result) {
    for (std::size_t i = 0; i < prepared.size(); ++i) {
      bundles_.push_back({prepared[i], plan.files[i], nullptr, nullptr});
      total_ += prepared[i].records;
    }
  }

  op::Outcome act() {
    op::Workers<Job, std::vector<Bytes>> workers(
        context_, request_.sessions > 0 ? request_.sessions : context_.home.policy.sessions,
        [this](pkcs11::Token& token, const Job& job) { return values(token, job); },
        [this](Job&& job, std::vector<Bytes>&& wrapped) { written(std::move(job), std::move(wrapped)); });
    for (std::size_t i = 0; i < bundles_.size(); ++i) {
      read_again(i, workers);
      bundles_[i].proven_again = true;
      finish_when_whole(bundles_[i]);
    }
    workers.drain();
    return std::move(outcome_);
  }

 private:
  /// On any thread.
  std::vector<Bytes> values(pkcs11::Token& token, const Job& job) {
    const auto& bundle = bundles_[job.bundle];
    const auto& record = job.record;
    const Part part = op::wrapped_part(record.role);
    const pkcs11::ObjectSpec spec{record.role, record.type, part, label_of(record.name, record.version), record.id, true};
    std::optional<crypto::PublicKey> half;
    if (record.public_spki) half = crypto::PublicKey::from_spki(*record.public_spki);
    return token.rewrap(bundle.from.opens, bundle.from.opens_by, record.wrapped[bundle.from.recipient], spec, half ? &*half : nullptr,
                        bundle.out->targets());
  }

  void begin(InWork& bundle) {
    std::vector<op::Kek> keks;
    for (const auto& version : bundle.from.keks) keks.push_back(keks_.get(version));
    op::keep_replaced(bundle.plan);
    bundle.file = std::make_unique<AtomicFile>(bundle.plan.final_path, true, bundle.plan.temporary_path);
    bundle.out = std::make_unique<op::BundleOut>(context_, *bundle.file, std::move(keks), bundle.plan.bundle, bundle.from.records,
                                                 bundle.from.waivers, bundle.from.algorithm);
  }

  void read_again(std::size_t index, op::Workers<Job, std::vector<Bytes>>& workers) {
    auto& bundle = bundles_[index];
    begin(bundle);
    LineReader reader(bundle.plan.final_path, bundle::max_line);
    const auto summary = bundle::read(reader, [&](const bundle::Record& record, std::size_t) {
      if (record.wrapped.size() <= bundle.from.recipient) throw Error::tampered(bundle.plan.final_path + " changed while it was read");
      Job job{index, record};
      today_.bring_up_to_date(job.record, !bundle.from.compromised_kek.empty());
      workers.push(std::move(job));
    });
    if (summary.file_digest == bundle.from.summary.file_digest) return;
    throw Error::tampered(bundle.plan.final_path + " changed while it was read", "it stays as it is; run the command again");
  }

  void written(Job&& job, std::vector<Bytes>&& wrapped) {
    auto& bundle = bundles_[job.bundle];
    job.record.wrapped = std::move(wrapped);
    bundle.out->write(job.record);
    bundle.keys.push_back(op::bundle_label(context_, label_of(job.record.name, job.record.version), job.record.id));
    ++bundle.written;
    context_.progress("re-wrapping", ++done_, total_);
    finish_when_whole(bundle);
  }

  void finish_when_whole(InWork& bundle) {
    if (!bundle.proven_again || bundle.written != bundle.from.records || !bundle.out) return;
    auto record = bundle.out->finish();
    record.keys = std::move(bundle.keys);
    bundle.file->commit();
    bundle.out.reset();
    bundle.file.reset();
    for (auto& change : op::replaced_changes(context_, bundle.plan, record)) outcome_.changes.push_back(std::move(change));
    for (auto& change : record.changes()) outcome_.changes.push_back(std::move(change));
    result_.done.push_back({record.path, record.records, bundle.plan.kept_path});
  }

  op::Context& context_;
  const RewrapRequest& request_;
  KekObjects& keks_;
  Today& today_;
  RewrapResult& result_;
  std::deque<InWork> bundles_;
  op::Outcome outcome_;
  std::uint64_t done_ = 0, total_ = 0;
};

/// The id of the bundle whose place is taken: of its row, or of a file that the catalog does not know; empty: a copy of one that
/// it knows.
std::string replaced_by(const op::Context& context, const Prepared& prepared) {
  if (!prepared.old.id.empty()) return prepared.old.id;
  const auto& id = prepared.summary.header.id;
  const auto bundles = context.bundles();
  return std::ranges::find(bundles, id, &op::BundleRecord::id) == bundles.end() ? id : std::string();
}

op::Plan plan_of(op::Context& context, const RewrapRequest& request, const std::vector<Prepared>& prepared) {
  op::Plan plan;
  plan.command = "rewrap";
  plan.target = request.kek;
  plan.each_alone = true;
  const auto random = context.token().random(22 * prepared.size());
  for (std::size_t i = 0; i < prepared.size(); ++i) {
    const std::filesystem::path target(prepared[i].old.path);
    const ByteView mine(random.data() + 22 * i, 22);
    const auto temporary = target.parent_path() / ("." + target.filename().string() + "." + hex(mine.last(6)) + ".kmtmp");
    plan.files.push_back({target.string(), temporary.string(), uuid_text(mine.first(16)), replaced_by(context, prepared[i]),
                          request.keep ? op::kept_name(context, target.string()) : ""});
    // From the intent on: once its bundle is under another KEK nothing but this row says so.
    plan.begin.insert(plan.begin.end(), prepared[i].exposures.begin(), prepared[i].exposures.end());
  }
  plan.details = {{"kek", request.kek}, {"bundles", prepared.size()}};
  return plan;
}

}  // namespace

RewrapResult rewrap(op::Context& context, const RewrapRequest& request) {
  RewrapResult result;
  KekObjects keks(context);
  Today today(context);
  std::vector<Prepared> batch;
  std::size_t octets = 0;
  const auto run_batch = [&] {
    if (batch.empty()) return;
    const auto plan = plan_of(context, request, batch);
    context.run(plan, [&] { return Batch(context, request, keks, today, batch, plan, result).act(); });
    batch.clear();
    octets = 0;
  };
  std::vector<Prepared> prepared;
  prepare_all(context, request, keks, today, result.left, [&](Prepared&& bundle) { prepared.push_back(std::move(bundle)); });
  for (auto& bundle : prepared) {
    if (!bundle.compromised.empty()) {
      result.notes.push_back(join(bundle.compromised, ", ") + (bundle.compromised.size() == 1 ? " was" : " were") +
                             " called compromised since " + bundle.old.path + " was written: re-wrapped, it says so");
    }
    if (!bundle.exposed.empty()) {
      result.notes.push_back(join(bundle.exposed, ", ") + (bundle.exposed.size() == 1 ? " was" : " were") + " under a compromised kek: re-wrapped, " +
                             bundle.old.path + " calls " + (bundle.exposed.size() == 1 ? "it" : "them") + " compromised");
    }
    if (context.options.dry_run) {
      result.done.push_back({bundle.old.path, bundle.records, request.keep ? op::kept_name(context, bundle.old.path) : "", std::move(bundle.labels)});
      continue;
    }
    octets += 4 * bundle.old.path.size();
    batch.push_back(std::move(bundle));
    if (batch.size() >= most_files || octets >= most_octets) run_batch();
  }
  run_batch();
  return result;
}

}  // namespace kmtool::transfer
