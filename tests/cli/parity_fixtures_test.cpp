// Every kind against reference numbers: the copies in tests/fixtures always, the whole public folder where it lies beside the
// checkout.
#include "cli/parity/runner.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "tests/support/numbers.h"

namespace relume::parity {
namespace {

std::filesystem::path public_folder() { return test::source_folder() / "../shared/parity"; }
bool has_public_folder() { return std::filesystem::exists(public_folder() / "manifest.json"); }

// The empty string when everything passes, else what the run printed.
std::string failures(const std::filesystem::path& folder, const std::string& only, const std::string& except) {
  Kinds kinds;
  register_kinds(kinds);
  std::ostringstream out;
  const Summary summary = run_parity({.folder = folder, .only = only, .except = except}, kinds, out);
  return summary.exit_code(true) == 0 ? "" : out.str();
}

TEST(ParityFixtures, EveryCopiedCasePasses) {
  EXPECT_EQ(failures(test::source_folder() / "tests/fixtures/parity", "", ""), "");
}

// In parts: all together take ten minutes in a build with sanitizers.
struct Part {
  const char *name, *kinds;
};
class PublicParity : public testing::TestWithParam<Part> {};

TEST_P(PublicParity, Passes) {
  if (!has_public_folder()) GTEST_SKIP() << "../shared/parity is not beside the checkout";
  // Left to `relume parity`: networks of 5 GB.
  EXPECT_EQ(failures(public_folder(), GetParam().kinds, "unet_full"), "");
}
INSTANTIATE_TEST_SUITE_P(
    Kinds, PublicParity,
    testing::Values(Part{"restoring", "swinir*,rrdbnet*,scunet*,cleaner*,gaussian_weights,tiled_fn,colour_fix,format_*"},
                    Part{"degrading", "degrade_*,torch_resize*,pil_resize,metric_psnr_ssim,metric_niqe"},
                    Part{"networks",
                         "vae*,timestep_embedding,unet*,spatial_transformer,cldm_*,clip_*,tokenizer,asset,"
                         "state_dict_inventory"},
                    Part{"courses", "schedule,sampler_*,cfg_rescale,start_point,guidance"},
                    Part{"pipelines", "e2e_*,tiled_vae"}),
    [](const testing::TestParamInfo<Part>& part) { return part.param.name; });

}  // namespace
}  // namespace relume::parity
