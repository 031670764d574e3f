#include "infer/load_cleaner.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "data/checkpoint/memory_source.h"
#include "data/checkpoint/safetensors.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

class LoadCleaner : public testing::Test {
 protected:
  Checkpoint saved(const Module& network, const std::string& prefix = "") const {
    MemorySource source("network");
    for (const NamedTensor& t : stored_state(network)) source.add(prefix + t.name, t.tensor);
    write_safetensors(folder_ / "w.safetensors", source);
    return open_checkpoint(folder_ / "w.safetensors");
  }
  const TemporaryFolder folder_;
  const Tensor picture_ = uniform({1, 16, 24, 3}, 1, 0, 1);
};

TEST_F(LoadCleaner, AnRrdbnetTellsItsConfiguration) {
  for (const int sf : {2, 4}) {
    const RRDBNet network({.nf = 8, .nb = 3, .gc = 4, .sf = sf});
    randomise(network, 1);
    const LoadedCleaner loaded = load_cleaner(saved(network, "module."));
    EXPECT_EQ(loaded.name, "RRDBNet (BSRNet)");
    EXPECT_EQ(loaded.cleaner.scale, sf);
    EXPECT_FALSE(loaded.published_stage_one);
    const NoGrad no_grad;
    EXPECT_TRUE(same_bits(loaded.cleaner.network(picture_), network(picture_)));
  }
}

TEST_F(LoadCleaner, ASwinIRIsWhatItWas) {
  const SwinIR network(small_stage_one());
  network.initialise(1);
  const LoadedCleaner loaded = load_cleaner(saved(network));
  EXPECT_EQ(loaded.name, "SwinIR");
  EXPECT_EQ(loaded.network->parameter_count(), network.parameter_count());
}

TEST_F(LoadCleaner, OthersAreNamed) {
  const auto refused = [&](const std::string& name) {
    MemorySource source{{name, Tensor::zeros({1})}};
    write_safetensors(folder_ / "w.safetensors", source);
    return input_error([&] { load_cleaner(open_checkpoint(folder_ / "w.safetensors")); });
  };
  EXPECT_HAS(refused("first_stage_model.x"), "holds no network that is known");
  EXPECT_HAS(refused("model.diffusion_model.x"), "holds Stable Diffusion, and a network of stage one is needed here");
  EXPECT_HAS(refused("RRDB_trunk.0.RDB1.conv1.weight"), "missing: conv_first.weight");
  const RRDBNet network({.nf = 8, .nb = 1, .gc = 4});
  randomise(network, 1);
  EXPECT_HAS(input_error([&] { load_cleaner(saved(network), SwinIRConfig()); }), "--config is for a SwinIR");
}

TEST_F(LoadCleaner, NoneLeavesPicturesAsTheyAre) { EXPECT_TRUE(same_bits(no_cleaner().cleaner.network(picture_), picture_)); }

}  // namespace
}  // namespace relume::test
