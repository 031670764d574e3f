#include "infer/plan.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace relume::test {
namespace {

// A network that takes 1000 bytes and a microsecond a pixel, in a process without anything else.
constexpr NetworkCost cost{.bytes_per_pixel = 1000, .seconds_per_pixel = 1e-6};

Cleaner network(int64_t multiple = 64, int64_t scale = 1, int64_t only_side = 0) {
  return {.network = nullptr, .multiple = multiple, .scale = scale, .only_side = only_side};
}
PicturePlan plan(int64_t height, int64_t width, const PlanOptions& options, const Cleaner& cleaner = network()) {
  return plan_picture({height, width}, cleaner, options, &cost);
}
// What whole pictures take at least: enough for `pixels` of the network and a fifth more.
PlanOptions room_for(int64_t pixels) { return {.budget = pixels * 1200}; }

TEST(Plan, SizesAreThoseOfThePublishedPipeline) {
  const PicturePlan p = plan_picture({101, 203}, network(), {.upscale = 2.5, .short_side = 512}, nullptr);
  EXPECT_EQ(p.height, 252);  // int(101 * 2.5)
  EXPECT_EQ(p.width, 507);
  EXPECT_EQ(p.result_height, 252);
  EXPECT_EQ(p.result_width, 507);
  EXPECT_EQ(p.run_pixels, 512 * 1088);  // 507 * 512 / 252 = 1030.1
  const PicturePlan as_it_is = plan_picture({101, 203}, network(), {}, nullptr);
  EXPECT_EQ(as_it_is.result_height, 101);
  EXPECT_EQ(as_it_is.run_pixels, 128 * 256);
  EXPECT_EQ(as_it_is.bytes, 0);
}

TEST(Plan, AnEnlargingNetworkIsGivenThePictureAsItIs) {
  const PicturePlan own = plan_picture({10, 20}, network(8, 4), {}, nullptr);
  EXPECT_EQ(own.height, 10);
  EXPECT_EQ(own.result_width, 80);
  const PicturePlan other = plan_picture({10, 20}, network(8, 4), {.upscale = 3}, nullptr);
  EXPECT_EQ(other.height, 10);
  EXPECT_EQ(other.run_pixels, 16 * 24);
  EXPECT_EQ(other.result_height, 30);
}

TEST(Plan, WholeWhereItFits) {
  const PicturePlan p = plan(1000, 700, room_for(1024 * 704));
  EXPECT_EQ(p.tile, 0);
  EXPECT_EQ(p.tiles, 1);
  EXPECT_EQ(p.problem, "");
  EXPECT_GE(p.bytes, 1024 * 704 * 1000.0);
  EXPECT_NEAR(p.seconds, 1024 * 704 * 1e-6, 1e-9);
  EXPECT_EQ(describe_tiles(p), "whole");
}

TEST(Plan, ElseTheLargestTilesThatFitMadeAsSmallAsTheirNumberAllows) {
  const PlanOptions options = room_for(640 * 640);
  const PicturePlan p = plan(1000, 1100, options);
  EXPECT_EQ(p.tile, 640);  // two along each side: 576 would leave 1100 - 2 * 576 + 128 pixels uncovered
  EXPECT_EQ(p.overlap, 128);
  EXPECT_EQ(p.tiles, 4);
  EXPECT_LE(p.bytes, double(options.budget));
  EXPECT_EQ(plan(1000, 1000, options).tile, 576);  // as many, with less work
  EXPECT_EQ(plan(1000, 1000, options).tiles, 4);
  EXPECT_EQ(describe_tiles(p), "4 tiles of 640, overlapping by 128");
}

// Whatever the picture: what is chosen fits, and the next larger tile would not, or would make as many tiles.
TEST(Plan, ChoosesWellForEverySize) {
  for (const int64_t side : {70, 129, 300, 511, 777, 1500})
    for (const int64_t budget : {60'000'000, 100'000'000, 400'000'000}) {
      const PlanOptions options{.budget = budget};
      const PicturePlan p = plan(side, side + 33, options);
      ASSERT_EQ(p.problem, "") << side << ' ' << budget;
      EXPECT_LE(p.bytes, double(budget));
      if (p.tile == 0) continue;
      EXPECT_LE(p.tile, side);
      EXPECT_LT(p.overlap, p.tile);
      EXPECT_GT(plan(side, side + 33, {.mode = TileMode::off, .budget = budget}).bytes, double(budget));
      for (int64_t larger = p.tile + 64; larger <= side; larger += 64) {
        const PlanOptions given{.mode = TileMode::fixed,
                                .tile = larger,
                                .overlap = default_overlap(TileMode::automatic, larger, 64),
                                .budget = budget};
        const PicturePlan other = plan(side, side + 33, given);
        EXPECT_TRUE(other.bytes > double(budget) || other.tiles >= p.tiles) << larger;
      }
    }
}

TEST(Plan, ALongPictureIsTiledByItsShortSide) {
  const PicturePlan p = plan(200, 30000, room_for(512 * 512));
  EXPECT_EQ(p.tile, 192);
  EXPECT_GT(p.tiles, 100);
}

TEST(Plan, OverlapsHaveTheirDefaults) {
  EXPECT_EQ(default_overlap(TileMode::fixed, 512, 64), 256);  // the published stride
  EXPECT_EQ(default_overlap(TileMode::automatic, 512, 64), 128);
  EXPECT_EQ(default_overlap(TileMode::automatic, 1536, 64), 192);
  EXPECT_EQ(default_overlap(TileMode::automatic, 128, 64), 64);
  EXPECT_EQ(default_overlap(TileMode::automatic, 64, 64), 32);
  const PlanOptions fixed{.mode = TileMode::fixed, .tile = 128, .budget = 1 << 30};
  EXPECT_EQ(plan(300, 300, fixed).overlap, 64);
  EXPECT_EQ(plan(300, 300, fixed).tiles, 16);
  PlanOptions chosen = fixed;
  chosen.overlap = 0;
  EXPECT_EQ(plan(300, 300, chosen).tiles, 9);
  chosen = room_for(200 * 200), chosen.overlap = 150;
  EXPECT_EQ(plan(300, 300, chosen).tile, 192);
  EXPECT_EQ(plan(300, 300, chosen).overlap, 150);
}

TEST(Plan, TilesByHandAreLeftOutWhereASideIsBelowThem) {
  const PlanOptions options{.mode = TileMode::fixed, .tile = 256, .budget = 1 << 30};
  EXPECT_EQ(plan(255, 900, options).tile, 0);
  EXPECT_EQ(plan(256, 900, options).tile, 256);
}

TEST(Plan, WhatFitsInNoWayIsAProblemWithFigures) {
  PlanOptions options{.budget = 3'000'000};
  EXPECT_HAS(plan(500, 500, options).problem,
             "MB of memory even in tiles of 64 pixels, more than the 3.0 MB allowed; allow more");
  EXPECT_HAS(plan(40, 500, options).problem, "of memory whole, more than the 3.0 MB allowed");
  options.upscale = 2;
  EXPECT_HAS(plan(500, 500, options).problem, "a smaller picture or --upscale");
  options.mode = TileMode::off;
  EXPECT_HAS(plan(500, 500, options).problem, "leave out --tile off");
  options.mode = TileMode::fixed, options.tile = 128;
  EXPECT_HAS(plan(500, 500, options).problem, "give a smaller --tile or --tile auto");
}

TEST(Plan, TheEstimateKnowsWhatIsHeldBesideTheNetwork) {
  const PlanOptions options{.mode = TileMode::fixed, .tile = 64, .budget = int64_t(1) << 40};
  // Tiles: the decoded picture and the accumulator, 3 and 12 bytes a pixel.
  const double growth = plan(8064, 8064, options).bytes - plan(4032, 4032, options).bytes, pixels = 3.0 * 4032 * 4032;
  EXPECT_GT(growth, 15 * pixels);
  EXPECT_LT(growth, 24 * pixels);
  const PlanOptions whole{.mode = TileMode::off, .budget = int64_t(1) << 40};
  const auto bytes = [&](bool alpha, bool deep) {
    return plan_picture({512, 512, alpha, deep}, network(), whole, &cost).bytes;
  };
  EXPECT_GT(bytes(true, false), bytes(false, false));
  EXPECT_GT(bytes(false, true), bytes(false, false));
  NetworkCost heavy = cost;
  heavy.weight_bytes = 1000, heavy.process_bytes = 77777;
  EXPECT_NEAR(plan_picture({512, 512}, network(), whole, &heavy).bytes - bytes(false, false), 77777 + 1000, 200);
}

TEST(Plan, SmallerTilesAreThereForThreeRetries) {
  const PlanOptions options{.budget = int64_t(1) << 31};
  PicturePlan p = plan(1000, 1000, options);
  std::vector<int64_t> tiles;
  while (make_smaller(p, network(), options, &cost)) tiles.push_back(p.tile);
  EXPECT_EQ(tiles, (std::vector<int64_t>{768, 576, 384, 256, 192, 128, 64}));
  EXPECT_EQ(p.overlap, 32);
  PicturePlan small = plan(60, 60, options);
  EXPECT_FALSE(make_smaller(small, network(), options, &cost));
}

TEST(Plan, ANetworkOfOneSizeGetsNoOther) {
  const Cleaner only = network(8, 1, 64);
  EXPECT_EQ(plan_picture({64, 64}, only, {}, nullptr).tile, 0);
  EXPECT_EQ(plan_picture({30, 50}, only, {}, nullptr).run_pixels, 64 * 64);
  EXPECT_EQ(plan_picture({100, 90}, only, {}, nullptr).tile, 64);
  EXPECT_HAS(plan_picture({100, 60}, only, {}, nullptr).problem, "60x100 pixels, and this network takes squares of 64 alone");
  EXPECT_EQ(plan_picture({100, 90}, only, {}, nullptr).problem, "");
  EXPECT_HAS(input_error([&] {
               plan_picture({100, 90}, only, {.mode = TileMode::fixed, .tile = 32}, nullptr);
             }),
             "takes nothing but 64");
}

TEST(Plan, OptionsThatMakeNoSenseAreRefused) {
  const auto refusal = [](const PlanOptions& o) { return input_error([&] { plan(100, 100, o); }); };
  EXPECT_HAS(refusal({.upscale = 0.5}), "--upscale 0.5: expected a number of 1 or more");
  EXPECT_HAS(refusal({.upscale = std::nan("")}), "expected a number of 1 or more");
  EXPECT_HAS(refusal({.upscale = 1e12}), "become more than a picture can have");
  EXPECT_HAS(refusal({.mode = TileMode::fixed, .tile = 100}),
             "--tile 100: this network takes multiples of 64; the nearest is 128");
  EXPECT_HAS(refusal({.mode = TileMode::fixed, .tile = 128, .overlap = 128}), "expected less than the tile of 128");
  EXPECT_HAS(refusal({.mode = TileMode::off, .overlap = 8}), "--tile-overlap says nothing with --tile off");
}

// Stage two's denoiser takes 4000 bytes a pixel, beside networks of 10 MB.
constexpr RefineCost refine_cost{.bytes_per_pixel = 4000, .autoencoder_bytes_per_pixel = 1000};
PicturePlan refined_plan(int64_t height, int64_t width, PlanOptions options) {
  options.refined = true;
  NetworkCost beside = cost;
  beside.kept_bytes = 10'000'000;
  return plan_picture({height, width}, network(), options, &beside, &refine_cost);
}

TEST(Plan, TheDenoiserIsTiledByTheSameBudget) {
  const PicturePlan whole = refined_plan(1024, 1000, {.budget = int64_t(1024) * 1024 * 4000 * 5 / 4});
  EXPECT_EQ(whole.denoiser.size, 0);
  EXPECT_EQ(whole.tile, 0);
  EXPECT_GE(whole.bytes, 1024 * 1024 * 4000.0 + 10e6);
  const PlanOptions half{.budget = int64_t(1024) * 1024 * 2000 * 5 / 4};
  const PicturePlan tiled = refined_plan(1024, 1000, half);
  EXPECT_EQ(tiled.denoiser.size, 704);
  EXPECT_EQ(tiled.denoiser.stride, 528);
  EXPECT_EQ(tiled.tile, 0);
  EXPECT_LE(tiled.bytes, double(half.budget));
  EXPECT_EQ(tiled.problem, "");
  EXPECT_EQ(describe_tiles(tiled), "whole; denoised in tiles of 704 every 528");
  const PicturePlan too_much = refined_plan(1024, 1000, {.budget = int64_t(1024) * 1024 * 800});
  EXPECT_HAS(too_much.problem, "even in tiles of");
  EXPECT_EQ(plan_picture({1024, 1000}, network(), half, &cost).denoiser.size, 0) << "no stage two";
}

TEST(Plan, TheDenoiserTakesTilesByHand) {
  const int64_t much = int64_t(1) << 40;
  EXPECT_EQ(refined_plan(1024, 1000, {.mode = TileMode::fixed, .tile = 512, .budget = much}).denoiser.size, 512);
  EXPECT_EQ(refined_plan(1024, 1000, {.mode = TileMode::fixed, .tile = 512, .budget = much}).denoiser.stride, 256);
  EXPECT_EQ(refined_plan(500, 1000, {.mode = TileMode::fixed, .tile = 512, .budget = much}).denoiser.size, 0);
  const PicturePlan own = refined_plan(1024, 1000, {.mode = TileMode::off, .budget = much, .denoiser = {256, 64}});
  EXPECT_EQ(own.denoiser.size, 256);
  EXPECT_EQ(own.denoiser.stride, 64);
  PicturePlan smaller = own;
  EXPECT_TRUE(make_denoiser_smaller(smaller, network()));
  EXPECT_EQ(smaller.denoiser.size, 192);
  smaller.denoiser = {64, 64};
  EXPECT_FALSE(make_denoiser_smaller(smaller, network()));
}

}  // namespace
}  // namespace relume::test
