#include "models/swinir.h"

#include <cmath>

#include "autograd/elementwise.h"
#include "autograd/resample.h"
#include "layers/init.h"

namespace relume {

namespace {

constexpr int64_t feature_channels = 64;                          // of the upsampling tail
constexpr double tail_slope = 0.2, before_upsample_slope = 0.01;  // spec 8.2: 0.01 once, 0.2 elsewhere

int steps_of_two(int scale) {
  int steps = 0;
  while (scale > 1 && scale % 2 == 0) scale /= 2, ++steps;
  return scale == 1 ? steps : -1;
}

// relative_position_index[i, j] = (yi - yj + w - 1) * (2w - 1) + (xi - xj + w - 1): a buffer of published checkpoints.
Tensor relative_position_index(int window) {
  const int n = window * window;
  Tensor index = Tensor::empty({n, n}, DType::i64);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j)
      index.data<int64_t>()[i * n + j] =
          (i / window - j / window + window - 1) * (2 * window - 1) + (i % window - j % window + window - 1);
  return index;
}

// attn_mask [windows, n, n]: -100 between pixels of different regions of the map, else 0 (spec 2.1). A buffer, too.
Tensor attention_mask(const SwinBlockShape& s, int shift) {
  const int window = s.window, across = s.width / window, windows = s.height / window * across, n = window * window;
  const auto region = [&](int p, int size) { return p < size - window ? 0 : p < size - shift ? 1 : 2; };
  Tensor mask = Tensor::empty({windows, n, n});
  float* out = mask.data<float>();
  std::vector<int> labels(static_cast<size_t>(n));
  for (int w = 0; w < windows; ++w) {
    for (int i = 0; i < n; ++i)
      labels[size_t(i)] =
          region(w / across * window + i / window, s.height) * 3 + region(w % across * window + i % window, s.width);
    for (const int of_row : labels)
      for (const int of_column : labels) *out++ = of_row == of_column ? 0.f : -100.f;
  }
  return mask;
}

SwinBlockShape block_shape(const SwinIRConfig& c, int heads) {
  const int resolution = c.img_size / c.patch_size;
  return {.channels = c.embed_dim,
          .hidden = int64_t(c.embed_dim * c.mlp_ratio),
          .heads = heads,
          .window = std::min(c.window_size, resolution),  // a map no larger than the window shrinks it, and nothing shifts
          .height = resolution,
          .width = resolution,
          .scale = c.qk_scale > 0 ? c.qk_scale : 1 / std::sqrt(double(c.embed_dim / heads)),
          .qkv_bias = c.qkv_bias};
}

}  // namespace

void SwinIRConfig::validate() const {
  RELUME_CHECK(!depths.empty() && depths.size() <= num_heads.size(), "depths has ", depths.size(), " entries, num_heads ",
               num_heads.size(), "; expected a head count for every group");
  for (size_t g = 0; g < depths.size(); ++g)
    RELUME_CHECK(embed_dim % num_heads[g] == 0, "embed_dim ", embed_dim, " is no multiple of ", num_heads[g], " heads");
  RELUME_CHECK(img_size % patch_size == 0, "img_size ", img_size, " is no multiple of patch_size ", patch_size);
  const int resolution = img_size / patch_size;
  RELUME_CHECK(resolution <= window_size || resolution % window_size == 0, "img_size / patch_size ", resolution,
               " is no multiple of window_size ", window_size);
  RELUME_CHECK(int64_t(embed_dim * mlp_ratio) >= 1, "mlp_ratio ", mlp_ratio, " leaves no hidden channel");
  RELUME_CHECK(!unshuffle || (unshuffle_scale == sf && upsampler != ""),
               "unshuffle needs unshuffle_scale equal to sf, and an upsampler that undoes it");
  RELUME_CHECK(upsampler != "nearest+conv" || steps_of_two(sf) >= 1, "nearest+conv needs sf 2, 4, 8, ...; sf is ", sf);
  RELUME_CHECK(upsampler != "pixelshuffle" || sf == 3 || steps_of_two(sf) >= 1, "pixelshuffle needs sf 2, 3, 4, 8, ...; sf is ",
               sf);
  RELUME_CHECK(upsampler != "" || sf == 1, "without upsampler sf must be 1; it is ", sf);
  RELUME_CHECK(resi_connection != "3conv" || embed_dim >= 4, "resi_connection 3conv needs embed_dim of at least 4");
  RELUME_CHECK(outer_unshuffle == 1 || (output_is_input_size() && in_chans % (outer_unshuffle * outer_unshuffle) == 0),
               "outer_unshuffle ", outer_unshuffle,
               " needs a network that keeps the size of its input, and in_chans to be a multiple of ",
               outer_unshuffle * outer_unshuffle, "; it is ", in_chans);
}

WindowAttention::WindowAttention(Module* parent, std::string name, const SwinBlockShape& s, int shift)
    : Module(parent, std::move(name)),
      relative_position_bias_table(
          parameter("relative_position_bias_table", {(2 * s.window - 1) * (2 * s.window - 1), s.heads})),
      qkv(this, "qkv", {s.channels, 3 * s.channels, s.qkv_bias}),
      proj(this, "proj", {s.channels, s.channels}),
      options_{.heads = s.heads, .window = s.window, .shift = shift, .scale = s.scale} {
  buffer("relative_position_index", relative_position_index(s.window));
}

Tensor WindowAttention::operator()(const Tensor& x, const LayerNorm& norm, const Tensor& sample_scale) const {
  return with_path([&] {
    const auto in = [&x](const Tensor& parameter) { return parameter_for(x, parameter); };
    return residual_window_attention(x,
                                     {norm.parameters_for(x), in(qkv.weight), in(qkv.bias), in(relative_position_bias_table),
                                      in(proj.weight), in(proj.bias), options_},
                                     sample_scale);
  });
}

Mlp::Mlp(Module* parent, std::string name, int64_t channels, int64_t hidden)
    : Module(parent, std::move(name)), fc1(this, "fc1", {channels, hidden}), fc2(this, "fc2", {hidden, channels}) {}

Tensor Mlp::operator()(const Tensor& x, const LayerNorm& norm, const Tensor& sample_scale) const {
  return with_path([&] {
    const auto in = [&x](const Tensor& parameter) { return parameter_for(x, parameter); };
    return residual_mlp(
        x, {norm.parameters_for(x), in(fc1.weight), in(fc1.bias), in(fc2.weight), in(fc2.bias), gelu_activation}, sample_scale);
  });
}

SwinBlock::SwinBlock(Module* parent, std::string name, const SwinBlockShape& s, int shift, int index, double drop)
    : Module(parent, std::move(name)),
      norm1(this, "norm1", s.channels),
      attn(this, "attn", s, shift),
      norm2(this, "norm2", s.channels),
      mlp(this, "mlp", s.channels, s.hidden),
      index_(index),
      drop_(drop) {
  if (shift > 0) buffer("attn_mask", attention_mask(s, shift));
}

Tensor SwinBlock::branch_scale(int which, int64_t samples, const DropPathSource& drop_path) const {
  if (!training() || drop_ == 0) return {};
  RELUME_CHECK(drop_path, "stochastic depth: training mode needs a source of draws (SwinIR::set_drop_path)");
  return drop_path(2 * index_ + which, drop_, samples);
}

Tensor SwinBlock::operator()(const Tensor& x, const DropPathSource& drop_path) const {
  const Tensor y = attn(x, norm1, branch_scale(0, x.shape(0), drop_path));
  return mlp(y, norm2, branch_scale(1, x.shape(0), drop_path));
}

BodyConv::BodyConv(Module* parent, std::string name, int64_t channels, bool three) : Module(parent, std::move(name)) {
  if (!three) {
    single_ = std::make_unique<Conv2d>(this, "", Conv2dShape{channels, channels});
    return;
  }
  first_ = std::make_unique<Conv2d>(this, "0", Conv2dShape{channels, channels / 4});
  second_ = std::make_unique<Conv2d>(this, "2", Conv2dShape{channels / 4, channels / 4, 1});
  third_ = std::make_unique<Conv2d>(this, "4", Conv2dShape{channels / 4, channels});
}

Tensor BodyConv::operator()(const Tensor& x, const Tensor& residual) const {
  if (single_) return (*single_)(x, {}, residual);
  const Activation act = leaky_relu_activation(tail_slope);
  return (*third_)((*second_)((*first_)(x, act), act), {}, residual);
}

Rstb::Rstb(Module* parent, std::string name, const SwinBlockShape& s, const std::vector<double>& drops, int first_index,
           bool three_convs)
    : Module(parent, std::move(name)),
      residual_group_(this, "residual_group"),
      blocks_(&residual_group_, "blocks"),
      conv_(this, "conv", s.channels, three_convs) {
  for (size_t i = 0; i < drops.size(); ++i) {
    const bool shifts = i % 2 == 1 && s.window < std::min(s.height, s.width);
    blocks_.add(s, shifts ? s.window / 2 : 0, first_index + int(i), drops[i]);
  }
}

Tensor Rstb::operator()(const Tensor& x, const DropPathSource& drop_path) const {
  Tensor y = x;
  for (const auto& block : blocks_) y = (*block)(y, drop_path);
  return conv_(y, x);
}

SwinIR::SwinIR(const SwinIRConfig& config, Device device) : Module(nullptr, "", device), config_(config) {
  const SwinIRConfig& c = config_;
  c.validate();
  const int64_t channels = c.embed_dim, pictures = c.in_chans;
  mean_ = c.in_chans == 3 ? std::vector<double>{0.4488, 0.4371, 0.4040} : std::vector<double>(size_t(c.in_chans), 0.0);

  conv_first_group_ = std::make_unique<Module>(this, "conv_first");
  const int64_t first = pictures * (c.unshuffle ? c.sf * c.sf : 1);
  conv_first_ = std::make_unique<Conv2d>(conv_first_group_.get(), c.unshuffle ? "1" : "", Conv2dShape{first, channels});
  patch_embed_ = std::make_unique<Module>(this, "patch_embed");
  if (c.patch_norm) patch_norm_ = std::make_unique<LayerNorm>(patch_embed_.get(), "norm", channels);
  const int64_t resolution = c.img_size / c.patch_size;
  if (c.ape) absolute_pos_embed_ = parameter("absolute_pos_embed", {1, resolution * resolution, channels});

  int blocks = 0, index = 0;
  for (const int depth : c.depths) blocks += depth;
  layers_ = std::make_unique<ModuleList<Rstb>>(this, "layers");
  for (size_t g = 0; g < c.depths.size(); ++g) {
    std::vector<double> drops;
    for (int i = 0; i < c.depths[g]; ++i) drops.push_back(blocks > 1 ? c.drop_path_rate * (index + i) / (blocks - 1) : 0);
    layers_->add(block_shape(c, c.num_heads[g]), drops, index, c.resi_connection == "3conv");
    index += c.depths[g];
  }
  norm_ = std::make_unique<LayerNorm>(this, "norm", channels);
  conv_after_body_ = std::make_unique<BodyConv>(this, "conv_after_body", channels, c.resi_connection == "3conv");

  if (c.upsampler == "nearest+conv" || c.upsampler == "pixelshuffle") {
    conv_before_upsample_group_ = std::make_unique<Module>(this, "conv_before_upsample");
    conv_before_upsample_ =
        std::make_unique<Conv2d>(conv_before_upsample_group_.get(), "0", Conv2dShape{channels, feature_channels});
  }
  if (c.upsampler == "nearest+conv") {
    for (int i = 1; i <= steps_of_two(c.sf); ++i)
      upsample_.push_back(std::make_unique<Conv2d>(this, "conv_up" + std::to_string(i),
                                                   Conv2dShape{.in = feature_channels, .out = feature_channels, .enlarge = 2}));
    conv_hr_ = std::make_unique<Conv2d>(this, "conv_hr", Conv2dShape{feature_channels, feature_channels});
  } else if (c.upsampler != "") {
    upsample_group_ = std::make_unique<Module>(this, "upsample");
    const bool one_step = c.upsampler == "pixelshuffledirect" || c.sf == 3;
    const int64_t in = c.upsampler == "pixelshuffle" ? feature_channels : channels;
    const int64_t out = c.upsampler == "pixelshuffle" ? feature_channels : pictures;
    const int steps = one_step ? 1 : steps_of_two(c.sf), factor = one_step ? c.sf : 2;
    for (int i = 0; i < steps; ++i)
      upsample_.push_back(
          std::make_unique<Conv2d>(upsample_group_.get(), std::to_string(2 * i), Conv2dShape{in, out * factor * factor}));
  }
  if (c.upsampler != "pixelshuffledirect")
    conv_last_ =
        std::make_unique<Conv2d>(this, "conv_last", Conv2dShape{c.upsampler == "" ? channels : feature_channels, pictures});
}

int SwinIR::size_multiple() const { return config_.unshuffle ? config_.sf * config_.window_size : config_.outer_unshuffle; }

int SwinIR::padding_multiple() const {
  return config_.unshuffle ? size_multiple() : config_.outer_unshuffle * config_.window_size;
}

int SwinIR::output_scale() const { return config_.output_is_input_size() ? 1 : config_.sf; }

Tensor SwinIR::operator()(const Tensor& x) const {
  const int f = config_.outer_unshuffle, multiple = size_multiple();
  const int64_t pictures = config_.in_chans / (f * f);
  RELUME_CHECK(x.rank() == 4 && x.shape(3) == pictures, "SwinIR: pictures ", x, " given, expected [N, H, W, ", pictures, "]");
  RELUME_CHECK(x.shape(1) % multiple == 0 && x.shape(2) % multiple == 0, "SwinIR: pictures ", x.shape(), " are no multiple of ",
               multiple, "; pad them");
  return f == 1 ? network(x) : pixel_shuffle(network(pixel_unshuffle(x, f)), f);
}

Tensor SwinIR::features(const Tensor& x) const {
  Tensor y = patch_norm_ ? (*patch_norm_)(x) : x;
  if (absolute_pos_embed_) {
    RELUME_CHECK(x.shape(1) * x.shape(2) == absolute_pos_embed_.shape(1),
                 "SwinIR: the absolute position embedding fits maps of ", absolute_pos_embed_.shape(1), " pixels, got ",
                 x.shape());
    y = add_rows(y, parameter_for(y, absolute_pos_embed_));
  }
  for (const auto& group : *layers_) {
    const auto run = [&group = *group, this](const Tensor& t) { return group(t, drop_path_); };
    y = checkpointing_ ? checkpoint(run, y) : run(y);
  }
  return (*norm_)(y);
}

Tensor SwinIR::network(const Tensor& x) const {
  const SwinIRConfig& c = config_;
  const int64_t height = x.shape(1), width = x.shape(2), window = c.window_size;
  std::vector<double> to_range(mean_.size(), c.img_range), offset, from_range(mean_.size(), 1 / c.img_range);
  for (const double m : mean_) offset.push_back(-m * c.img_range);

  const Tensor padded = pad(x, 0, 0, (window - height % window) % window, (window - width % window) % window, Border::reflect);
  const Tensor picture = channel_affine(padded, to_range, offset), narrow = cast(picture, compute_);
  const Tensor shallow = (*conv_first_)(c.unshuffle ? pixel_unshuffle(narrow, c.sf) : narrow);  // [N, H', W', C]
  const Tensor deep = (*conv_after_body_)(features(shallow), shallow);
  const Tensor restored = c.upsampler == "" ? residual_picture(deep, picture) : cast(tail(deep), x.dtype());
  const Tensor y = channel_affine(restored, from_range, mean_);
  return pad(y, 0, 0, height * output_scale() - y.shape(1), width * output_scale() - y.shape(2), Border::zero);
}

// 16 bits hold a correction well, and a picture badly: bf16 has eight bits of mantissa.
Tensor SwinIR::residual_picture(const Tensor& deep, const Tensor& picture) const {
  if (deep.dtype() == picture.dtype()) return (*conv_last_)(deep, {}, picture);
  return add(cast((*conv_last_)(deep), picture.dtype()), picture);
}

Tensor SwinIR::tail(const Tensor& deep) const {
  const SwinIRConfig& c = config_;
  const Activation act = leaky_relu_activation(tail_slope);
  Tensor y = conv_before_upsample_ ? (*conv_before_upsample_)(deep, leaky_relu_activation(before_upsample_slope)) : deep;
  if (c.upsampler == "nearest+conv") {
    for (const auto& conv : upsample_) y = (*conv)(y, act);  // each doubles the size
    return (*conv_last_)((*conv_hr_)(y, act));
  }
  const int factor = upsample_.size() > 1 ? 2 : c.sf;
  for (const auto& conv : upsample_) y = pixel_shuffle((*conv)(y), factor);
  return conv_last_ ? (*conv_last_)(y) : y;
}

void SwinIR::initialise(uint64_t seed) const {
  init_parameters(*this, seed);
  if (!config_.zero_last) return;
  for (const NamedTensor& p : parameters())
    if (p.name.starts_with("conv_last.")) init_constant(p.tensor, 0);
}

}  // namespace relume
