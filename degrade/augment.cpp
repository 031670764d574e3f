#include "degrade/augment.h"

#include "data/exif.h"

namespace relume {

const std::string& Augmentation::caption(const std::string& short_text, const std::string& long_text) const {
  static const std::string none;
  return empty_caption ? none : long_caption ? long_text : short_text;
}

Augmentation draw_augmentation(const AugmentOptions& options, Draws& draws) {
  Augmentation a;
  const auto coin = [&draws](double probability, const char* name) { return draws.uniform(0, 1, name) < probability; };
  a.long_caption = coin(options.long_caption_prob, "caption.long");
  a.empty_caption = coin(options.empty_caption_prob, "caption.empty");
  if (options.flip) a.mirror = coin(0.5, "mirror");
  if (options.rotate) {
    a.upside_down = coin(0.5, "upside_down");
    a.transpose = coin(0.5, "transpose");
  }
  return a;
}

Tensor oriented(const Tensor& picture, const Augmentation& a) {
  // EXIF orientations are the eight members of this group: after the transposition the mirrors act on the other axes.
  static constexpr int straight[] = {1, 2, 4, 3}, transposed[] = {5, 8, 6, 7};
  return apply_orientation(picture, (a.transpose ? transposed : straight)[int(a.mirror) + 2 * int(a.upside_down)]);
}

}  // namespace relume
