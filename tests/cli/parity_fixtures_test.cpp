// Every kind against reference numbers: the copies in tests/fixtures always, the whole public folder where it lies beside the
// checkout.
#include "cli/parity/runner.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "tests/support/numbers.h"

namespace relume::parity {
namespace {

constexpr const char* kinds_here =
    "swinir*,vae*,rrdbnet*,scunet*,timestep_embedding,unet*,spatial_transformer,cldm_init,clip_*,tokenizer,asset,colour_fix,"
    "schedule,sampler_*,cfg_rescale,start_point,guidance,degrade_*,torch_resize*,pil_resize,metric_psnr_ssim,metric_niqe,"
    "gaussian_weights,tiled_fn,cleaner*,format_*,state_dict_inventory,e2e_*";

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

TEST(ParityFixtures, ThePublicFolderPasses) {
  if (!has_public_folder()) GTEST_SKIP() << "../shared/parity is not beside the checkout";
  // Left to `relume parity`: networks of 5 GB. The autoencoder does not run in tiles yet.
  EXPECT_EQ(failures(public_folder(), kinds_here, "unet_full,e2e_cldm_tiled"), "");
}

}  // namespace
}  // namespace relume::parity
