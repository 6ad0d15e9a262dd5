#include "kmtool/share/quorum.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "kmtool/core/file.hpp"
#include "kmtool/core/locked_heap.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/cms.hpp"
#include "kmtool/crypto/gate.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/home/home.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/share/qr.hpp"

namespace kmtool::share {

namespace {

namespace fs = std::filesystem;

crypto::GatePlace place_of(const bundle::Header& header, std::size_t record, std::size_t recipient) {
  return {header.id, static_cast<std::uint32_t>(record), static_cast<std::uint32_t>(recipient)};
}

/// C_GenerateRandom's octets in locked memory. They pass through the plain heap, which is therefore locked too, and are cleansed
/// there.
SecretBytes random_secret(op::Context& context, std::size_t size) {
  static const bool locked = lock_heap();
  static_cast<void>(locked);  // best effort, as the secret heap itself is
  Bytes octets = context.token().random(size);
  SecretBytes secret{ByteView(octets)};
  cleanse(octets.data(), octets.size());
  return secret;
}

/// The bundle that a share file names, also one that is encrypted (in the line
/// above its PEM); empty for anything else.
std::string bundle_named_by(const fs::path& path) try {
  const auto text = read_secret_file(path, std::size_t{64} << 10);
  const std::string_view all(reinterpret_cast<const char*>(text.reveal().data()), text.size());
  const bool plain = all.starts_with("kmtool share 1\n");
  if (!plain && !all.starts_with("# kmtool share")) return {};
  const std::string_view before = plain ? "\nbundle " : "bundle ";  // a plain one's second line says `--bundle` too
  const auto at = all.find(before);
  if (at == std::string_view::npos) return {};
  const auto begin = all.find_first_not_of(' ', at + before.size());
  return begin == std::string_view::npos ? "" : std::string(all.substr(begin, 36));
} catch (const Error&) {
  return {};
}

void remove_quietly(const fs::path& path) {
  std::error_code ignored;
  fs::remove(path, ignored);
}

}  // namespace

Custodian Custodian::parse(const std::string& text) {
  const auto equals = text.find('=');
  Custodian custodian;
  custodian.name = text.substr(0, equals);
  require_name(custodian.name, "custodian's name");
  if (equals != std::string::npos) {
    custodian.certificate = text.substr(equals + 1);
    if (custodian.certificate->empty())
      throw Error::usage("--custodian " + printable(text) + ": no certificate", "write NAME=CERT.pem, or NAME alone");
  }
  return custodian;
}

struct Maker::Impl {
  Impl(op::Context& in, QuorumRequest wanted, fs::path target) : context(in), request(std::move(wanted)), bundle(std::move(target)) {}

  op::Context& context;
  QuorumRequest request;
  fs::path bundle;
  std::vector<std::optional<crypto::Certificate>> certificates;
  std::vector<WrittenShare> planned;
  std::vector<fs::path> landed;
  std::vector<std::string> warnings;
  std::map<std::string, op::Making> makings;  ///< of the bundles whose shares lie in the way
  SecretBytes gate;
  std::vector<Share> shares;
  std::string id;
  bool kept = false;

  /// A failure after the bundle got its name: it will be recorded, and is worth nothing without its shares.
  [[nodiscard]] bool bundle_is_there() const try {
    LineReader reader(bundle, bundle::max_line);
    return !id.empty() && bundle::read_header(reader).id == id;
  } catch (const std::exception&) {
    return false;
  }

  void plan() {
    std::set<std::string> names;
    for (unsigned i = 0; i < request.quorum.shares; ++i) {
      const Custodian custodian =
          i < request.custodians.size() ? request.custodians[i] : Custodian{"custodian-" + std::to_string(i + 1), std::nullopt};
      if (!names.insert(custodian.name).second)
        throw Error::usage("two custodians have the name " + custodian.name, "each share goes to another person");
      certificates.emplace_back();
      WrittenShare share{custodian.name, i + 1, {}, {}};
      if (custodian.certificate) {
        certificates.back() = crypto::Certificate::read_pem(*custodian.certificate);
        share.certificate = certificates.back()->fingerprint();
        if (certificates.back()->expired(context.now()))
          warnings.push_back("the certificate of " + custodian.name +
                             " has expired: " + printable(custodian.certificate->string()));
        if (request.qr)
          throw Error::usage("--qr goes with shares that are not encrypted",
                             "the custodian draws it after opening their "
                             "share: kmtool share qr");
      }
      share.file = fs::absolute(request.folder) / custodian.name /
                   fmt::format("{}-{}.share{}", bundle.stem().string(), i + 1, custodian.certificate ? ".cms" : "");
      home::check_folder(share.file.parent_path());
      require_free(share.file);
      planned.push_back(std::move(share));
    }
    const auto plain = static_cast<std::size_t>(std::count(certificates.begin(), certificates.end(), std::nullopt));
    if (plain > 0) {
      warnings.push_back(fmt::format("{} of {} shares {} not encrypted: whoever reads the files has them; hand each to its custodian and remove it here, or "
                                     "name who gets it: --custodian NAME=CERT.pem",
                                     plain, planned.size(), plain == 1 ? "is" : "are"));
    }
  }

  /// A share that lies there is of a bundle that never came to be, or --force was said and its bundle is known to be gone.
  void require_free(const fs::path& file) {
    std::error_code ignored;
    if (!fs::exists(fs::symlink_status(file, ignored))) return require_no_code(file);
    const auto shown = printable(file.string());
    const auto named = bundle_named_by(file);
    auto making = op::Making::written;
    if (!named.empty()) {
      for (const auto& known : context.bundles()) {
        if (known.id != named) continue;
        throw Error::exists(
            shown + " is a share of " + printable(known.path),
            "choose another folder for the shares; not even --force replaces one that a bundle of the catalog needs");
      }
      if (!makings.contains(named)) makings[named] = op::making_of(context, named);
      making = makings.at(named);
    }
    if (making == op::Making::unknown) {
      throw Error::exists(shown + " is a share of the bundle " + printable(named) +
                              ", which is not on this home's record: a restore forgot it, or another home made it",
                          "choose another folder for the shares; not even --force replaces one whose bundle is not known to be "
                          "gone: where it is, remove the share");
    }
    if (making == op::Making::undone || context.options.overwrite) return;
    throw Error::exists(shown + " exists", "choose another folder for the shares, or say --force to replace it");
  }

  /// Codes beside a share are the share once more; nothing tells of which bundle where the share itself was taken away.
  void require_no_code(const fs::path& file) const {
    if (!request.qr || context.options.overwrite) return;
    for (const auto* ending : {".png", ".qr.txt"}) {
      std::error_code ignored;
      const fs::path code(file.string() + ending);
      if (!fs::exists(fs::symlink_status(code, ignored))) continue;
      throw Error::exists(printable(code.string()) + " exists",
                          "choose another folder for the shares, or say --force to replace it");
    }
  }

  void describe(bundle::Header& header) {
    id = header.id;
    gate = random_secret(context, crypto::gate_secret_size);
    shares = split(gate, request.quorum, header.id, random_secret(context, random_needed(request.quorum)));
    header.quorum.emplace();
    header.quorum->needed = request.quorum.needed;
    header.quorum->shares = request.quorum.shares;
    for (std::size_t i = 0; i < shares.size(); ++i) {
      shares[i].custodian = planned[i].custodian;
      header.quorum->commitments.push_back(commitment(shares[i]));
    }
  }

  void write(const fs::path& file, const SecretBytes& text) {
    // A kill leaves no half share: without a name until it is whole, and where nothing is replaced it needs no other name before its own.
    std::error_code ignored;
    AtomicFile out(file, fs::exists(fs::symlink_status(file, ignored)), AtomicFile::Nameless{});
    write_secret(out, text);
    out.commit();
    landed.push_back(file);
  }

  void write_shares() {
    make_private_dir(fs::absolute(request.folder));
    if (request.qr) lock_heap();
    for (std::size_t i = 0; i < shares.size(); ++i) {
      const auto& file = planned[i].file;
      make_private_dir(file.parent_path());
      auto text = dump(shares[i]);
      if (certificates[i]) {
        const auto random = random_secret(context, crypto::Certificate::random_needed);
        const auto cms = fmt::format(
                             "# kmtool share {} of {} of bundle {}, encrypted to "
                             "{}\n# open it: openssl cms -decrypt -inform PEM -in "
                             "FILE -inkey KEY -out SHARE\n",
                             shares[i].index, shares[i].quorum.shares, shares[i].bundle, shares[i].custodian) +
                         certificates[i]->encrypt(text, random);
        write(file, SecretBytes(view(cms)));
        continue;
      }
      write(file, text);
      if (!request.qr) continue;
      const auto code = encode(text);
      write(file.string() + ".png", png_of(code));
      write(file.string() + ".qr.txt", art_of(code));
    }
  }
};

Maker::Maker(op::Context& context, QuorumRequest request, const fs::path& bundle)
    : impl_(std::make_unique<Impl>(context, std::move(request), std::filesystem::absolute(bundle))) {
  if (impl_->request.custodians.size() > impl_->request.quorum.shares)
    throw Error::usage("there are more custodians than shares", "the second number of --quorum M/N is that of the shares");
  impl_->plan();
}

Maker::~Maker() {
  if (!impl_ || impl_->kept || impl_->bundle_is_there()) return;
  for (const auto& file : impl_->landed) remove_quietly(file);
}

op::ValueLayer Maker::layer() {
  op::ValueLayer layer;
  layer.describe = [this](bundle::Header& header) { impl_->describe(header); };
  layer.put_on = [this](const bundle::Header& header, std::size_t record, std::size_t recipient, ByteView wrapped) {
    const auto iv = impl_->context.token().random(crypto::gate_iv_size);
    return crypto::gate_lock(impl_->gate, place_of(header, record, recipient), iv, wrapped);
  };
  layer.before_commit = [this](const bundle::Header&) { impl_->write_shares(); };
  return layer;
}

void Maker::keep() { impl_->kept = true; }
const Quorum& Maker::quorum() const { return impl_->request.quorum; }
const std::vector<WrittenShare>& Maker::shares() const { return impl_->planned; }
std::vector<std::string> Maker::warnings() const { return impl_->warnings; }

// -- the other side
// ---------------------------------------------------------------------------------------------------------

void require_share_of(const bundle::Header& header, const Share& share, const std::string& name) {
  const auto shown = printable(name);
  if (!header.quorum) throw Error::usage("this bundle has no quorum: it needs no shares", "leave --share out");
  if (share.bundle != header.id) {
    throw Error::tampered(
        fmt::format("{} is a share of another bundle ({}), not of this one ({})", shown, share.bundle, header.id),
        "find the share or the bundle that belongs to it");
  }
  const auto& quorum = *header.quorum;
  const bool fits =
      share.quorum.needed == quorum.needed && share.quorum.shares == quorum.shares && share.index <= quorum.commitments.size();
  if (!fits || commitment(share) != quorum.commitments[share.index - 1]) {
    throw Error::tampered(fmt::format("{}: this share {} is not the one that the bundle was made with", shown, share.index),
                          "it was altered as a whole, or belongs to a bundle that was re-issued");
  }
}

std::vector<Share> gather(const bundle::Header& header, const std::vector<fs::path>& files) {
  if (!header.quorum) throw Error::usage("this bundle has no quorum: it needs no shares", "leave --share out");
  std::vector<Share> shares;
  std::map<unsigned, std::string> seen;
  for (const auto& file : files) {
    auto share = read_share(file);
    require_share_of(header, share, file.string());
    const auto [first, fresh] = seen.emplace(share.index, file.string());
    if (!fresh) {
      throw Error::tampered(
          fmt::format("{} is share {} again, as {} is", printable(file.string()), share.index, printable(first->second)),
          "give each share once");
    }
    shares.push_back(std::move(share));
  }
  const auto needed = header.quorum->needed;
  if (shares.size() < needed) {
    throw Error::refused("quorum",
                         fmt::format("{} of {} shares are needed, {} {} given: {} more", needed, header.quorum->shares,
                                     shares.size(), shares.size() == 1 ? "was" : "were", needed - shares.size()),
                         "give --share FILE for each");
  }
  return shares;
}

Opener opener(op::Context& context, std::vector<fs::path> files) {
  auto gate = std::make_shared<SecretBytes>();
  Opener opener;
  opener.before_open = [&context, files = std::move(files), gate](const bundle::Header& header) {
    if (!header.quorum && files.empty()) return;
    *gate = combine(gather(header, files), random_secret(context, crypto::gate_secret_size));
  };
  opener.take_off = [gate](const bundle::Header& header, std::size_t record, std::size_t recipient, ByteView value) {
    if (!header.quorum) return Bytes(value.begin(), value.end());
    auto opened = crypto::gate_open(*gate, place_of(header, record, recipient), value);
    if (opened) return *std::move(opened);
    throw Error::tampered("the quorum's layer of the bundle does not open with these shares",
                          "they match their commitments: the bundle's values were not made with them");
  };
  return opener;
}

}  // namespace kmtool::share
