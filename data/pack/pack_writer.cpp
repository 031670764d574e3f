#include "data/pack/pack_writer.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/text.h"
#include "data/checksum.h"
#include "data/hdf5_writer.h"
#include "data/loader.h"
#include "data/pack/pack.h"
#include "data/pack/spool.h"

namespace relume {
namespace {

namespace fs = std::filesystem;

constexpr int64_t block_bytes = int64_t(1) << 26;

// The name that the pack keeps: below `base` where the picture lies there.
std::string kept_name(const fs::path& picture, const fs::path& base) {
  const fs::path below = picture.lexically_proximate(base);
  return (below.empty() || *below.begin() == ".." ? picture : below).generic_string();
}

// A picture as it goes into the pack, or why it does not.
struct Prepared {
  Tensor pixels;
  SpoolEntry entry;
};

Prepared prepared(const ListEntry& listed, const PackOptions& o) {
  Prepared p;
  try {
    RELUME_CHECK(is_utf8(listed.path.string()), listed.path.string(), ": its name is not UTF-8; rename it");
    if (o.captions) p.entry.captions = listed.captions ? *listed.captions : captions_beside(listed.path);
    p.pixels = reduced_to_side(read_image(listed.path, o.limits), o.max_side);
    if (o.crop == CropKind::center) {
      RandomStream unused({});  // a centre crop draws nothing
      const CropPlan plan =
          plan_crop(p.pixels.shape(0), p.pixels.shape(1), {.kind = o.crop, .size = o.size}, unused, listed.path.string());
      p.pixels = apply_crop(p.pixels, o.size, plan);
    }
    p.entry.height = p.pixels.shape(0), p.entry.width = p.pixels.shape(1);
    p.entry.xxh3 = checksum(p.pixels.raw(), size_t(p.pixels.numel()));
  } catch (const InputError& e) {
    p = {.entry = {.bad = e.what()}};
  }
  return p;
}

class Packing {
 public:
  explicit Packing(const PackOptions& options)
      : o_(options),
        listed_(list_pictures(o_.input)),
        bad_({.rate = o_.max_bad}),
        spool_(o_.output, fingerprint(), o_.resume) {}

  PackSummary run() {
    try {
      fill_spool();
    } catch (...) {
      spool_.flush();
      throw;
    }
    spool_.flush();
    const PackSummary summary{int64_t(listed_.size()) - bad_.count(), bad_.count(), spool_.pixel_bytes()};
    if (summary.packed == 0) {
      spool_.remove();
      throw InputError(o_.input.string() + ": none of its " + std::to_string(listed_.size()) + " pictures can be packed; " +
                       spool_.entries()[0].bad);
    }
    AtomicFile target(o_.output);
    write_file(target.temporary(), summary.packed);
    verify(Pack(Hdf5File(map_file(target.temporary()), o_.output.string())), [](int64_t) { stop_if_interrupted(); });
    target.commit();
    spool_.remove();
    return summary;
  }

 private:
  static void stop_if_interrupted() {
    if (interrupted()) throw Interrupted("interrupted; what was packed so far is kept, go on with --resume");
  }

  // Of everything that decides the bytes of the pack, but for the pictures' contents.
  uint64_t fingerprint() const {
    std::string all = detail::concat(int(o_.crop), ' ', o_.size, ' ', o_.max_side, ' ', o_.captions, '\n');
    for (const ListEntry& e : listed_) {
      all += e.path.string() + '\n';
      if (e.captions) all += e.captions->short_text + '\n' + e.captions->long_text + '\n';
    }
    return checksum(all.data(), all.size());
  }

  void note(size_t index) {
    const std::string& reason = spool_.entries()[index].bad;
    if (reason.empty()) return;
    bad_.note({int64_t(index), listed_[index].path.string(), reason}, int64_t(index) + 1);
  }

  void fill_spool() {
    const int64_t total = int64_t(listed_.size());
    RELUME_CHECK(spool_.entries().size() <= listed_.size(), o_.output.string(), ": its journal is longer than ",
                 o_.input.string());
    for (size_t i = 0; i < spool_.entries().size(); ++i) note(i);
    const int64_t first = int64_t(spool_.entries().size());
    Loader<Prepared> loader({.threads = o_.threads, .prefetch = 2 * o_.threads, .first_step = first, .end_step = total},
                            [&](int64_t step, int64_t) { return prepared(listed_[size_t(step)], o_); });
    Progress progress("picture", total);
    auto flushed = std::chrono::steady_clock::now();
    for (int64_t i = first; i < total; ++i) {
      stop_if_interrupted();
      Prepared p = std::move(loader.next().samples[0]);
      const std::string reason = p.entry.bad;
      spool_.add(std::move(p.entry), p.pixels ? p.pixels.raw() : nullptr);
      if (!reason.empty() && o_.skipped) o_.skipped({i, listed_[size_t(i)].path.string(), reason});
      note(size_t(i));
      progress.update(i + 1, std::to_string(bad_.count()) + " skipped");
      if (std::chrono::steady_clock::now() - flushed < std::chrono::seconds(2)) continue;
      spool_.flush();
      flushed = std::chrono::steady_clock::now();
    }
  }

  void write_file(const fs::path& path, int64_t pictures) {
    Hdf5Writer file(path);
    const int64_t version = 1;
    file.add("pack_version", hdf5_i64, {1}, &version);
    const MappedFile pixels = map_file(spool_.pixels());
    const bool squares = o_.crop == CropKind::center;
    const int64_t row = squares ? o_.size * o_.size * 3 : 1, rows = squares ? pictures : spool_.pixel_bytes();
    if (squares)
      file.begin("image", hdf5_u8, {pictures, o_.size, o_.size, 3});
    else
      file.begin("pixels", hdf5_u8, {rows});
    for (int64_t done = 0, step = std::max<int64_t>(1, block_bytes / row); done < rows; done += step) {
      stop_if_interrupted();
      file.append(pixels.bytes.data() + done * row, std::min(step, rows - done));
    }
    write_columns(file, pictures);
    file.close();
  }

  void write_columns(Hdf5Writer& file, int64_t pictures) const {
    std::vector<int64_t> offset, height, width;
    std::vector<uint64_t> xxh3;
    std::string text[3];
    std::vector<int64_t> text_offset[3] = {{0}, {0}, {0}};
    const fs::path base = fs::is_directory(o_.input) ? o_.input : o_.input.parent_path();
    int64_t at = 0;
    for (size_t i = 0; i < listed_.size(); ++i) {
      const SpoolEntry& e = spool_.entries()[i];
      if (!e.bad.empty()) continue;
      offset.push_back(at), height.push_back(e.height), width.push_back(e.width), xxh3.push_back(e.xxh3);
      at += e.bytes();
      text[0] += kept_name(listed_[i].path, base), text[1] += e.captions.short_text, text[2] += e.captions.long_text;
      for (int t = 0; t < 3; ++t) text_offset[t].push_back(int64_t(text[t].size()));
    }
    file.add("offset", hdf5_i64, {pictures}, offset.data());
    file.add("height", hdf5_i64, {pictures}, height.data());
    file.add("width", hdf5_i64, {pictures}, width.data());
    file.add("xxh3", hdf5_u64, {pictures}, xxh3.data());
    static const char* const names[3] = {"path", "caption_short", "caption_long"};
    for (int t = 0; t < (o_.captions ? 3 : 1); ++t) {
      file.add(names[t], hdf5_u8, {int64_t(text[t].size())}, text[t].data());
      file.add(names[t] + std::string("_offset"), hdf5_i64, {pictures + 1}, text_offset[t].data());
    }
  }

  PackOptions o_;
  std::vector<ListEntry> listed_;
  BadPictures bad_;
  Spool spool_;
};

void check(const PackOptions& o) {
  RELUME_CHECK(is_pack_name(o.output), o.output.string(), ": a pack is named .h5 or .hdf5");
  RELUME_CHECK(o.crop == CropKind::none || o.crop == CropKind::center, "pack: pictures are kept whole or cut in the centre;",
               " random crops are drawn while training");
  RELUME_CHECK(o.size >= 1 && o.size <= 65536 && o.max_side >= 0 && o.max_bad >= 0 && o.max_bad <= 1, "pack: size ", o.size,
               " (1 to 65536), max_side ", o.max_side, " (0 or more) or max_bad ", o.max_bad, " (0 to 1) is out of range");
  RELUME_CHECK(o.overwrite || !fs::exists(o.output), o.output.string(),
               ": exists already; choose another name or give --overwrite");
}

}  // namespace

PackSummary write_pack(const PackOptions& options) {
  check(options);
  if (options.output.has_parent_path()) make_folder(options.output.parent_path());
  return Packing(options).run();
}

}  // namespace relume
