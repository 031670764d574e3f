// Kinds timestep_embedding, unet_resblock, spatial_transformer, unet, unet_control, unet_full, cldm_init: the denoising network
// of stage two and its control network, whole and in parts (spec/diffbir.md 3.1, 3.2).
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "autograd/elementwise.h"
#include "cli/parity/kinds.h"

namespace relume::parity {
namespace {

Json without(const Json& call, const std::vector<std::string>& keys) {
  Json rest = call;
  for (const std::string& key : keys) rest.erase(key);
  return rest;
}

// A constructor call of the reference as our configuration; keys without a counterpart must have a value that changes nothing.
template <class Config> Config config_of(const Json& call, const std::string& where) {
  RELUME_CHECK(call.contains("num_head_channels"), where, ": 'num_head_channels' is missing");
  Json merged = {{"channel_mult", {1, 2, 4, 8}}, {"use_linear_in_transformer", false}};  // where the class has other defaults
  const Json options = without(call, {"procedural", "image_size", "legacy", "use_checkpoint"});
  for (const auto& [key, value] : options.items()) {
    if (key != "use_spatial_transformer")
      merged[key] = value;
    else
      RELUME_CHECK(value == true, where, ": ", key, " is ", value.dump(), ", only true is supported");
  }
  return read_config_text<Config>(merged.dump(), where, {});
}

template <class Network> void load(const Case& c, const Network& network, const std::string& prefix) {
  const auto weights = c.weights(prefix);
  load_strict(network, *weights);
}

std::unique_ptr<UNet> unet_of(const Case& c, const Json& call, const std::string& prefix = "") {
  auto network = std::make_unique<UNet>(unet_config_of(c, call), c.device());
  load(c, *network, prefix);
  return network;
}

std::unique_ptr<ControlNet> control_net_of(const Case& c) {
  const Json& call = c.config().at("controlnet");
  auto network = std::make_unique<ControlNet>(control_net_config_of(c, call), c.device());
  load(c, *network, "controlnet.");
  return network;
}

// input.t may be integers; the networks take floats.
Tensor times_of(const Case& c) { return c.f32("input.t"); }

void run_timestep_embedding(const Case& c, Report& report) {
  RELUME_CHECK(c.option<int>("max_period") == 10000, c.name(), ": only a max_period of 10000 is supported");
  for (const int64_t width : c.option<std::vector<int64_t>>("dims")) {
    report.compare_output(fmt::format("emb_dim{}", width), timestep_embedding(times_of(c), width));
    report.compare_output(fmt::format("emb_frac_dim{}", width), timestep_embedding(c.f32("input.t_frac"), width));
  }
}

// Gradients where the case has a direction for them. `inputs` are the leaves by their names in the case.
void compare_gradients(const Case& c, const Module& module, const Tensor& y,
                       const std::vector<std::pair<std::string, Tensor>>& inputs, Report& report) {
  if (!c.has("input.grad_out")) return;
  backward(y, maps_of(c, "input.grad_out"));
  for (const auto& [name, leaf] : inputs)
    report.compare_gradient(name, leaf.rank() == 4 ? to_channels_first(grad(leaf)) : grad(leaf));
  compare_parameter_gradients(module, report);
}

void run_resblock(const Case& c, Report& report) {
  const Json unknown =
      without(c.config(), {"channels", "emb_channels", "out_channels", "use_scale_shift_norm", "up", "down", "procedural"});
  RELUME_CHECK(unknown.empty(), c.name(), ": unknown options ", unknown.dump());
  Module root(nullptr, "", c.device());
  const int64_t channels = c.option<int64_t>("channels");
  const bool up = c.option<bool>("up", false), down = c.option<bool>("down", false);
  const ResBlock block(&root, "",
                       {.in = channels,
                        .out = c.option<int64_t>("out_channels", channels),
                        .embedding = c.option<int64_t>("emb_channels"),
                        .scale_shift = c.option<bool>("use_scale_shift_norm", false),
                        .resample = up     ? Resample::up
                                    : down ? Resample::down
                                           : Resample::none});
  load(c, block, "");
  const Tensor x = require_grad(maps_of(c, "input.x")), emb = require_grad(c.f32("input.emb").to(c.device()));
  const Tensor y = block(x, silu(emb));  // our block takes the embedding behind its SiLU
  report.compare_output("y", to_channels_first(y.detach()));
  compare_gradients(c, block, y, {{"input.x", x}, {"input.emb", emb}}, report);
}

void run_spatial_transformer(const Case& c, Report& report) {
  Module root(nullptr, "", c.device());
  const SpatialTransformer transformer(&root, "",
                                       {.channels = c.option<int64_t>("in_channels"),
                                        .heads = c.option<int>("n_heads"),
                                        .head_channels = c.option<int64_t>("d_head"),
                                        .context = c.option<int64_t>("context_dim"),
                                        .depth = c.option<int>("depth", 1),
                                        .linear_projections = c.option<bool>("use_linear", false)});
  load(c, transformer, "");
  const Tensor x = require_grad(maps_of(c, "input.x")), context = require_grad(c.f32("input.context").to(c.device()));
  const Tensor y = transformer(x, transformer.keys_and_values(context));
  report.compare_output("y", to_channels_first(y.detach()));
  compare_gradients(c, transformer, y, {{"input.x", x}, {"input.context", context}}, report);
}

void run_unet(const Case& c, Report& report) {
  const auto unet = unet_of(c, c.config());
  const NoGrad no_grad;
  const auto text = unet->keys_and_values(c.f32("input.context").to(c.device()));
  report.compare_output("eps", to_channels_first((*unet)(maps_of(c, "input.x"), times_of(c), text)));
}

void run_unet_control(const Case& c, Report& report) {
  const auto unet = unet_of(c, c.config().at("unet"), "unet.");
  const auto control_net = control_net_of(c);
  const Tensor x = require_grad(maps_of(c, "input.x")), hint = require_grad(maps_of(c, "input.hint")), t = times_of(c),
               context = require_grad(c.f32("input.context").to(c.device()));
  const auto text = unet->keys_and_values(context);
  const UNetControl none, whole{(*control_net)(x, hint, t, control_net->keys_and_values(context)), {}};
  const size_t maps = whole.maps.size();
  for (size_t i = 0; i < maps; ++i)
    report.compare_output("control." + std::to_string(i), to_channels_first(whole.maps[i].detach()));

  const double strength = c.option<double>("control_scale", 1);
  const auto scaled = [&](double others) {
    UNetControl control{whole.maps, std::vector<double>(maps, others)};
    control.strengths.back() = strength;
    return control;
  };
  const Tensor eps = (*unet)(x, t, text, scaled(strength));
  report.compare_output("eps", to_channels_first(eps.detach()));
  {
    const NoGrad no_grad;
    report.compare_output("eps_without_control", to_channels_first((*unet)(x, t, text, none)));
    report.compare_output("eps_only_mid_control", to_channels_first((*unet)(x, t, text, scaled(0))));
  }
  backward(eps, maps_of(c, "input.grad_out"));
  report.compare_gradient("input.x", to_channels_first(grad(x)));
  report.compare_gradient("input.hint", to_channels_first(grad(hint)));
  report.compare_gradient("input.context", grad(context));
  compare_parameter_gradients(*unet, report, "unet.");
  compare_parameter_gradients(*control_net, report, "controlnet.");
}

// Every (C / 7)-th channel of a map [N, C, H, W], which is what the case stores of each control map.
Tensor some_channels(const Tensor& map) {
  const int64_t channels = map.shape(1), stride = std::max<int64_t>(1, channels / 7), kept = (channels + stride - 1) / stride,
                rows = map.shape(0) * kept, pixels = map.shape(2) * map.shape(3);
  const Tensor some = Tensor::empty(map.shape().with(1, kept));
  const Tensor to = some.reshape({rows, pixels}), from = map.reshape({map.shape(0) * channels, pixels});
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t source = row / kept * channels + row % kept * stride;
    to.slice(row, row + 1).copy_from(from.slice(source, source + 1));
  }
  return some;
}

// The control network is gone before the U-Net comes: together they are 5 GB.
UNetControl control_of_full(const Case& c, Report& report) {
  const auto control_net = control_net_of(c);
  const auto text = control_net->keys_and_values(c.f32("input.context").to(c.device()));
  UNetControl control{(*control_net)(maps_of(c, "input.x"), maps_of(c, "input.hint"), times_of(c), text), {}};
  std::vector<double> sums, squares;
  for (size_t i = 0; i < control.maps.size(); ++i) {
    const Tensor map = to_channels_first(control.maps[i]);
    report.compare(fmt::format("output.control_ch7.{:02}", i), some_channels(map));
    double sum = 0, square = 0;
    for (int64_t k = 0; k < map.numel(); ++k) sum += map.data<float>()[k], square += std::pow(map.data<float>()[k], 2.0);
    sums.push_back(sum), squares.push_back(square);
  }
  const int64_t maps = int64_t(control.maps.size());
  report.compare("output.control_sum", Tensor::of({maps}, sums));
  report.compare("output.control_sumsq", Tensor::of({maps}, squares));
  control.strengths.assign(control.maps.size(), c.option<double>("control_scale", 1));
  return control;
}

void run_unet_full(const Case& c, Report& report) {
  const NoGrad no_grad;
  const UNetControl control = control_of_full(c, report);
  const auto unet = unet_of(c, c.config().at("unet"), "unet.");
  const auto text = unet->keys_and_values(c.f32("input.context").to(c.device()));
  const Tensor x = maps_of(c, "input.x"), t = times_of(c);
  report.compare_output("eps", to_channels_first((*unet)(x, t, text, control)));
  report.compare_output("eps_without_control", to_channels_first((*unet)(x, t, text)));
}

// What a fresh control network takes over from the U-Net, and what it keeps.
void run_cldm_init(const Case& c, Report& report) {
  const auto unet = unet_of(c, c.config().at("unet"), "unet.");
  const ControlNet control_net(control_net_config_of(c, c.config().at("controlnet")), c.device());
  control_net.initialise(1);
  const std::string before = "input.controlnet_before.", after = "output.controlnet_after.";
  for (const NamedTensor& p : control_net.parameters())
    if (c.has(before + p.name))
      p.tensor.copy_from(from_stored(c.f32(before + p.name), p.tensor.shape(), p.stored_as).to(c.device()));
  control_net.initialise_from(*unet);

  std::vector<std::string> copied;
  for (const NamedTensor& p : control_net.parameters()) {
    const Tensor stored = to_stored(p.tensor.detach(), p.stored_as);
    if (c.has(after + p.name)) {
      report.compare(after + p.name, stored);
      continue;
    }
    const Tensor theirs = c.f32("param.unet." + p.name);
    if (stored.shape() == theirs.shape() &&
        std::equal(theirs.data<float>(), theirs.data<float>() + theirs.numel(), stored.data<float>()))
      copied.push_back(p.name);
  }
  auto expected = c.option<std::vector<std::string>>("copied_verbatim");
  std::ranges::sort(copied);
  std::ranges::sort(expected);
  report.check("copied_verbatim", copied == expected,
               fmt::format("{} tensors copied, {} listed, or others", copied.size(), expected.size()));
}

}  // namespace

UNetConfig unet_config_of(const Case& c, const Json& call) { return config_of<UNetConfig>(call, c.name()); }
ControlNetConfig control_net_config_of(const Case& c, const Json& call) { return config_of<ControlNetConfig>(call, c.name()); }

void register_unet_kinds(Kinds& kinds) {
  kinds["timestep_embedding"] = run_timestep_embedding;
  kinds["unet_resblock"] = run_resblock;
  kinds["spatial_transformer"] = run_spatial_transformer;
  kinds["unet"] = run_unet;
  kinds["unet_control"] = run_unet_control;
  kinds["unet_full"] = run_unet_full;
  kinds["cldm_init"] = run_cldm_init;
}

}  // namespace relume::parity
