// Names, shapes and counts of the networks' parameters against lists taken from the published constructors: name, shape as
// stored, type and kind, in the order of the state_dict. Optimiser states number the parameters in this order.
#include <gtest/gtest.h>

#include <sstream>

#include "base/files.h"
#include "base/text.h"
#include "models/control_net.h"
#include "models/rrdbnet.h"
#include "models/scunet.h"
#include "models/vae.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

void expect_published(const Module& network, const std::string& list, size_t tensors, int64_t numbers) {
  std::vector<std::string> published = split(read_file(source_folder() / "tests/fixtures" / list), '\n'), ours;
  std::erase(published, "");
  ASSERT_EQ(published.size(), tensors);
  for (const NamedTensor& p : network.parameters()) {
    std::ostringstream line;
    line << p.name << " " << stored_shape(p.tensor.shape(), p.stored_as) << " f32 param";
    ours.push_back(line.str());
  }
  EXPECT_EQ(ours, published);
  EXPECT_TRUE(network.buffers().empty());
  EXPECT_EQ(network.parameter_count(), numbers);
}

TEST(PublishedNames, UNet) { expect_published(UNet{UNetConfig{}}, "unet_names.txt", 686, 865'910'724); }
TEST(PublishedNames, ControlNet) {
  expect_published(ControlNet{ControlNetConfig{}}, "control_net_names.txt", 324, 363'153'280);
}
TEST(PublishedNames, AutoencoderKL) { expect_published(AutoencoderKL{AutoencoderConfig{}}, "vae_names.txt", 248, 83'653'863); }
TEST(PublishedNames, RRDBNet) { expect_published(RRDBNet{RRDBNetConfig{}}, "rrdbnet_names.txt", 702, 16'697'987); }
TEST(PublishedNames, SCUNet) { expect_published(SCUNet{SCUNetConfig{}}, "scunet_names.txt", 540, 17'946'072); }

}  // namespace
}  // namespace relume::test
