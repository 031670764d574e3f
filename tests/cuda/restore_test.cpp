// Restoring with a network on the device: whole and in tiles, and within its memory.
#include "infer/restore.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "data/convert.h"
#include "infer/cost.h"
#include "infer/load_network.h"
#include "tests/cuda/runs.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/small_weights.h"

namespace relume::test {
namespace {

class CudaRestore : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
    save_small_network(0, folder_ / "weights.safetensors");
    write_png(folder_ / "in.png", natural_picture(36, 43, 1));
  }
  RestoreOptions options(const std::string& out, Device device) const {
    return {.input = folder_ / "in.png",
            .output = folder_ / out,
            .weights = folder_ / "weights.safetensors",
            .device = device,
            .json_log = folder_ / (out + ".jsonl")};
  }
  nlohmann::json restored(const RestoreOptions& o) const {
    restore_files(o);
    return nlohmann::json::parse(read_file(o.json_log));
  }
  TemporaryFolder folder_;
};

TEST_F(CudaRestore, GivesWhatTheCpuGives) {
  const auto host = load_swinir(folder_ / "weights.safetensors"),
             device = load_swinir(folder_ / "weights.safetensors", {}, cuda_device);
  EXPECT_EQ(cleaner_of(*device).device, cuda_device);
  const Tensor picture = natural_picture(36, 43, 1);
  for (const CleanOptions& o : {CleanOptions{}, CleanOptions{.tile = 16, .tile_stride = 8}}) {
    const Tensor expected = clean(cleaner_of(*host), picture, o);
    EXPECT_GT(relative_l2(expected, to_float(picture)), 0.01) << "the network changes pictures";
    for_each_run([&](const std::string& run) {
      EXPECT_LE(relative_l2(clean(cleaner_of(*device), picture, o), expected), 1e-6) << "tile " << o.tile << ", " << run;
    });
  }
}

TEST_F(CudaRestore, WritesTheSamePictureButForRounding) {
  RestoreOptions on_cpu = options("host.png", {}), on_device = options("device.png", cuda_device);
  for (RestoreOptions* o : {&on_cpu, &on_device}) o->mode = TileMode::fixed, o->tile = 16, o->overlap = 8;
  const nlohmann::json host = restored(on_cpu), device = restored(on_device);
  for (const char* field : {"width", "height", "tile", "overlap", "tiles"}) EXPECT_EQ(device[field], host[field]) << field;
  EXPECT_GT(device["peak_bytes"].get<int64_t>(), 0);
  const Tensor a = read_picture(on_cpu.output).pixels, b = read_picture(on_device.output).pixels;
  ASSERT_EQ(a.shape(), b.shape());
  int worst = 0;
  for (int64_t i = 0; i < a.numel(); ++i) worst = std::max(worst, std::abs(a.data<uint8_t>()[i] - b.data<uint8_t>()[i]));
  EXPECT_LE(worst, 1);
}

// What the network takes of the device is measured there, and a budget below what the whole picture takes makes tiles.
TEST_F(CudaRestore, KeepsWithinTheMemoryOfTheDevice) {
  const auto network = load_swinir(folder_ / "weights.safetensors", {}, cuda_device);
  const Cleaner cleaner = cleaner_of(*network);
  const NetworkCost cost = measure_cost(cleaner, 16);
  EXPECT_EQ(cost.process_bytes, 0);
  EXPECT_GE(cost.weight_bytes, 4 * network->parameter_count());
  EXPECT_GT(cost.bytes_per_pixel, 24) << "a picture and its result";
  const PictureHeader picture{.height = 64, .width = 64};
  const PicturePlan whole = plan_picture(picture, cleaner, {.budget = int64_t(1) << 30}, &cost);
  EXPECT_EQ(whole.tile, 0);
  EXPECT_NEAR(whole.bytes, double(cost.weight_bytes) + cost.bytes(64 * 64), 1);
  const PicturePlan tiled = plan_picture(picture, cleaner, {.budget = int64_t(whole.bytes) - 1}, &cost);
  EXPECT_GT(tiled.tile, 0);
  EXPECT_LT(tiled.bytes, whole.bytes);
  EXPECT_EQ(tiled.problem, "");
  allocator(cuda_device).reset_peak();
  clean(cleaner, natural_picture(64, 64, 2), {.tile = tiled.tile, .tile_stride = tiled.tile - tiled.overlap});
  EXPECT_LE(double(allocator(cuda_device).peak_bytes()), whole.bytes) << "graphs of tiles keep within the budget";
}

}  // namespace
}  // namespace relume::test
