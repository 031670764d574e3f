#include "models/recognise.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/small_network.h"

namespace relume::test {
namespace {

std::vector<TensorInfo> names(const std::vector<std::string>& given) {
  std::vector<TensorInfo> infos;
  for (const std::string& name : given) infos.push_back({name, DType::f32, {2, 3}});
  return infos;
}

TEST(Recognise, OtherPublishedNetworksByTheirMarks) {
  const auto name_of_network = [](const std::vector<std::string>& given) {
    const RecognisedNetwork found = recognise_network(names(given));
    EXPECT_EQ(found.kind == NetworkKind::unknown, found.name.empty());
    EXPECT_EQ(found.parts.empty(), found.name.empty());
    return found.name;
  };
  EXPECT_EQ(name_of_network({"zero_convs.0.0.weight", "middle_block_out.0.weight", "input_blocks.0.0.weight"}),
            "IRControlNet (DiffBIR, stage two)");
  EXPECT_EQ(name_of_network({"zero_convs.0.0.weight", "middle_block_out.0.weight", "input_hint_block.0.weight"}),
            "ControlNet with an encoder for pictures");
  EXPECT_EQ(name_of_network({"input_blocks.0.0.weight", "output_blocks.0.0.in_layers.0.weight"}), "UNet of Stable Diffusion");
  EXPECT_EQ(name_of_network({"encoder.conv_in.weight", "decoder.conv_in.weight", "quant_conv.weight"}),
            "AutoencoderKL (VAE of Stable Diffusion)");
  EXPECT_EQ(name_of_network({"transformer.resblocks.0.attn.in_proj_weight", "token_embedding.weight"}),
            "text tower of OpenCLIP");
  EXPECT_EQ(name_of_network({"transformer.resblocks.0.attn.in_proj_weight", "token_embedding.weight", "visual.conv1.weight"}),
            "OpenCLIP (text and pictures)");
  EXPECT_EQ(name_of_network({"RRDB_trunk.0.RDB1.conv1.weight", "conv_first.weight"}), "RRDBNet (BSRNet)");
  EXPECT_EQ(name_of_network({"body.0.rdb1.conv1.weight", "conv_first.weight"}), "RRDBNet (names of Real-ESRGAN)");
  EXPECT_EQ(name_of_network({"m_head.0.weight", "m_body.0.trans_block.msa.relative_position_params"}), "SCUNet");
  EXPECT_EQ(name_of_network({"model.diffusion_model.input_blocks.0.0.weight"}), "Stable Diffusion");
  EXPECT_EQ(name_of_network({"model.diffusion_model.input_blocks.0.0.weight", "control_model.zero_convs.0.0.weight"}),
            "DiffBIR v1, the full file");
  EXPECT_EQ(name_of_network({"features.0.weight"}), "");
  EXPECT_EQ(name_of_network({}), "");
}

TEST(Recognise, TheContextTellsTheVersionsOfStableDiffusion) {
  const auto version = [](int64_t context) {
    return recognise_network(
        {{"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", DType::f32, {320, context}}});
  };
  EXPECT_EQ(version(768).name, "Stable Diffusion 1");
  EXPECT_EQ(version(768).parts, std::vector<std::string>{"UNet: 1 tensors, 245,760 numbers"});
  EXPECT_EQ(version(1024).name, "Stable Diffusion 2 (2.1 among them)");
  EXPECT_EQ(version(1024).parts, std::vector<std::string>{"UNet: 1 tensors, 327,680 numbers (published: 686, 865,910,724)"});
  EXPECT_EQ(version(2048).name, "Stable Diffusion");
}

TEST(Recognise, SwinIRWithItsFit) {
  std::vector<TensorInfo> tensors;
  for (const ExpectedTensor& e : swinir_layout(small_network())) tensors.push_back({e.name, DType::f32, e.shape});
  RecognisedNetwork found = recognise_network(tensors);
  EXPECT_EQ(found.name, "SwinIR");
  EXPECT_EQ(found.kind, NetworkKind::swinir);
  EXPECT_HAS(found.use, "--checkpoint");
  EXPECT_TRUE(found.fit.whole());
  tensors.pop_back();
  found = recognise_network(tensors);
  EXPECT_EQ(found.fit.missing, std::vector<std::string>{"conv_last.bias [12]"});
}

// The names and shapes of the published constructors, as the reference numbers hold them.
TEST(Recognise, EveryPublishedInventory) {
  const auto file = source_folder() / "../shared/parity/state_dict_inventory.json";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "../shared/parity is not beside the checkout";
  const auto inventory = nlohmann::json::parse(read_file(file));
  const auto add = [&](const char* network, const std::string& prefix, std::vector<TensorInfo>& out) {
    for (const auto& t : inventory[network]["tensors"]) {
      const auto shape = t[1].get<std::vector<int64_t>>();
      out.push_back({prefix + t[0].get<std::string>(), t[2] == "int64" ? DType::i64 : DType::f32,
                     Shape(std::span<const int64_t>(shape))});
    }
  };
  for (const auto& [network, name] :
       std::vector<std::pair<const char*, std::string>>{{"bsrnet", "RRDBNet (BSRNet)"},
                                                        {"scunet", "SCUNet"},
                                                        {"unet", "UNet of Stable Diffusion"},
                                                        {"controlnet", "IRControlNet (DiffBIR, stage two)"},
                                                        {"vae", "AutoencoderKL (VAE of Stable Diffusion)"},
                                                        {"clip", "text tower of OpenCLIP"}}) {
    std::vector<TensorInfo> tensors;
    add(network, "", tensors);
    const RecognisedNetwork found = recognise_network(tensors);
    EXPECT_EQ(found.name, name);
    ASSERT_EQ(found.parts.size(), 1u) << network;
    EXPECT_TRUE(found.parts[0].ends_with(", as published")) << found.parts[0];
  }
  std::vector<TensorInfo> swinir, diffusion;
  add("swinir", "", swinir);
  const RecognisedNetwork found = recognise_network(swinir);
  ASSERT_TRUE(found.swinir);
  EXPECT_TRUE(found.fit.whole());
  EXPECT_EQ(to_yaml(found.swinir->config), to_yaml(SwinIRConfig{}));
  add("unet", "model.diffusion_model.", diffusion);
  add("vae", "first_stage_model.", diffusion);
  add("clip", "cond_stage_model.", diffusion);
  EXPECT_EQ(recognise_network(diffusion).name, "Stable Diffusion 2 (2.1 among them)");
  add("controlnet", "control_model.", diffusion);
  add("swinir", "preprocess_model.", diffusion);
  for (const TensorInfo& t : std::vector<TensorInfo>(diffusion)) {
    const std::string name = t.name.substr(t.name.find('.') + 1);
    if (t.name.starts_with("first_stage_model.") && (name.starts_with("encoder.") || name.starts_with("quant_conv.")))
      diffusion.push_back({"cond_encoder." + name, t.dtype, t.shape});
  }
  const RecognisedNetwork full = recognise_network(diffusion);
  EXPECT_EQ(full.name, "DiffBIR v1, the full file");
  ASSERT_EQ(full.parts.size(), 6u);
  for (const std::string& part : full.parts) EXPECT_TRUE(part.ends_with(", as published")) << part;
}

}  // namespace
}  // namespace relume::test
