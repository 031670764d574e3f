#include "infer/diffusers_layout.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/files.h"
#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/memory_source.h"
#include "data/checkpoint/safetensors.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

class DiffusersLayout : public testing::Test {
 protected:
  // Each tensor holds its own number.
  void write(const std::string& file, const std::vector<std::pair<std::string, Shape>>& tensors) {
    MemorySource source(file);
    for (const auto& [name, shape] : tensors) {
      numbers_[name] = float(numbers_.size() + 1);
      source.add(name, Tensor::full(shape, numbers_[name]));
    }
    make_folder((folder_ / file).parent_path());
    write_safetensors(folder_ / file, source);
  }
  void SetUp() override {
    write("unet/diffusion_pytorch_model.safetensors",
          {{"conv_in.weight", {2, 4, 3, 3}},
           {"time_embedding.linear_2.bias", {2}},
           {"down_blocks.0.resnets.0.norm1.weight", {2}},
           {"down_blocks.0.resnets.1.time_emb_proj.weight", {2}},
           {"down_blocks.0.downsamplers.0.conv.bias", {2}},
           {"down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_out.0.bias", {2}},
           {"mid_block.resnets.1.conv2.weight", {2}},
           {"mid_block.attentions.0.proj_in.weight", {2}},
           {"up_blocks.0.resnets.2.conv_shortcut.weight", {2}},
           {"up_blocks.0.upsamplers.0.conv.weight", {2}},
           {"up_blocks.1.attentions.0.norm.weight", {2}},
           {"up_blocks.1.upsamplers.0.conv.weight", {2}},
           {"conv_norm_out.weight", {2}}});
    write("vae/diffusion_pytorch_model.safetensors", {{"quant_conv.weight", {2}},
                                                      {"encoder.down_blocks.0.resnets.1.conv_shortcut.weight", {2}},
                                                      {"encoder.down_blocks.1.downsamplers.0.conv.weight", {2}},
                                                      {"encoder.mid_block.attentions.0.to_q.weight", {2, 2}},
                                                      {"decoder.mid_block.attentions.0.proj_attn.weight", {2, 2}},
                                                      {"decoder.mid_block.attentions.0.group_norm.weight", {2}},
                                                      {"decoder.up_blocks.0.resnets.2.norm1.bias", {2}},
                                                      {"decoder.up_blocks.3.upsamplers.0.conv.bias", {2}},
                                                      {"decoder.conv_norm_out.weight", {2}}});
    const std::string layer = "text_model.encoder.layers.0.";
    write("text_encoder/model.safetensors", {{"text_model.embeddings.token_embedding.weight", {5, 2}},
                                             {"text_model.embeddings.position_embedding.weight", {3, 2}},
                                             {layer + "self_attn.q_proj.weight", {2, 2}},
                                             {layer + "self_attn.k_proj.weight", {2, 2}},
                                             {layer + "self_attn.v_proj.weight", {2, 2}},
                                             {layer + "self_attn.out_proj.bias", {2}},
                                             {layer + "layer_norm1.weight", {2}},
                                             {layer + "mlp.fc1.weight", {8, 2}},
                                             {"text_model.final_layer_norm.bias", {2}}});
  }
  const TemporaryFolder folder_;
  std::map<std::string, float> numbers_;
};

TEST_F(DiffusersLayout, NamesAreThePublishedOnes) {
  EXPECT_TRUE(is_diffusers_folder(folder_ / ""));
  const auto source = open_diffusers_folder(folder_ / "");
  const auto same = [&](const std::string& published, const std::string& there) {
    ASSERT_TRUE(source->find(published)) << published;
    EXPECT_EQ(source->read(published).data<float>()[0], numbers_.at(there)) << published;
  };
  const std::string unet = "model.diffusion_model.", vae = "first_stage_model.", text = "cond_stage_model.model.";
  same(unet + "input_blocks.0.0.weight", "conv_in.weight");
  same(unet + "time_embed.2.bias", "time_embedding.linear_2.bias");
  same(unet + "input_blocks.1.0.in_layers.0.weight", "down_blocks.0.resnets.0.norm1.weight");
  same(unet + "input_blocks.2.0.emb_layers.1.weight", "down_blocks.0.resnets.1.time_emb_proj.weight");
  same(unet + "input_blocks.3.0.op.bias", "down_blocks.0.downsamplers.0.conv.bias");
  same(unet + "input_blocks.5.1.transformer_blocks.0.attn1.to_out.0.bias",
       "down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_out.0.bias");
  same(unet + "middle_block.2.out_layers.3.weight", "mid_block.resnets.1.conv2.weight");
  same(unet + "middle_block.1.proj_in.weight", "mid_block.attentions.0.proj_in.weight");
  same(unet + "output_blocks.2.0.skip_connection.weight", "up_blocks.0.resnets.2.conv_shortcut.weight");
  same(unet + "output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight");
  same(unet + "output_blocks.3.1.norm.weight", "up_blocks.1.attentions.0.norm.weight");
  same(unet + "output_blocks.5.2.conv.weight", "up_blocks.1.upsamplers.0.conv.weight");
  same(unet + "out.0.weight", "conv_norm_out.weight");
  same(vae + "quant_conv.weight", "quant_conv.weight");
  same(vae + "encoder.down.0.block.1.nin_shortcut.weight", "encoder.down_blocks.0.resnets.1.conv_shortcut.weight");
  same(vae + "encoder.down.1.downsample.conv.weight", "encoder.down_blocks.1.downsamplers.0.conv.weight");
  same(vae + "encoder.mid.attn_1.q.weight", "encoder.mid_block.attentions.0.to_q.weight");
  same(vae + "decoder.mid.attn_1.proj_out.weight", "decoder.mid_block.attentions.0.proj_attn.weight");
  same(vae + "decoder.mid.attn_1.norm.weight", "decoder.mid_block.attentions.0.group_norm.weight");
  same(vae + "decoder.up.3.block.2.norm1.bias", "decoder.up_blocks.0.resnets.2.norm1.bias");
  same(vae + "decoder.up.0.upsample.conv.bias", "decoder.up_blocks.3.upsamplers.0.conv.bias");
  same(vae + "decoder.norm_out.weight", "decoder.conv_norm_out.weight");
  same(text + "token_embedding.weight", "text_model.embeddings.token_embedding.weight");
  same(text + "positional_embedding", "text_model.embeddings.position_embedding.weight");
  same(text + "transformer.resblocks.0.attn.out_proj.bias", "text_model.encoder.layers.0.self_attn.out_proj.bias");
  same(text + "transformer.resblocks.0.ln_1.weight", "text_model.encoder.layers.0.layer_norm1.weight");
  same(text + "transformer.resblocks.0.mlp.c_fc.weight", "text_model.encoder.layers.0.mlp.fc1.weight");
  same(text + "ln_final.bias", "text_model.final_layer_norm.bias");
}

TEST_F(DiffusersLayout, PartsAreJoinedAndWhatIsLeftOutIsZero) {
  const auto source = open_diffusers_folder(folder_ / "");
  const std::string text = "cond_stage_model.model.", layer = "text_model.encoder.layers.0.self_attn.";
  const Tensor joined = source->read(text + "transformer.resblocks.0.attn.in_proj_weight");
  EXPECT_EQ(joined.shape(), Shape({6, 2}));
  int64_t row = 0;
  for (const char* part : {"q_proj.weight", "k_proj.weight", "v_proj.weight"}) {
    EXPECT_EQ(joined.data<float>()[row * 2], numbers_.at(layer + part)) << part;
    row += 2;
  }
  EXPECT_EQ(source->read("first_stage_model.encoder.mid.attn_1.q.weight").shape(), Shape({2, 2, 1, 1}));
  EXPECT_EQ(source->find(text + "transformer.resblocks.1.attn.in_proj_weight")->shape, Shape({6, 2}));
  EXPECT_EQ(source->read(text + "transformer.resblocks.1.mlp.c_fc.weight").data<float>()[3], 0);
  EXPECT_EQ(source->read(text + "text_projection").shape(), Shape({2, 2}));
  EXPECT_EQ(source->read(text + "logit_scale").shape(), Shape({}));
}

// As releases of transformers from 5.0 on write it.
TEST_F(DiffusersLayout, TheTextEncoderMayLackItsFirstWord) {
  const auto names = [&] {
    std::vector<std::string> all;
    const auto source = open_diffusers_folder(folder_ / "");
    for (const TensorInfo& t : source->tensors()) all.push_back(detail::concat(t.name, ' ', t.shape));
    std::ranges::sort(all);
    return all;
  };
  const std::vector<std::string> expected = names();
  std::vector<std::pair<std::string, Shape>> without;
  const std::string first = "text_model.";
  {
    const Checkpoint file = open_checkpoint(folder_ / "text_encoder/model.safetensors");
    for (const TensorInfo& t : file.tensors->tensors()) without.emplace_back(t.name.substr(first.size()), t.shape);
  }
  write("text_encoder/model.safetensors", without);
  EXPECT_EQ(names(), expected);
  without.emplace_back(first + "final_layer_norm.weight", Shape({2}));
  write("text_encoder/model.safetensors", without);
  EXPECT_HAS(input_error(names), "has no counterpart");
}

TEST_F(DiffusersLayout, WhatHasNoCounterpartIsNamed) {
  write("unet/diffusion_pytorch_model.safetensors", {{"add_embedding.linear_1.weight", {2}}});
  EXPECT_HAS(input_error([&] { open_diffusers_folder(folder_ / ""); }), "'add_embedding.linear_1.weight' has no counterpart");
  std::filesystem::remove(folder_ / "unet/diffusion_pytorch_model.safetensors");
  EXPECT_HAS(input_error([&] { open_diffusers_folder(folder_ / ""); }), "holds no weights");
  std::filesystem::remove_all(folder_ / "vae");
  EXPECT_HAS(input_error([&] { open_diffusers_folder(folder_ / ""); }), "lacks unet, vae or text_encoder");
}

}  // namespace
}  // namespace relume::test
