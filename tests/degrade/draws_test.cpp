#include "degrade/draws.h"

#include <cmath>

#include <gtest/gtest.h>

namespace relume {
namespace {

const std::vector<std::string> letters{"a", "b", "c"};
RandomKey key(uint32_t sample) { return {.seed = 5, .purpose = "test", .step = 2, .sample = sample}; }

TEST(Draws, UniformAndChoiceFollowTheirOdds) {
  SeededDraws draws(key(0));
  const std::vector<double> weights{3, 0, 1};
  double sum = 0;
  int counts[3] = {};
  const int n = 20000;
  for (int i = 0; i < n; ++i) {
    const double u = draws.uniform(-1, 3, "u");
    ASSERT_TRUE(u >= -1 && u < 3);
    sum += u;
    ++counts[draws.choice(letters, weights, "letter")];
  }
  EXPECT_NEAR(sum / n, 1, 4 * 4 / std::sqrt(12.0 * n));
  EXPECT_EQ(counts[1], 0);
  EXPECT_NEAR(counts[0], 0.75 * n, 4 * std::sqrt(0.75 * 0.25 * n));
}

TEST(Draws, DependOnTheKeyAlone) {
  SeededDraws a(key(1)), again(key(1)), other(key(2));
  const double first = a.uniform(0, 1, "u");
  EXPECT_EQ(first, again.uniform(0, 1, "u"));
  EXPECT_NE(first, other.uniform(0, 1, "u"));
  const auto seed = [](const NoiseField& field) { return std::get<FieldSeed>(field); };
  const FieldSeed x = seed(a.field("n"));
  EXPECT_EQ(x, seed(again.field("n")));
  EXPECT_NE(x, seed(a.field("n")));  // a second field is another one
}

TEST(Draws, AReplayGivesWhatWasDrawn) {
  SeededDraws drawn(key(3));
  const double u = drawn.uniform(2, 4, "u");
  const size_t c = drawn.choice(letters, std::vector<double>{1, 1, 1}, "c");
  const NoiseField f = drawn.field("f");
  ReplayedDraws replay(drawn.record());
  EXPECT_EQ(replay.uniform(2, 4, "u"), u);
  EXPECT_EQ(replay.choice(letters, std::vector<double>{1, 1, 1}, "c"), c);
  EXPECT_THROW(replay.finish(), InputError) << "the field is left";
  EXPECT_EQ(std::get<FieldSeed>(replay.field("f")), std::get<FieldSeed>(f));
  replay.finish();
}

TEST(Draws, AReplayRefusesWhatDoesNotFit) {
  const std::vector<double> weights{1, 1, 1};
  const auto with = [](DrawRecord::Entry entry, auto&& use) {
    const DrawRecord record{{std::move(entry)}};
    ReplayedDraws replay(record);
    EXPECT_THROW(use(replay), InputError);
  };
  const auto uniform = [](Draws& d) { d.uniform(0, 1, "u"); };
  with({"v", 0.5}, uniform);
  with({"u", std::string("a")}, uniform);
  with({"u", 1.5}, uniform);
  with({"u", std::nan("")}, uniform);
  with({"u", 0.5}, [&](Draws& d) { d.choice(letters, weights, "u"); });
  with({"c", std::string("d")}, [&](Draws& d) { d.choice(letters, weights, "c"); });
  with({"f", 0.5}, [](Draws& d) { d.field("f"); });
  with({"u", 0.5}, [&](Draws& d) { d.uniform(0, 1, "u"), d.uniform(0, 1, "u"); });
}

}  // namespace
}  // namespace relume
