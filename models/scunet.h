// SCUNet (Zhang et al. 2022, arXiv 2203.13278), the cleaner of DiffBIR v2 for denoising (spec/diffbir.md 2.4): a U-Net of
// blocks that are half convolutional, half Swin transformer.
//
//   picture --> m_head --> m_down1, 2, 3, each halves --> m_body --> m_up3, 2, 1, each doubles --> m_tail --> picture
//   m_up and m_tail take the sum of what came before and of the map of the same size on the way down
//   ConvTransBlock:  x + conv1_2(convolutions | Swin block), each of one half of the channels of conv1_1(x)
//
// Parameter names are those of the published checkpoint, which has 17,946,072 parameters. Stochastic depth is off, as
// published.
#pragma once

#include <memory>

#include "autograd/attention.h"
#include "configs/reader.h"
#include "layers/conv2d.h"
#include "layers/init.h"
#include "layers/linear.h"
#include "layers/norm.h"

namespace relume {

// Defaults: the published network. Names and meaning of the published constructor.
struct SCUNetConfig {
  int in_nc = 3;
  std::vector<int> config{4, 4, 4, 4, 4, 4, 4};  // blocks of m_down1, 2, 3, m_body, m_up3, 2, 1; 0: none
  int dim = 64;                                  // channels at full size, a multiple of 64

  template <class V> void fields(V&& v) {
    v("in_nc", in_nc, Range{1, 1024}, "channels of the pictures");
    v("config", config, Range{0, 64}, "blocks of the seven stages");
    v("dim", dim, Range{64, 4096}, "channels at full size");
  }
  void validate() const;  // InputError
};

class ScunetAttention : public Module {
 public:
  ScunetAttention(Module* parent, std::string name, int64_t channels, int shift);
  Tensor operator()(const Tensor& x, const LayerNorm& norm) const;  // x + attention(norm(x)), [N, H, W, C]

 private:
  Tensor relative_position_params_;  // [15, 15, heads]
  Linear embedding_layer_, linear_;
  WindowAttentionOptions options_;
};

// The transformer half: attention, then an MLP of four times the width, each behind a norm and around it.
class ScunetSwinBlock : public Module {
 public:
  ScunetSwinBlock(Module* parent, std::string name, int64_t channels, int shift);
  Tensor operator()(const Tensor& x) const;  // [N, H, W, C]

 private:
  LayerNorm ln1_;
  ScunetAttention msa_;
  LayerNorm ln2_;
  Module mlp_;
  Linear fc1_, fc2_;
};

class ConvTransBlock : public Module {
 public:
  ConvTransBlock(Module* parent, std::string name, int64_t channels, int shift);
  Tensor operator()(const Tensor& x) const;  // [N, H, W, channels]

 private:
  ScunetSwinBlock trans_block_;
  Conv2d conv1_1_, conv1_2_;
  Module conv_block_;
  Conv2d conv_block_0_, conv_block_2_;
};

// One size of the map: blocks, plain and shifted windows by turns, and behind or in front of them the change of size.
struct ScunetStageShape {
  enum class Resample { none, halve, twice };
  int64_t channels = 0;  // of the blocks
  int blocks = 0;
  Resample resample = Resample::none;  // to twice the channels behind the blocks, from twice the channels in front of them
};
class ScunetStage : public Module {
 public:
  ScunetStage(Module* parent, std::string name, const ScunetStageShape& shape);
  Tensor operator()(const Tensor& x) const;

 private:
  std::unique_ptr<ConvTranspose2d> up_;
  std::vector<std::unique_ptr<ConvTransBlock>> blocks_;
  std::unique_ptr<Conv2d> down_;
};

class SCUNet : public Module {
 public:
  explicit SCUNet(const SCUNetConfig& config, Device device = {});

  // Pictures [N, H, W, in_nc] in [0, 1] of any size to restored ones of the same size, about [0, 1], not clamped.
  Tensor operator()(const Tensor& x) const;

  const SCUNetConfig& config() const { return config_; }
  void initialise(uint64_t seed) const { init_parameters(*this, seed); }

 private:
  SCUNetConfig config_;
  Module head_group_;
  Conv2d head_;
  ScunetStage down1_, down2_, down3_, body_, up3_, up2_, up1_;
  Module tail_group_;
  Conv2d tail_;
};

}  // namespace relume
