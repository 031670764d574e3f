#include "infer/load_control_ldm.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "data/checkpoint/memory_source.h"
#include "data/checkpoint/safetensors.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/small_control_ldm.h"
#include "tests/support/small_network.h"

namespace relume::test {
namespace {

class LoadControlLdm : public testing::Test {
 protected:
  static void add(std::vector<NamedTensor>& all, const Module& network, const std::string& prefix, DType type = DType::f32) {
    for (NamedTensor t : stored_state(network)) {
      t.name = prefix + t.name;
      t.tensor = t.tensor.to(type);
      all.push_back(std::move(t));
    }
  }
  std::vector<NamedTensor> prior(DType type = DType::f32) const {
    std::vector<NamedTensor> all;
    add(all, networks_->unet, "model.diffusion_model.", type);
    add(all, networks_->vae, "first_stage_model.", type);
    add(all, *text_encoder_, "cond_stage_model.model.", type);
    all.push_back({"betas", Tensor::full({4}, 1)});
    return all;
  }
  std::filesystem::path written(const std::string& name, const std::vector<NamedTensor>& tensors) const {
    MemorySource source(name);
    for (const NamedTensor& t : tensors) source.add(t.name, t.tensor);
    write_safetensors(folder_ / name, source);
    return folder_ / name;
  }
  Tensor prediction(const ControlLdm& networks, const ClipText& text_encoder) const {
    const NoGrad no_grad;
    return networks.predict(uniform({1, 4, 4, 4}, 1), 500, uniform({1, 4, 4, 4}, 2),
                            networks.texts(text_encoder(Tensor::of<int64_t>({1, 5}, {48, 3, 17, 49, 0}))), 1);
  }
  Tensor prediction(const ControlLdmFiles& files) const {
    const ControlLdmSource source(files);
    return prediction(*source.networks(networks_->config()), *source.text_encoder(networks_->config().text));
  }
  const std::unique_ptr<ControlLdm> networks_ = small_control_ldm();
  const std::unique_ptr<ClipText> text_encoder_ = small_text_encoder();
  const TemporaryFolder folder_;
};

TEST_F(LoadControlLdm, TakesThePriorAndTheControlOfTwoFilesOrOne) {
  const auto sd = written("sd.safetensors", prior());
  std::vector<NamedTensor> control, whole = prior();
  add(control, networks_->control_net, "");
  add(whole, networks_->control_net, "control_model.");
  const SwinIR swinir(small_network());
  swinir.initialise(1);
  add(whole, swinir, "preprocess_model.");
  const ControlLdmFiles two{sd, written("control.safetensors", control)}, one{written("v1.safetensors", whole), {}};
  const Tensor expected = prediction(*networks_, *text_encoder_);
  EXPECT_TRUE(same_bits(prediction(two), expected));
  EXPECT_TRUE(same_bits(prediction(one), expected));
  for (const ControlLdmFiles& files : {two, one}) {
    const std::vector<std::string> left = ControlLdmSource(files).left();
    ASSERT_EQ(left.size(), 1u);
    EXPECT_HAS(left[0], "betas: 1 tensor");
  }
  EXPECT_FALSE(ControlLdmSource(two).cleaner());
  load_strict(swinir, *ControlLdmSource(one).cleaner());
}

TEST_F(LoadControlLdm, SixteenBitsBecomeFloats) {
  std::vector<NamedTensor> control;
  add(control, networks_->control_net, "", DType::f16);
  const Tensor loaded = prediction({written("sd.safetensors", prior(DType::f16)), written("control.safetensors", control)});
  EXPECT_LE(relative_l2(loaded, prediction(*networks_, *text_encoder_)), 5e-3);
}

TEST_F(LoadControlLdm, SaysWhatIsMissing) {
  const auto sd = written("sd.safetensors", prior());
  EXPECT_HAS(input_error([&] { ControlLdmSource({sd, {}}); }), "holds no control network");
  std::vector<NamedTensor> control;
  add(control, networks_->control_net, "");
  const auto alone = written("control.safetensors", control);
  EXPECT_HAS(input_error([&] { ControlLdmSource({alone, {}}); }), "holds no U-Net");
  ControlLdmConfig other = networks_->config();
  other.control.unet.num_res_blocks = 2;
  EXPECT_HAS(input_error([&] { ControlLdmSource({sd, alone}).networks(other); }), "in loading the U-Net of");
}

}  // namespace
}  // namespace relume::test
