#include "data/bad_pictures.h"

#include "tests/support/errors.h"

namespace relume::test {
namespace {

TEST(BadPictures, TenAreAllowedThenTheRateCounts) {
  BadPictures bad({.rate = 0.01});
  for (int64_t i = 0; i < 10; ++i) bad.note({i, "p", "broken"}, 20);
  bad.note({3, "p", "broken"}, 20);
  EXPECT_EQ(bad.count(), 10);
  EXPECT_EQ(
      input_error([&] {
        bad.note({10, "p10", "p10: truncated"}, 20);
      }),
      "p10: truncated\n  11 of 20 pictures cannot be used, more than the 1 % allowed; look for the reason ('relume scan' lists "
      "them all), or allow more");
  BadPictures many({.rate = 0.01});
  for (int64_t i = 0; i < 20; ++i) many.note({i, "p", "broken"}, 2000);
  EXPECT_HAS(input_error([&] { many.note({20, "p", "broken"}, 2000); }), "p: broken\n  21 of 2000");
}

TEST(BadPictures, ARateOfZeroAllowsNone) {
  BadPictures bad({.rate = 0});
  EXPECT_HAS(input_error([&] { bad.note({0, "p", "broken"}, 1000000); }), "p: broken");
}

TEST(BadPictures, EveryOneIsHandedOutOnce) {
  BadPictures bad;
  bad.note({7, "b", "x"}, 100);
  bad.note({2, "a", "y"}, 100);
  bad.note({7, "b", "x"}, 100);
  const std::vector<BadPicture> taken = bad.take();
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].name, "a");
  EXPECT_EQ(taken[1].reason, "x");
  EXPECT_TRUE(bad.take().empty());
  EXPECT_EQ(to_string(taken[0]), "a: y");
}

TEST(BadPictures, ThoseOfAnEarlierRunAreNotHandedOutAgain) {
  BadPictures first, second;
  first.note({7, "b", "x"}, 100);
  second.restore(first.indices());
  second.note({7, "b", "x"}, 100);
  second.note({8, "c", "z"}, 100);
  EXPECT_EQ(second.count(), 2);
  const std::vector<BadPicture> taken = second.take();
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].index, 8);
}

TEST(Substitutes, DependOnTheKeyAlone) {
  const auto name = [](int64_t i) { return "picture " + std::to_string(i); };
  const auto make = [](int64_t i) -> int64_t {
    if (i % 3 == 0) throw InputError("broken");
    return i;
  };
  struct Picked {
    int64_t index;
    std::vector<int64_t> met;
    bool operator==(const Picked&) const = default;
  };
  const auto picks = [&](bool backwards) {
    Substitutes substitutes;
    std::vector<Picked> picked(20);
    for (int k = 0; k < 20; ++k) {
      const int64_t sample = backwards ? 19 - k : k;
      const RandomKey key{.seed = 3, .purpose = "replacement", .sample = uint32_t(sample)};
      std::vector<BadPicture> met;
      picked[size_t(sample)].index = substitutes.usable(sample, 20, key, name, make, met);
      for (const BadPicture& bad : met) {
        EXPECT_EQ(to_string(bad), name(bad.index) + ": broken");
        picked[size_t(sample)].met.push_back(bad.index);
      }
    }
    return picked;
  };
  const std::vector<Picked> picked = picks(false);
  EXPECT_TRUE(picked == picks(true)) << "the order in which they are met must not matter, nor whether one was met before";
  for (int64_t i = 0; i < 20; ++i) {
    EXPECT_NE(picked[size_t(i)].index % 3, 0);
    EXPECT_EQ(picked[size_t(i)].met.empty(), i % 3 != 0);
    if (i % 3 != 0) {
      EXPECT_EQ(picked[size_t(i)].index, i);
    }
  }
}

TEST(Substitutes, NoneUsableIsAnErrorWithTheLastReason) {
  Substitutes substitutes;
  std::vector<BadPicture> met;
  const auto make = [](int64_t i) -> int { throw InputError("picture " + std::to_string(i) + " is cut"); };
  const std::string message = input_error([&] {
    substitutes.usable(
        1, 3, {.purpose = "replacement"}, [](int64_t i) { return std::to_string(i); }, make, met);
  });
  EXPECT_HAS(message, " is cut\n  none of the 3 pictures can be used");
}

}  // namespace
}  // namespace relume::test
