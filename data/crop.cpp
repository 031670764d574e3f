#include "data/crop.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/text.h"
#include "data/exif.h"
#include "data/pil_resize.h"

namespace relume {
namespace {

struct Size {
  int64_t height, width;
  int64_t short_side() const { return std::min(height, width); }
  Size halved() const { return {height / 2, width / 2}; }
};

// Python's round(side * scale): half to even in double.
Size scaled_to(Size size, int64_t short_side) {
  const double scale = double(short_side) / double(size.short_side());
  return {int64_t(std::nearbyint(double(size.height) * scale)), int64_t(std::nearbyint(double(size.width) * scale))};
}

Size resized(Size size, int64_t short_side) {
  while (size.short_side() >= 2 * short_side) size = size.halved();
  return scaled_to(size, short_side);
}

// A picture one pixel high would grow without bound.
Size checked_resize(Size size, int64_t short_side, const std::string& name) {
  const Size full = resized(size, short_side);
  RELUME_CHECK(std::max(full.height, full.width) <= (int64_t(1) << 26) / short_side, name, ": picture of ", size.width, "x",
               size.height, " pixels is too narrow: with a short side of ", short_side, " it would have ", full.width, "x",
               full.height, "; remove it");
  return full;
}

}  // namespace

CropKind parse_crop_kind(std::string_view name) {
  static const std::array<std::string, 4> names{"none", "center", "random", "patch"};
  const auto found = std::ranges::find(names, name);
  RELUME_CHECK(found != names.end(), "crop '", name, "' is none of ", join(names, ", "), did_you_mean(name, names));
  return CropKind(found - names.begin());
}

CropPlan plan_crop(int64_t height, int64_t width, const CropOptions& options, RandomStream& random, const std::string& name) {
  const int64_t size = options.size;
  RELUME_CHECK(size > 0, "crop: size is ", size, ", expected at least 1");
  RELUME_CHECK(options.min_fraction > 0 && options.min_fraction <= 1, "crop: min_fraction is ", options.min_fraction,
               ", expected more than 0 and at most 1");
  if (height == size && width == size) return {};
  if (options.kind == CropKind::none)
    throw InputError(detail::concat(name, ": ", width, "x", height, " pixels, but without cropping every picture must have ",
                                    size, "x", size, "; choose the crop center, random or patch"));
  if (options.kind == CropKind::patch) {
    RELUME_CHECK(height >= size && width >= size, name, ": picture of ", width, "x", height,
                 " pixels is too small for patches of ", size, "x", size,
                 "; remove it, or choose a smaller size or the crop center or random, which enlarge");
    const int64_t y = random.below(height - size + 1);
    return {.y = y, .x = random.below(width - size + 1)};
  }
  if (options.kind == CropKind::center) {
    const Size full = checked_resize({height, width}, size, name);
    return {.short_side = size, .y = (full.height - size) / 2, .x = (full.width - size) / 2};
  }
  const auto longest = int64_t(std::ceil(double(size) / options.min_fraction));
  const int64_t short_side = size + random.below(longest - size + 1);
  const Size full = checked_resize({height, width}, short_side, name);
  const int64_t y = random.below(full.height - size + 1);
  return {.short_side = short_side, .y = y, .x = random.below(full.width - size + 1)};
}

Tensor apply_crop(const Tensor& image, int64_t size, const CropPlan& plan) {
  Tensor picture = image;
  if (plan.short_side > 0) {
    Size now{image.shape(0), image.shape(1)};
    while (now.short_side() >= 2 * plan.short_side) {
      now = now.halved();
      picture = pil_resize(picture, now.height, now.width, PilFilter::box);
    }
    const Size full = scaled_to(now, plan.short_side);
    picture = pil_resize(picture, full.height, full.width, PilFilter::bicubic);
  }
  return cut(picture, plan.y, plan.x, size, size);
}

Tensor reduced_to_side(const Tensor& image, int64_t max_side) {
  const int64_t height = image.shape(0), width = image.shape(1), longer = std::max(height, width);
  if (max_side == 0 || longer <= max_side) return image;
  const auto reduced = [&](int64_t side) { return std::max<int64_t>(1, (side * max_side + longer / 2) / longer); };
  return pil_resize(image, reduced(height), reduced(width), PilFilter::bicubic);
}

Tensor cut(const Tensor& image, int64_t y, int64_t x, int64_t height, int64_t width) {
  RELUME_CHECK(image.rank() == 3 && y >= 0 && x >= 0 && height > 0 && width > 0 && height <= image.shape(0) - y &&
                   width <= image.shape(1) - x,
               "cut: [", y, ":", y + height, ", ", x, ":", x + width, "] does not lie inside ", image);
  const Tensor source = image.contiguous();
  const int64_t pixel = source.shape(2) * size_of(source.dtype()), row = source.shape(1) * pixel;
  Tensor out = Tensor::empty({height, width, source.shape(2)}, source.dtype());
  const char* from = static_cast<const char*>(source.raw()) + y * row + x * pixel;
  char* to = static_cast<char*>(out.raw());
  for (int64_t i = 0; i < height; ++i) std::memcpy(to + i * width * pixel, from + i * row, size_t(width * pixel));
  return out;
}

Tensor flip_horizontal(const Tensor& image) { return apply_orientation(image, 2); }

}  // namespace relume
