#include "degrade/augment.h"

#include <gtest/gtest.h>

namespace relume {
namespace {

const Tensor picture = Tensor::of<float>({2, 3, 1}, {1, 2, 3, 4, 5, 6});

std::vector<float> values(const Tensor& t) { return {t.data<float>(), t.data<float>() + t.numel()}; }

TEST(Augment, MirrorsThenTransposes) {
  EXPECT_EQ(values(oriented(picture, {})), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(values(oriented(picture, {.mirror = true})), (std::vector<float>{3, 2, 1, 6, 5, 4}));
  EXPECT_EQ(values(oriented(picture, {.upside_down = true})), (std::vector<float>{4, 5, 6, 1, 2, 3}));
  EXPECT_EQ(values(oriented(picture, {.mirror = true, .upside_down = true})), (std::vector<float>{6, 5, 4, 3, 2, 1}));
  const Tensor turned = oriented(picture, {.transpose = true});
  EXPECT_EQ(turned.shape(), Shape({3, 2, 1}));
  EXPECT_EQ(values(turned), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(values(oriented(picture, {.mirror = true, .transpose = true})), (std::vector<float>{3, 6, 2, 5, 1, 4}));
  EXPECT_EQ(values(oriented(picture, {.upside_down = true, .transpose = true})), (std::vector<float>{4, 1, 5, 2, 6, 3}));
  EXPECT_EQ(values(oriented(picture, {.mirror = true, .upside_down = true, .transpose = true})),
            (std::vector<float>{6, 3, 5, 2, 4, 1}));
}

TEST(Augment, DrawsOnlyWhatIsAskedFor) {
  SeededDraws few({.seed = 1, .purpose = "augment"}), all({.seed = 1, .purpose = "augment"});
  draw_augmentation({}, few);
  draw_augmentation({.flip = true, .rotate = true}, all);
  EXPECT_EQ(few.record().entries.size(), 2u);
  ASSERT_EQ(all.record().entries.size(), 5u);
  EXPECT_EQ(all.record().entries[4].name, "transpose");
}

TEST(Augment, ChoosesCaptions) {
  const std::string brief = "short", full = "long";
  EXPECT_EQ((Augmentation{}.caption(brief, full)), "short");
  EXPECT_EQ((Augmentation{.long_caption = true}.caption(brief, full)), "long");
  EXPECT_EQ((Augmentation{.long_caption = true, .empty_caption = true}.caption(brief, full)), "");
}

}  // namespace
}  // namespace relume
