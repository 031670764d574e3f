#include "data/bad_pictures.h"

#include "tests/support/errors.h"

namespace relume::test {
namespace {

TEST(BadPictures, TenAreAllowedThenTheRateCounts) {
  BadPictures bad({.rate = 0.01});
  for (int64_t i = 0; i < 10; ++i) bad.note(i, {"p", "broken"}, 20);
  bad.note(3, {"p", "broken"}, 20);
  EXPECT_EQ(bad.count(), 10);
  EXPECT_EQ(
      input_error([&] {
        bad.note(10, {"p10", "p10: truncated"}, 20);
      }),
      "p10: truncated\n  11 of 20 pictures cannot be used, more than the 1 % allowed; look for the reason ('relume scan' lists "
      "them all), or allow more");
  BadPictures many({.rate = 0.01});
  for (int64_t i = 0; i < 20; ++i) many.note(i, {"p", "broken"}, 2000);
  EXPECT_HAS(input_error([&] { many.note(20, {"p", "broken"}, 2000); }), "p: broken\n  21 of 2000");
}

TEST(BadPictures, ARateOfZeroAllowsNone) {
  BadPictures bad({.rate = 0});
  EXPECT_HAS(input_error([&] { bad.note(0, {"p", "broken"}, 1000000); }), "p: broken");
}

TEST(BadPictures, EveryOneIsHandedOutOnce) {
  BadPictures bad;
  bad.note(7, {"b", "x"}, 100);
  bad.note(2, {"a", "y"}, 100);
  bad.note(7, {"b", "x"}, 100);
  const std::vector<BadPicture> taken = bad.take();
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].name, "a");
  EXPECT_EQ(taken[1].reason, "x");
  EXPECT_TRUE(bad.take().empty());
  EXPECT_EQ(to_string(taken[0]), "a: y");
}

TEST(BadPictures, ReplacementsDependOnTheKeyAlone) {
  const auto name = [](int64_t i) { return std::to_string(i); };
  const auto make = [](int64_t i) -> int64_t {
    if (i % 3 == 0) throw InputError("broken");
    return i;
  };
  const auto picks = [&](bool backwards) {
    BadPictures bad;
    std::vector<int64_t> picked(20);
    for (int k = 0; k < 20; ++k) {
      const int64_t sample = backwards ? 19 - k : k;
      picked[size_t(sample)] =
          bad.usable(sample, 20, {.seed = 3, .purpose = "replacement", .sample = uint32_t(sample)}, name, make);
    }
    EXPECT_EQ(bad.count(), 7);
    return picked;
  };
  const std::vector<int64_t> picked = picks(false);
  EXPECT_EQ(picked, picks(true)) << "the order in which they are met must not matter";
  for (int64_t i = 0; i < 20; ++i) {
    EXPECT_NE(picked[size_t(i)] % 3, 0);
    if (i % 3 != 0) {
      EXPECT_EQ(picked[size_t(i)], i);
    }
  }
}

TEST(BadPictures, NoneUsableIsAnErrorWithTheLastReason) {
  BadPictures bad;
  const auto make = [](int64_t i) -> int { throw InputError("picture " + std::to_string(i) + " is cut"); };
  const std::string message = input_error([&] {
    bad.usable(
        1, 3, {.purpose = "replacement"}, [](int64_t i) { return std::to_string(i); }, make);
  });
  EXPECT_HAS(message, " is cut\n  none of the 3 pictures can be used");
}

}  // namespace
}  // namespace relume::test
