#include "models/scunet.h"

#include <cmath>
#include <limits>

namespace relume {

namespace {

constexpr int window = 8, head_channels = 32, mlp_ratio = 4;
constexpr int64_t size_multiple = 64;  // three halvings of a map of whole windows
constexpr Activation relu = leaky_relu_activation(0);

const SCUNetConfig& validated(const SCUNetConfig& config) {
  config.validate();
  return config;
}

}  // namespace

void SCUNetConfig::validate() const {
  RELUME_CHECK(config.size() == 7, "config has ", config.size(), " entries, expected the blocks of seven stages");
  RELUME_CHECK(dim % (2 * head_channels) == 0, "dim ", dim, " is no multiple of ", 2 * head_channels,
               ": half of it is divided into heads of ", head_channels);
}

ScunetAttention::ScunetAttention(Module* parent, std::string name, int64_t channels, int shift)
    : Module(parent, std::move(name)),
      relative_position_params_(parameter("relative_position_params",
                                          {2 * window - 1, 2 * window - 1, channels / head_channels}, StoredAs::last_first)),
      embedding_layer_(this, "embedding_layer", {channels, 3 * channels}),
      linear_(this, "linear", {channels, channels}),
      // Unlike SwinIR's, pixels that the shift brought together never meet (spec 8.10).
      options_{.heads = int(channels / head_channels),
               .window = window,
               .shift = shift,
               .scale = 1 / std::sqrt(double(head_channels)),
               .mask = -std::numeric_limits<double>::infinity()} {}

Tensor ScunetAttention::operator()(const Tensor& x, const LayerNorm& norm) const {
  return with_path([&] {
    const auto in = [&x](const Tensor& parameter) { return parameter_for(x, parameter); };
    const Tensor table = reshape(in(relative_position_params_), {(2 * window - 1) * (2 * window - 1), options_.heads});
    return residual_window_attention(x, {norm.parameters_for(x), in(embedding_layer_.weight), in(embedding_layer_.bias), table,
                                         in(linear_.weight), in(linear_.bias), options_});
  });
}

ScunetSwinBlock::ScunetSwinBlock(Module* parent, std::string name, int64_t channels, int shift)
    : Module(parent, std::move(name)),
      ln1_(this, "ln1", channels),
      msa_(this, "msa", channels, shift),
      ln2_(this, "ln2", channels),
      mlp_(this, "mlp"),
      fc1_(&mlp_, "0", {channels, mlp_ratio * channels}),
      fc2_(&mlp_, "2", {mlp_ratio * channels, channels}) {}

Tensor ScunetSwinBlock::operator()(const Tensor& x) const {
  const Tensor attended = msa_(x, ln1_);
  return with_path([&] {
    const auto in = [&x](const Tensor& parameter) { return parameter_for(x, parameter); };
    return residual_mlp(attended, {ln2_.parameters_for(x), in(fc1_.weight), in(fc1_.bias), in(fc2_.weight), in(fc2_.bias)});
  });
}

ConvTransBlock::ConvTransBlock(Module* parent, std::string name, int64_t channels, int shift)
    : Module(parent, std::move(name)),
      trans_block_(this, "trans_block", channels / 2, shift),
      conv1_1_(this, "conv1_1", {channels, channels, 1}),
      conv1_2_(this, "conv1_2", {channels, channels, 1}),
      conv_block_(this, "conv_block"),
      conv_block_0_(&conv_block_, "0", {channels / 2, channels / 2, 3, false}),
      conv_block_2_(&conv_block_, "2", {channels / 2, channels / 2, 3, false}) {}

Tensor ConvTransBlock::operator()(const Tensor& x) const {
  const int64_t channels = x.shape(3);
  const Tensor mixed = conv1_1_(x), near = columns(mixed, 0, channels / 2), far = columns(mixed, channels / 2, channels);
  const Tensor both = concat(conv_block_2_(conv_block_0_(near, relu), {}, near), trans_block_(far));
  return conv1_2_(both, {}, x);
}

ScunetStage::ScunetStage(Module* parent, std::string name, const ScunetStageShape& s) : Module(parent, std::move(name)) {
  using Resample = ScunetStageShape::Resample;
  const bool up = s.resample == Resample::twice;
  if (up) up_ = std::make_unique<ConvTranspose2d>(this, "0", 2 * s.channels, s.channels, 2);
  for (int i = 0; i < s.blocks; ++i)
    blocks_.push_back(
        std::make_unique<ConvTransBlock>(this, std::to_string(i + int(up)), s.channels, i % 2 == 1 ? window / 2 : 0));
  if (s.resample == Resample::halve)
    down_ = std::make_unique<Conv2d>(
        this, std::to_string(s.blocks),
        Conv2dShape{
            .in = s.channels, .out = 2 * s.channels, .kernel = 2, .bias = false, .stride = 2, .pad_before = 0, .pad_after = 0});
}

Tensor ScunetStage::operator()(const Tensor& x) const {
  Tensor y = up_ ? (*up_)(x) : x;
  for (const auto& block : blocks_) y = (*block)(y);
  return down_ ? (*down_)(y) : y;
}

SCUNet::SCUNet(const SCUNetConfig& c, Device device)
    : Module(nullptr, "", device),
      config_(validated(c)),
      head_group_(this, "m_head"),
      head_(&head_group_, "0", {c.in_nc, c.dim, 3, false}),
      down1_(this, "m_down1", {c.dim, c.config[0], ScunetStageShape::Resample::halve}),
      down2_(this, "m_down2", {2 * c.dim, c.config[1], ScunetStageShape::Resample::halve}),
      down3_(this, "m_down3", {4 * c.dim, c.config[2], ScunetStageShape::Resample::halve}),
      body_(this, "m_body", {8 * c.dim, c.config[3], ScunetStageShape::Resample::none}),
      up3_(this, "m_up3", {4 * c.dim, c.config[4], ScunetStageShape::Resample::twice}),
      up2_(this, "m_up2", {2 * c.dim, c.config[5], ScunetStageShape::Resample::twice}),
      up1_(this, "m_up1", {c.dim, c.config[6], ScunetStageShape::Resample::twice}),
      tail_group_(this, "m_tail"),
      tail_(&tail_group_, "0", {c.dim, c.in_nc, 3, false}) {}

Tensor SCUNet::operator()(const Tensor& x) const {
  RELUME_CHECK(x.rank() == 4 && x.shape(3) == config_.in_nc, "SCUNet: pictures ", x, " given, expected [N, H, W, ",
               config_.in_nc, "]");
  const auto missing = [](int64_t side) { return (size_multiple - side % size_multiple) % size_multiple; };
  const int64_t below = missing(x.shape(1)), right = missing(x.shape(2));
  const Tensor x1 = head_(pad(x, 0, 0, below, right, Border::replicate));
  const Tensor x2 = down1_(x1), x3 = down2_(x2), x4 = down3_(x3);
  Tensor y = body_(x4);
  y = up3_(add(y, x4));
  y = up2_(add(y, x3));
  y = up1_(add(y, x2));
  return pad(tail_(add(y, x1)), 0, 0, -below, -right, Border::zero);
}

}  // namespace relume
