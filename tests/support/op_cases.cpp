#include "tests/support/op_cases.h"

#include <cmath>
#include <limits>

#include "autograd/attention.h"
#include "autograd/conv.h"
#include "autograd/elementwise.h"
#include "autograd/gather.h"
#include "autograd/matmul.h"
#include "autograd/norm.h"
#include "autograd/reduce.h"
#include "autograd/resample.h"
#include "autograd/shape.h"
#include "tests/support/numbers.h"

namespace relume::test {

namespace {

using Inputs = std::vector<Tensor>;

constexpr double infinity = std::numeric_limits<double>::infinity();

// What a case holds on the CPU, where its inputs are.
Tensor beside(const Tensor& held, const Tensor& input) { return held ? held.to(input.device()) : held; }

OpCase linear_case(const std::string& name, const Shape& x, int64_t out, LinearOptions options = {}, bool residual = false) {
  OpCase c{.name = "linear/" + name, .inputs = {{x}, {{out, x[-1]}}, {{out}}}};
  if (residual) c.inputs.push_back({x.with(-1, out)});
  c.run = [options, residual](const Inputs& in) {
    LinearOptions o = options;
    o.sample_scale = beside(options.sample_scale, in[0]);
    if (residual) o.residual = in[3];
    return linear(in[0], in[1], in[2], o);
  };
  c.flops = 2.0 * double(x.numel() * out);
  return c;
}

// linear() with a norm in front.
OpCase normed_linear_case(const std::string& name, const Shape& x, int64_t out, LinearOptions options = {}) {
  OpCase c{.name = "linear/" + name, .inputs = {{x, -3, 5}, {{out, x[-1]}}, {{out}}, {{x[-1]}}, {{x[-1]}}}};
  c.run = [options](const Inputs& in) {
    LinearOptions o = options;
    o.sample_scale = beside(options.sample_scale, in[0]);
    o.norm = {in[3], in[4], 1e-5};
    return linear(in[0], in[1], in[2], o);
  };
  c.flops = 2.0 * double(x.numel() * out);
  return c;
}

OpCase mlp_case(const std::string& name, const Shape& x, int64_t hidden, Activation act = gelu_activation,
                const Tensor& sample_scale = {}) {
  const int64_t channels = x[-1];
  OpCase c{
      .name = "residual_mlp/" + name,
      .inputs = {{x, -3, 5}, {{channels}}, {{channels}}, {{hidden, channels}}, {{hidden}}, {{channels, hidden}}, {{channels}}}};
  c.run = [act, sample_scale](const Inputs& in) {
    return residual_mlp(in[0], {{in[1], in[2], 1e-5}, in[3], in[4], in[5], in[6], act}, beside(sample_scale, in[0]));
  };
  c.flops = 4.0 * double(x.numel() * hidden);
  return c;
}

OpCase conv_case(const std::string& name, const Shape& x, const Shape& w, ConvOptions options, Activation act = {},
                 bool residual = false) {
  const Shape y{x[0], (x[1] * options.enlarge + options.top + options.bottom - w[1]) / options.stride + 1,
                (x[2] * options.enlarge + options.left + options.right - w[2]) / options.stride + 1, w[0]};
  OpCase c{.name = "conv2d/" + name, .inputs = {{x}, {w}, {{w[0]}}}};
  if (residual) c.inputs.push_back({y});
  c.run = [options, act, residual](const Inputs& in) {
    return conv2d(in[0], in[1], in[2], options, act, residual ? in[3] : Tensor());
  };
  c.flops = 2.0 * double(y.numel() * w[1] * w[2] * w[3]);
  return c;
}

OpCase window_attention_case(const std::string& name, const Shape& map, WindowAttentionOptions options, bool bias = true,
                             const Tensor& sample_scale = {}) {
  const int64_t side = 2 * options.window - 1, channels = map[3];
  const double size = 2 / std::sqrt(double(channels));  // as large as a network's: scores of some units
  options.scale = 1 / std::sqrt(double(channels / options.heads));
  OpCase c{.name = "residual_window_attention/" + name,
           .inputs = {{map, -3, 5},
                      {{channels}},
                      {{channels}},
                      {{3 * channels, channels}, -size, size},
                      {{side * side, options.heads}, -2, 2},
                      {{channels, channels}}}};
  if (bias) c.inputs.insert(c.inputs.end(), {{{3 * channels}}, {{channels}}});
  c.run = [options, bias, sample_scale](const Inputs& in) {
    return residual_window_attention(
        in[0], {{in[1], in[2], 1e-5}, in[3], bias ? in[6] : Tensor(), in[4], in[5], bias ? in[7] : Tensor(), options},
        sample_scale ? sample_scale.to(in[0].device()) : Tensor());
  };
  c.flops = 8.0 * double(map.numel() * channels) + 4.0 * double(map.numel()) * options.window * options.window;
  return c;
}

// Queries [N, L, heads * D] and keys and values [N, S, heads * D], with scores of some units.
OpCase attention_case(const std::string& name, const Shape& q, int64_t keys, AttentionOptions options) {
  const double head_dim = double(q[2]) / options.heads, size = 3 / std::sqrt(std::sqrt(head_dim));
  options.scale = 1 / std::sqrt(head_dim);
  const Shape k = q.with(1, keys);
  OpCase c{.name = "attention/" + name, .inputs = {{q, -size, size}, {k, -size, size}, {k}}};
  c.run = [options](const Inputs& in) { return attention(in[0], in[1], in[2], options); };
  c.gradient_tolerance = 2e-5;
  c.flops = 4.0 * double(q.numel() * keys);
  return c;
}

// The same of packed queries, keys and values [N, L, 3 * heads * D].
OpCase self_attention_case(const std::string& name, const Shape& qkv, AttentionOptions options) {
  options.scale = 1 / std::sqrt(double(qkv[2] / 3) / options.heads);
  OpCase c{.name = "self_attention/" + name, .inputs = {{qkv, -2, 2}}};
  c.run = [options](const Inputs& in) { return self_attention(in[0], options); };
  c.gradient_tolerance = 2e-5;
  c.flops = 4.0 * double(qkv.numel() / 3 * qkv[1]);
  return c;
}

OpCase group_norm_case(const std::string& name, const Shape& x, const GroupNormOptions& options) {
  return {.name = "group_norm/" + name, .inputs = {{x, -3, 5}, {{x[-1]}}, {{x[-1]}}}, .run = [options](const Inputs& in) {
            return group_norm(in[0], in[1], in[2], options);
          }};
}

OpCase unary_case(const std::string& name, const Shape& shape, std::function<Tensor(const Tensor&)> f, double off_zero = 0) {
  return {.name = name, .inputs = {{shape, -4, 4, off_zero}}, .run = [f](const Inputs& in) { return f(in[0]); }};
}

OpCase gated_case(const std::string& name, const Shape& x, Activation act) {
  return unary_case("gated_activation/" + name, x, [act](const Tensor& t) { return gated_activation(t, act); });
}

// Rows of a table, some of them several times and some never.
OpCase embedding_case(const std::string& name, const Shape& table, const Shape& places) {
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < places.numel(); ++i) numbers.push_back(i * i % table[0]);
  return unary_case("embedding/" + name, table,
                    [ids = Tensor::of(places, numbers)](const Tensor& t) { return embedding(beside(ids, t), t); });
}

OpCase pad_case(const std::string& name, const Shape& x, std::array<int64_t, 4> amounts, Border border) {
  return unary_case("pad/" + name, x,
                    [=](const Tensor& t) { return pad(t, amounts[0], amounts[1], amounts[2], amounts[3], border); });
}

std::vector<OpCase> small_cases() {
  const ConvOptions same = ConvOptions::same(3);
  std::vector<OpCase> cases{
      unary_case("gelu", {3, 5, 7}, gelu),
      unary_case("silu", {2, 17}, silu),
      unary_case(
          "leaky_relu", {1, 3, 5, 19}, [](const Tensor& x) { return leaky_relu(x, 0.2); }, 0.05),
      gated_case("geglu", {2, 3, 10}, gelu_activation),
      gated_case("one", {1, 2}, gelu_activation),
      gated_case("silu", {3, 5, 32}, silu_activation),
      unary_case(
          "clamp", {5, 7}, [](const Tensor& x) { return clamp(x, 0, 2.5); }, 0.05),
      unary_case("exp", {3, 11}, exp),
      unary_case("columns", {2, 3, 7}, [](const Tensor& x) { return columns(x, 2, 6); }),
      unary_case("columns/all", {4, 5}, [](const Tensor& x) { return columns(x, 0, 5); }),
      embedding_case("odd", {11, 13}, {2, 7}),
      embedding_case("one", {1, 1}, {1}),
      embedding_case("packs", {5, 24}, {3, 1, 5}),
      unary_case("scale", {5, 3}, [](const Tensor& x) { return scale(x, -2.5); }),
      unary_case("sum", {7, 11}, sum),
      unary_case("reshape", {2, 3, 5},
                 [](const Tensor& x) {
                   return reshape(x, {5, 6});
                 }),
      unary_case("channel_affine", {2, 3, 5, 3},
                 [](const Tensor& x) {
                   return channel_affine(x, {2, -1, 0.5}, {0.1, 0.2, -3});
                 }),
      unary_case("channel_affine/no_shift", {7, 1}, [](const Tensor& x) { return channel_affine(x, {3}, {}); }),
      unary_case("upsample_nearest/2", {2, 3, 5, 7}, [](const Tensor& x) { return upsample_nearest(x, 2); }),
      unary_case("upsample_nearest/3", {1, 1, 2, 1}, [](const Tensor& x) { return upsample_nearest(x, 3); }),
      unary_case("pixel_unshuffle", {2, 6, 4, 5}, [](const Tensor& x) { return pixel_unshuffle(x, 2); }),
      unary_case("pixel_shuffle", {1, 3, 2, 18}, [](const Tensor& x) { return pixel_shuffle(x, 3); }),
      pad_case("reflect", {2, 5, 4, 3}, {2, 1, 4, 3}, Border::reflect),
      pad_case("zero", {1, 3, 2, 5}, {1, 0, 2, 3}, Border::zero),
      pad_case("replicate", {1, 2, 3, 2}, {3, 2, 1, 4}, Border::replicate),
      pad_case("crop", {2, 5, 7, 3}, {-1, -2, -2, 0}, Border::zero),
      {.name = "add", .inputs = {{{3, 7}}, {{3, 7}}}, .run = [](const Inputs& in) { return add(in[0], in[1]); }},
      {.name = "add/same", .inputs = {{{3, 7}}}, .run = [](const Inputs& in) { return add(in[0], in[0]); }},
      {.name = "sub", .inputs = {{{2, 5, 3}}, {{2, 5, 3}}}, .run = [](const Inputs& in) { return sub(in[0], in[1]); }},
      {.name = "mul", .inputs = {{{13}}, {{13}}}, .run = [](const Inputs& in) { return mul(in[0], in[1]); }},
      {.name = "concat", .inputs = {{{2, 3, 5}}, {{2, 3, 4}}}, .run = [](const Inputs& in) { return concat(in[0], in[1]); }},
      {.name = "concat/same", .inputs = {{{4, 1}}}, .run = [](const Inputs& in) { return concat(in[0], in[0]); }},
      {.name = "add_rows/bias", .inputs = {{{3, 5, 7}}, {{7}}}, .run = [](const Inputs& in) { return add_rows(in[0], in[1]); }},
      {.name = "add_rows/table",
       .inputs = {{{2, 3, 4, 5}}, {{1, 12, 5}}},
       .run = [](const Inputs& in) { return add_rows(in[0], in[1]); }},
      {.name = "add_per_sample/map",
       .inputs = {{{3, 2, 5, 7}}, {{3, 7}}},
       .run = [](const Inputs& in) { return add_per_sample(in[0], in[1]); }},
      {.name = "add_per_sample/one",
       .inputs = {{{1, 3}}, {{1, 3}}},
       .run = [](const Inputs& in) { return add_per_sample(in[0], in[1]); }},
      {.name = "concat/of_convolutions",  // whose gradient comes in pitched rows
       .inputs = {{{1, 5, 4, 3}}, {{4, 3, 3, 3}}, {{3, 3, 3, 3}}},
       .run = [same](const Inputs& in) { return concat(conv2d(in[0], in[1], {}, same), conv2d(in[0], in[2], {}, same)); }},
      {.name = "sum_squared_error",
       .inputs = {{{3, 5, 2}}, {{3, 5, 2}}},
       .run = [](const Inputs& in) { return sum_squared_error(in[0], in[1]); }},
      {.name = "layer_norm",
       .inputs = {{{2, 3, 180}, -3, 5}, {{180}}, {{180}}},
       .run = [](const Inputs& in) { return layer_norm(in[0], in[1], in[2]); }},
      {.name = "layer_norm/narrow",
       .inputs = {{{11, 3}}, {{3}}, {{3}}},
       .run = [](const Inputs& in) { return layer_norm(in[0], in[1], in[2]); }},
      // A standard deviation of 0.003: a wrong epsilon changes the result by a third.
      {.name = "layer_norm/small_variance",
       .inputs = {{{5, 37}, -0.005, 0.005}, {{37}}, {{37}}},
       .run = [](const Inputs& in) { return layer_norm(in[0], in[1], in[2]); }},
      group_norm_case("plain", {2, 5, 7, 12}, {.groups = 4}),
      group_norm_case("silu", {2, 3, 5, 24}, {.groups = 3, .act = silu_activation}),
      group_norm_case("tokens", {2, 35, 40}, {.groups = 4, .eps = 1e-6, .act = gelu_activation}),
      group_norm_case("one_group", {3, 4, 3, 7}, {.groups = 1, .act = silu_activation}),
      group_norm_case("groups_of_one", {2, 3, 5, 6}, {.groups = 6, .act = silu_activation}),
      group_norm_case("one_pixel", {3, 1, 1, 20}, {.groups = 4}),
      group_norm_case("blocks", {2, 19, 17, 36}, {.groups = 9, .act = silu_activation}),
      linear_case("one", {1, 1}, 1),
      linear_case("odd", {7, 13}, 11),
      linear_case("tail_block", {2, 67, 20}, 33),
      linear_case("gelu", {3, 5, 18}, 7, {.act = gelu_activation}),
      linear_case("residual", {2, 3, 9}, 9, {}, true),
      linear_case("everything", {3, 5, 6}, 10,
                  {.act = silu_activation, .sample_scale = Tensor::of<float>({3}, {1.25f, 0.f, 2.f})}, true),
      normed_linear_case("norm", {2, 5, 18}, 7),
      normed_linear_case("norm/everything", {3, 67, 20}, 33,
                         {.act = gelu_activation, .sample_scale = Tensor::of<float>({3}, {1.25f, 0.f, 2.f})}),
      mlp_case("odd", {2, 3, 5, 13}, 29),
      mlp_case("one", {1, 1}, 1),
      mlp_case("blocks", {3, 70, 20}, 33, silu_activation, Tensor::of<float>({3}, {1.25f, 0.f, 2.f})),
      {.name = "residual_mlp/no_bias",
       .inputs = {{{7, 6}}, {{6}}, {{6}}, {{9, 6}}, {{6, 9}}},
       .run =
           [](const Inputs& in) {
             return residual_mlp(in[0], {{in[1], in[2], 1e-5}, in[3], {}, in[4], {}, gelu_activation});
           }},
      {.name = "linear/no_bias",
       .inputs = {{{5, 3}}, {{4, 3}}},
       .run = [](const Inputs& in) { return linear(in[0], in[1], {}); }},
      conv_case("one", {1, 1, 1, 1}, {1, 1, 1, 1}, {}),
      conv_case("3x3", {2, 5, 7, 3}, {5, 3, 3, 3}, same),
      conv_case("3x3/wide", {1, 9, 6, 18}, {17, 3, 3, 18}, same),
      conv_case("3x3/leaky", {1, 4, 5, 6}, {4, 3, 3, 6}, same, leaky_relu_activation(0.2)),
      conv_case("3x3/silu_residual", {1, 4, 5, 6}, {6, 3, 3, 6}, same, silu_activation, true),
      conv_case("3x3/residual", {2, 4, 5, 6}, {6, 3, 3, 6}, same, {}, true),
      conv_case("1x1", {2, 3, 4, 7}, {3, 1, 1, 7}, {}),
      conv_case("stride2", {1, 7, 8, 4}, {6, 3, 3, 4}, {2, 1, 1, 1, 1}),
      conv_case("stride2/bottom_right", {1, 6, 8, 3}, {5, 3, 3, 3}, {2, 0, 0, 1, 1}),
      conv_case("2x2/stride2", {2, 6, 9, 5}, {7, 2, 2, 5}, {2, 0, 0, 0, 0}),
      conv_case("5x3/uneven_padding", {1, 6, 7, 2}, {3, 5, 3, 2}, {1, 1, 2, 3, 0}),
      conv_case("enlarged", {2, 3, 5, 4}, {3, 3, 3, 4}, ConvOptions::same(3, 2)),
      conv_case("enlarged/3", {1, 2, 3, 5}, {4, 3, 3, 5}, ConvOptions::same(3, 3), leaky_relu_activation(0.2)),
      // Large enough for Winograd's filtering: sizes that are no multiple of its tiles, channels of no vector.
      conv_case("winograd", {2, 23, 26, 19}, {21, 3, 3, 19}, same, leaky_relu_activation(0.2)),
      conv_case("winograd/residual", {1, 33, 31, 16}, {37, 3, 3, 16}, same, {}, true),
      conv_case("winograd/few_out", {3, 18, 21, 24}, {3, 3, 3, 24}, same),
      conv_case("winograd/many_out", {1, 32, 31, 16}, {35, 3, 3, 16}, same),
      conv_case("winograd/many_channels", {1, 16, 13, 512}, {2, 3, 3, 512}, same),
      conv_case("winograd/uneven_padding", {1, 35, 30, 17}, {5, 3, 3, 17}, {1, 2, 0, 1, 2}),
      conv_case("winograd/stride2", {2, 46, 49, 19}, {21, 3, 3, 19}, {2, 1, 1, 1, 1}),
      conv_case("winograd/stride2/bottom_right", {1, 64, 66, 16}, {37, 3, 3, 16}, {2, 0, 0, 1, 1}, {}, true),
      conv_case("winograd/stride2/uneven_padding", {1, 67, 60, 17}, {3, 3, 3, 17}, {2, 2, 0, 1, 2}),
      conv_case("winograd/enlarged", {2, 11, 14, 18}, {20, 3, 3, 18}, ConvOptions::same(3, 2)),
      conv_case("winograd/enlarged_few_out", {1, 17, 19, 16}, {2, 3, 3, 16}, ConvOptions::same(3, 2)),
      {.name = "conv2d/no_bias",
       .inputs = {{{1, 3, 3, 2}}, {{2, 3, 3, 2}}},
       .run = [same](const Inputs& in) { return conv2d(in[0], in[1], {}, same); }},
      window_attention_case("plain", {1, 8, 8, 12}, {.heads = 2, .window = 4}),
      window_attention_case("shifted", {2, 8, 12, 10}, {.heads = 2, .window = 4, .shift = 2}),
      window_attention_case("paper_heads", {1, 16, 8, 60}, {.heads = 2, .window = 8, .shift = 4}),
      window_attention_case("weak_mask", {1, 8, 8, 12}, {.heads = 2, .window = 4, .shift = 2, .mask = -1.5}),
      window_attention_case("hard_mask", {2, 8, 12, 10}, {.heads = 2, .window = 4, .shift = 1, .mask = -infinity}),
      window_attention_case("one_window", {1, 4, 4, 6}, {.heads = 3, .window = 4, .shift = 2}),
      window_attention_case("tiny", {1, 2, 2, 1}, {.heads = 1, .window = 1}),
      window_attention_case("seven", {1, 7, 14, 5}, {.heads = 1, .window = 7, .shift = 3}),
      window_attention_case("no_bias", {1, 4, 8, 6}, {.heads = 2, .window = 4}, false),
      window_attention_case("sample_scale", {3, 4, 4, 6}, {.heads = 2, .window = 4, .shift = 2}, true,
                            Tensor::of<float>({3}, {1.25f, 0.f, 2.f})),
      attention_case("one", {1, 1, 1}, 1, {}),
      attention_case("one_key", {2, 5, 12}, 1, {.heads = 3}),
      attention_case("one_query", {1, 1, 16}, 19, {.heads = 2}),
      attention_case("cross", {2, 13, 22}, 7, {.heads = 2}),
      attention_case("cross/more_keys", {1, 3, 40}, 101, {}),
      attention_case("causal", {2, 17, 15}, 17, {.heads = 3, .causal = true}),
      attention_case("head_64", {1, 33, 128}, 77, {.heads = 2}),
      attention_case("head_80", {1, 11, 80}, 37, {}),
      // More rows than a block of any kernel has.
      attention_case("blocks", {1, 211, 9}, 197, {}),
      attention_case("blocks/causal", {1, 199, 8}, 199, {.causal = true}),
      self_attention_case("packed", {2, 19, 30}, {.heads = 2}),
      self_attention_case("packed/causal", {1, 23, 192}, {.causal = true}),
  };
  for (OpCase& c : cases) {
    if (c.name.starts_with("residual_window_attention")) c.gradient_tolerance = 2e-5;
    if (c.name.find("winograd") != std::string::npos) c.tolerance = 4e-6;
  }
  return cases;
}

std::vector<OpCase> large_cases() {
  const ConvOptions same = ConvOptions::same(3);
  const Shape tokens{1, 64, 64, 180}, demo{16, 24, 24, 32};
  std::vector<OpCase> cases{
      linear_case("paper/qkv", tokens, 540),
      linear_case("paper/proj", tokens, 180, {}, true),
      normed_linear_case("paper/norm_qkv", tokens, 540),
      mlp_case("paper", tokens, 360),
      linear_case("paper/fc1_gelu", tokens, 360, {.act = gelu_activation}),
      linear_case("paper/fc2", {1, 64, 64, 360}, 180, {}, true),
      conv_case("paper/conv_first", {1, 64, 64, 192}, {180, 3, 3, 192}, same),
      conv_case("paper/body", tokens, {180, 3, 3, 180}, same, {}, true),
      conv_case("paper/up1", {1, 64, 64, 64}, {64, 3, 3, 64}, ConvOptions::same(3, 2), leaky_relu_activation(0.2)),
      conv_case("paper/up2", {1, 128, 128, 64}, {64, 3, 3, 64}, ConvOptions::same(3, 2), leaky_relu_activation(0.2)),
      conv_case("paper/up3", {1, 256, 256, 64}, {64, 3, 3, 64}, ConvOptions::same(3, 2), leaky_relu_activation(0.2)),
      conv_case("paper/hr", {1, 512, 512, 64}, {64, 3, 3, 64}, same, leaky_relu_activation(0.2)),
      conv_case("paper/last", {1, 512, 512, 64}, {3, 3, 3, 64}, same),
      conv_case("vae/512", {1, 512, 512, 128}, {128, 3, 3, 128}, same),
      conv_case("vae/halve", {1, 512, 512, 128}, {128, 3, 3, 128}, {2, 0, 0, 1, 1}),
      conv_case("bsrnet/dense", {1, 128, 128, 192}, {64, 3, 3, 192}, same),
      window_attention_case("paper/plain", tokens, {.heads = 6, .window = 8}),
      window_attention_case("paper/shifted", tokens, {.heads = 6, .window = 8, .shift = 4}),
      window_attention_case("scunet/shifted", {1, 128, 128, 64}, {.heads = 2, .window = 8, .shift = 4, .mask = -infinity}),
      attention_case("unet/self", {1, 4096, 320}, 4096, {.heads = 5}),
      attention_case("unet/cross", {1, 4096, 320}, 77, {.heads = 5}),
      attention_case("unet/middle", {1, 64, 1280}, 64, {.heads = 20}),
      attention_case("vae", {1, 4096, 512}, 4096, {}),
      attention_case("text", {1, 77, 1024}, 77, {.heads = 16, .causal = true}),
      embedding_case("text", {49408, 1024}, {1, 77}),
      {.name = "layer_norm/paper",
       .inputs = {{tokens}, {{180}}, {{180}}},
       .run = [](const Inputs& in) { return layer_norm(in[0], in[1], in[2]); }},
      group_norm_case("unet/64", {1, 64, 64, 320}, {.act = silu_activation}),
      group_norm_case("unet/64/batch", {8, 64, 64, 320}, {.act = silu_activation}),
      group_norm_case("unet/64/transformer", {1, 64, 64, 320}, {.eps = 1e-6}),
      group_norm_case("unet/32", {1, 32, 32, 640}, {.act = silu_activation}),
      group_norm_case("unet/16", {1, 16, 16, 2560}, {.act = silu_activation}),
      group_norm_case("unet/8", {1, 8, 8, 1280}, {.act = silu_activation}),
      group_norm_case("vae/512", {1, 512, 512, 128}, {.eps = 1e-6, .act = silu_activation}),
      group_norm_case("vae/256", {1, 256, 256, 256}, {.eps = 1e-6, .act = silu_activation}),
      group_norm_case("vae/64", {1, 64, 64, 512}, {.eps = 1e-6, .act = silu_activation}),
      gated_case("unet/64", {1, 4096, 2560}, gelu_activation),
      gated_case("unet/16", {1, 256, 10240}, gelu_activation),
      unary_case("upsample_nearest/paper", {1, 256, 256, 64}, [](const Tensor& x) { return upsample_nearest(x, 2); }),
      unary_case("pixel_unshuffle/paper", {1, 512, 512, 3}, [](const Tensor& x) { return pixel_unshuffle(x, 8); }),
      {.name = "concat/bsrnet",
       .inputs = {{{1, 128, 128, 160}}, {{1, 128, 128, 32}}},
       .run = [](const Inputs& in) { return concat(in[0], in[1]); }},
      linear_case("demo/qkv", demo, 96),
      conv_case("demo/body", demo, {32, 3, 3, 32}, same, {}, true),
      window_attention_case("demo/shifted", demo, {.heads = 4, .window = 8, .shift = 4}),
  };
  for (OpCase& c : cases) c.pitched = false;
  return cases;
}

}  // namespace

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = small_cases();
  return cases;
}

const std::vector<OpCase>& bench_cases() {
  static const std::vector<OpCase> cases = large_cases();
  return cases;
}

std::vector<Tensor> inputs_of(const OpCase& c, DType dtype) {
  std::vector<Tensor> inputs;
  for (const OpInput& in : c.inputs) {
    const Tensor values = uniform(in.shape, 17 + inputs.size(), in.low, in.high, DType::f64);
    double* v = values.data<double>();
    for (int64_t i = 0; i < values.numel(); ++i)
      if (std::abs(v[i]) < in.off_zero) v[i] = std::copysign(in.off_zero, v[i]);
    inputs.push_back(values.to(DType::f32).to(dtype));  // through f32, so that f32 and f64 start from equal numbers
  }
  return inputs;
}

}  // namespace relume::test
