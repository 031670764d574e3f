#include "models/rrdbnet.h"

#include <cmath>

#include "layers/init.h"

namespace relume {

namespace {

constexpr double residual_scale = 0.2, initial_scale = 0.1;
constexpr Activation leaky = leaky_relu_activation(0.2);

Tensor residual(const Tensor& x, const Tensor& branch) { return add(x, scale(branch, residual_scale)); }

}  // namespace

void RRDBNetConfig::validate() const { RELUME_CHECK(sf == 2 || sf == 4, "sf ", sf, " given, expected 2 or 4"); }

DenseBlock::DenseBlock(Module* parent, std::string name, int64_t channels, int64_t growth)
    : Module(parent, std::move(name)),
      conv1_(this, "conv1", {channels, growth}),
      conv2_(this, "conv2", {channels + growth, growth}),
      conv3_(this, "conv3", {channels + 2 * growth, growth}),
      conv4_(this, "conv4", {channels + 3 * growth, growth}),
      conv5_(this, "conv5", {channels + 4 * growth, channels}) {}

Tensor DenseBlock::operator()(const Tensor& x) const {
  Tensor seen = x;
  for (const Conv2d* conv : {&conv1_, &conv2_, &conv3_, &conv4_}) seen = concat(seen, (*conv)(seen, leaky));
  return residual(x, conv5_(seen));
}

RRDB::RRDB(Module* parent, std::string name, int64_t channels, int64_t growth)
    : Module(parent, std::move(name)),
      rdb1_(this, "RDB1", channels, growth),
      rdb2_(this, "RDB2", channels, growth),
      rdb3_(this, "RDB3", channels, growth) {}

Tensor RRDB::operator()(const Tensor& x) const { return residual(x, rdb3_(rdb2_(rdb1_(x)))); }

RRDBNet::RRDBNet(const RRDBNetConfig& c, Device device)
    : Module(nullptr, "", device),
      config_(c),
      conv_first_(this, "conv_first", {c.in_nc, c.nf}),
      trunk_(this, "RRDB_trunk"),
      trunk_conv_(this, "trunk_conv", {c.nf, c.nf}),
      upconv1_(this, "upconv1", {.in = c.nf, .out = c.nf, .enlarge = 2}) {
  c.validate();
  for (int i = 0; i < c.nb; ++i) trunk_.add(c.nf, c.gc);
  if (c.sf == 4) upconv2_ = std::make_unique<Conv2d>(this, "upconv2", Conv2dShape{.in = c.nf, .out = c.nf, .enlarge = 2});
  hr_conv_ = std::make_unique<Conv2d>(this, "HRconv", Conv2dShape{c.nf, c.nf});
  conv_last_ = std::make_unique<Conv2d>(this, "conv_last", Conv2dShape{c.nf, c.out_nc});
}

Tensor RRDBNet::operator()(const Tensor& x) const {
  RELUME_CHECK(x.rank() == 4 && x.shape(3) == config_.in_nc, "RRDBNet: pictures ", x, " given, expected [N, H, W, ",
               config_.in_nc, "]");
  const Tensor shallow = conv_first_(x);
  Tensor y = shallow;
  for (const auto& block : trunk_) y = (*block)(y);
  y = upconv1_(trunk_conv_(y, {}, shallow), leaky);
  if (upconv2_) y = (*upconv2_)(y, leaky);
  return (*conv_last_)((*hr_conv_)(y, leaky));
}

void RRDBNet::initialise(uint64_t seed) const {
  init_parameters(*this, seed);
  for (const NamedTensor& p : parameters()) {
    if (p.name.find(".RDB") == std::string::npos) continue;
    const Tensor& t = p.tensor;
    if (t.rank() == 4)  // Kaiming's, narrowed: a trunk of many residual branches starts near the identity
      init_normal(t, initial_scale * std::sqrt(2 / double(t.numel() / t.shape(0))), seed, p.name);
    else
      init_constant(t, 0);
  }
}

}  // namespace relume
