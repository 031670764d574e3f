#include "data/scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <tuple>
#include <unordered_map>

#include "base/files.h"
#include "base/text.h"
#include "data/checksum.h"
#include "data/loader.h"
#include "data/pack/pack.h"

namespace relume {
namespace {

namespace fs = std::filesystem;

constexpr int near_bits = 6, near_levels = 8;
constexpr int64_t counted_pixels = int64_t(1) << 18;

// The format of these bytes; null when none of ours.
const Codec* format_of(std::string_view bytes) {
  for (const std::string& extension : image_extensions())
    if (const Codec& codec = codec_for("x" + extension); codec.recognises(bytes)) return &codec;
  return nullptr;
}

ScannedPicture scanned(const fs::path& path, const ScanOptions& o) {
  ScannedPicture s{.path = path};
  const auto found = [&](Finding finding, std::string reason) {
    s.finding = finding, s.reason = std::move(reason);
    return s;
  };
  try {
    const std::string bytes = read_file(path);
    const Codec* format = format_of(bytes);
    if (format && std::ranges::count(format->extensions, lower_case(path.extension().string())) == 0)
      s.wrong_extension = format->name;
    const Tensor picture = decode_image(bytes, path.string(), o.limits);
    s.height = picture.shape(0), s.width = picture.shape(1);
    if (const int64_t side = std::min(s.height, s.width); side < o.min_side)
      return found(Finding::tiny, fmt::format("{}x{} pixels, the short side is below {}", s.width, s.height, o.min_side));
    if (std::string reason = graphic_reason(measure_graphic(picture), s.height * s.width); !reason.empty())
      return found(Finding::graphic, std::move(reason));
    s.xxh3 = checksum(picture.raw(), size_t(picture.numel()));
    s.sketch = sketch_of(picture);
    return s;
  } catch (const InputError& e) {
    return found(Finding::broken, e.what());
  }
}

// Pictures by the parts of their hash: two hashes at most near_bits apart agree in one of near_bits + 1 parts.
class NearPictures {
 public:
  explicit NearPictures(const std::vector<ScannedPicture>& pictures) : pictures_(pictures) {}

  // The first picture added that is near to picture i; -1 when there is none.
  int64_t find(size_t i) const {
    int64_t first = -1;
    for (int part = 0; part <= near_bits; ++part) {
      const auto bucket = buckets_.find(key(part, pictures_[i].sketch.dhash));
      if (bucket == buckets_.end()) continue;
      for (const size_t other : bucket->second) {
        if (first >= 0 && int64_t(other) >= first) break;  // buckets are in order
        if (near(pictures_[i], pictures_[other])) first = int64_t(other);
      }
    }
    return first;
  }
  void add(size_t i) {
    for (int part = 0; part <= near_bits; ++part) buckets_[key(part, pictures_[i].sketch.dhash)].push_back(i);
  }

 private:
  static uint64_t key(int part, uint64_t hash) {
    const int begin = part * 64 / (near_bits + 1), end = (part + 1) * 64 / (near_bits + 1);
    return uint64_t(part) << 32 | ((hash >> begin) & ((uint64_t(1) << (end - begin)) - 1));
  }
  static bool near(const ScannedPicture& a, const ScannedPicture& b) {
    const PictureSketch &p = a.sketch, &q = b.sketch;
    const double aspect = double(a.width * b.height) / double(a.height * b.width);
    if (std::popcount(p.dhash ^ q.dhash) > near_bits || aspect < 1 / 1.05 || aspect > 1.05) return false;
    int apart = 0;
    for (size_t i = 0; i < p.cells.size(); ++i) apart += std::abs(p.cells[i] - q.cells[i]);
    return apart <= near_levels * int(p.cells.size());
  }

  const std::vector<ScannedPicture>& pictures_;
  std::unordered_map<uint64_t, std::vector<size_t>> buckets_;
};

void find_duplicates(std::vector<ScannedPicture>& pictures) {
  std::map<std::tuple<uint64_t, int64_t, int64_t>, size_t> exact;
  NearPictures near(pictures);
  for (size_t i = 0; i < pictures.size(); ++i) {
    ScannedPicture& p = pictures[i];
    if (p.finding != Finding::good) continue;
    const auto [first, fresh] = exact.try_emplace({p.xxh3, p.height, p.width}, i);
    p.same_as = fresh ? near.find(i) : int64_t(first->second);
    if (p.same_as < 0) {
      near.add(i);
      continue;
    }
    p.finding = fresh ? Finding::near_duplicate : Finding::duplicate;
    p.reason = (fresh ? "much like " : "the same pixels as ") + pictures[size_t(p.same_as)].path.string();
  }
}

}  // namespace

const char* name_of(Finding finding) {
  switch (finding) {
    case Finding::good: return "good";
    case Finding::broken: return "broken";
    case Finding::tiny: return "tiny";
    case Finding::graphic: return "graphic";
    case Finding::duplicate: return "duplicate";
    case Finding::near_duplicate: return "near_duplicate";
  }
  return "?";
}

std::vector<ScannedPicture> scan_pictures(const std::vector<fs::path>& paths, const ScanOptions& options) {
  Loader<ScannedPicture> loader({.threads = options.threads, .prefetch = 64, .end_step = int64_t(paths.size())},
                                [&](int64_t step, int64_t) { return scanned(paths[size_t(step)], options); });
  std::vector<ScannedPicture> pictures;
  pictures.reserve(paths.size());
  while (!loader.at_end()) {
    pictures.push_back(std::move(loader.next().samples[0]));
    if (options.progress) options.progress(int64_t(pictures.size()));
  }
  find_duplicates(pictures);
  return pictures;
}

GraphicMeasure measure_graphic(const Tensor& picture) {
  const int64_t height = picture.shape(0), width = picture.shape(1), pixels = height * width;
  const uint8_t* p = picture.data<uint8_t>();
  const auto colour = [p](int64_t i) { return uint32_t(p[3 * i]) << 16 | uint32_t(p[3 * i + 1]) << 8 | p[3 * i + 2]; };
  int64_t equal = 0;
  for (int64_t y = 0, i = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x, ++i) {
      const uint32_t here = colour(i);
      equal += (x + 1 < width && here == colour(i + 1)) + (y + 1 < height && here == colour(i + width));
    }
  GraphicMeasure m;
  m.equal = double(equal) / double(std::max<int64_t>(1, 2 * pixels - height - width));

  std::vector<uint32_t> colours;
  for (int64_t i = 0, step = (pixels + counted_pixels - 1) / counted_pixels; i < pixels; i += step)
    colours.push_back(colour(i));
  std::ranges::sort(colours);
  std::vector<int64_t> counts;
  for (size_t begin = 0, end; begin < colours.size(); begin = end) {
    for (end = begin + 1; end < colours.size() && colours[end] == colours[begin];) ++end;
    counts.push_back(int64_t(end - begin));
  }
  m.colours = int64_t(counts.size());
  const size_t most = std::min<size_t>(16, counts.size());
  std::ranges::partial_sort(counts, counts.begin() + ptrdiff_t(most), std::ranges::greater());
  int64_t common = 0;
  for (size_t i = 0; i < most; ++i) common += counts[i];
  m.common = double(common) / double(colours.size());
  return m;
}

std::string graphic_reason(const GraphicMeasure& m, int64_t pixels) {
  constexpr double most = 0.65;
  if (m.equal > most) return fmt::format("{:.0f} % of neighbouring pixels are equal, more than in photographs", 100 * m.equal);
  if (m.common > most) return fmt::format("16 colours cover {:.0f} % of it, more than in photographs", 100 * m.common);
  if (m.colours <= 32 && pixels >= 128) return fmt::format("only {} colours, fewer than in photographs", m.colours);
  return {};
}

PictureSketch sketch_of(const Tensor& picture) {
  const int64_t height = picture.shape(0), width = picture.shape(1);
  const uint8_t* p = picture.data<uint8_t>();
  PictureSketch sketch;
  for (int64_t row = 0, cell = 0; row < 8; ++row) {
    const int64_t top = row * height / 8, bottom = std::max(top + 1, (row + 1) * height / 8);
    double before = 0;
    for (int64_t column = 0; column < 9; ++column, ++cell) {
      const int64_t left = column * width / 9, right = std::max(left + 1, (column + 1) * width / 9);
      int64_t sums[3] = {0, 0, 0};
      for (int64_t y = top; y < bottom; ++y)
        for (const uint8_t *at = p + (y * width + left) * 3, *end = p + (y * width + right) * 3; at != end; at += 3)
          for (int c = 0; c < 3; ++c) sums[c] += at[c];
      const int64_t pixels = (bottom - top) * (right - left);
      for (int c = 0; c < 3; ++c) sketch.cells[size_t(3 * cell + c)] = uint8_t(sums[c] / pixels);
      const double luma = double(299 * sums[0] + 587 * sums[1] + 114 * sums[2]) / double(pixels);
      if (column > 0 && luma > before) sketch.dhash |= uint64_t(1) << (8 * row + column - 1);
      before = luma;
    }
  }
  return sketch;
}

}  // namespace relume
