// Kinds swinir, swinir_full, swinir_rstb, swinir_droppath, swinir_adamw: outputs, losses, gradients and training trajectories
// of the restoration network (spec/diffbir.md 2.1, 2.2).
#include <array>
#include <cmath>
#include <map>

#include "autograd/elementwise.h"
#include "autograd/reduce.h"
#include "autograd/shape.h"
#include "cli/parity/kinds.h"
#include "cli/parity/optimizer.h"
#include "models/swinir.h"

namespace relume::parity {
namespace {

// The reference class's own defaults, where they differ from the configuration DiffBIR uses and SwinIRConfig defaults to.
Json class_defaults() {
  return {{"embed_dim", 96}, {"depths", {6, 6, 6, 6}}, {"num_heads", {6, 6, 6, 6}}, {"window_size", 7}, {"mlp_ratio", 4},
          {"sf", 4},         {"upsampler", ""},        {"unshuffle", false}};
}

// The scalar the reference differentiated.
Tensor loss_of(const Case& c, const Tensor& prediction, const Tensor& target) {
  const Tensor sum = sum_squared_error(prediction, target);
  if (c.loss() == "mean_squared_error") return scale(sum, 1.0 / double(prediction.numel()));
  RELUME_CHECK(c.loss() == "sum_squared_error", c.name(), ": unknown loss '", c.loss(), "'");
  return sum;
}

void forward_and_backward(const Case& c, const SwinIR& net, Report& report) {
  const Tensor lq = require_grad(maps_of(c, "input.lq"));
  const Tensor prediction = net(lq);
  const Tensor loss = loss_of(c, prediction, maps_of(c, "input.gt"));
  backward(loss);
  report.compare_output("pred", to_channels_first(prediction.detach()));
  report.compare_output("loss", loss.item());
  report.compare_gradient("input.lq", to_channels_first(grad(lq)));
  compare_parameter_gradients(net, report);
}

void run_swinir(const Case& c, Report& report) { forward_and_backward(c, *swinir_of(c, c.config()), report); }

void run_swinir_full(const Case& c, Report& report) {
  const auto net = swinir_of(c, c.config());
  const NoGrad no_grad;
  report.compare_output("pred", to_channels_first((*net)(maps_of(c, "input.lq"))));
}

// Stochastic depth with recorded draws: one row of input.droppath_keep per branch with a probability above 0, in call order.
void run_swinir_droppath(const Case& c, Report& report) {
  const auto net = swinir_of(c, c.config());
  const Tensor keep = c.f32("input.droppath_keep"), probabilities = c.f32("input.droppath_prob");
  std::map<int, int64_t> row_of_branch;
  net->set_drop_path([&](int branch, double probability, int64_t samples) {
    const int64_t row = row_of_branch.emplace(branch, int64_t(row_of_branch.size())).first->second;
    RELUME_CHECK(row < keep.shape(0) && samples == keep.shape(1), c.name(), ": branch ", branch,
                 " has no row in input.droppath_keep ", keep);
    if (std::abs(probabilities.data<float>()[row] - probability) > 1e-6)
      report.complain(detail::concat("branch ", branch, " has drop probability ", probability, ", recorded ",
                                     probabilities.data<float>()[row]));
    Tensor scale = Tensor::empty({samples});
    for (int64_t i = 0; i < samples; ++i)
      scale.data<float>()[i] = float(keep.data<float>()[row * samples + i] / (1 - probability));
    return scale.to(c.device());
  });
  net->set_training(true);
  forward_and_backward(c, *net, report);
}

// One residual group on tokens [B, H*W, C].
void run_swinir_rstb(const Case& c, Report& report) {
  const auto size = c.option<std::array<int, 2>>("input_resolution"), map = c.option<std::array<int, 2>>("x_size");
  const int64_t channels = c.option<int64_t>("dim");
  const int heads = c.option<int>("num_heads"), window = c.option<int>("window_size");
  const SwinBlockShape shape{.channels = channels,
                             .hidden = int64_t(double(channels) * c.option<double>("mlp_ratio")),
                             .heads = heads,
                             .window = std::min({window, size[0], size[1]}),
                             .height = size[0],
                             .width = size[1],
                             .scale = 1 / std::sqrt(double(channels / heads)),
                             .qkv_bias = c.option<bool>("qkv_bias", true)};
  const std::vector<double> drops(c.option<size_t>("depth"), 0.0);
  Module root(nullptr, "", c.device());
  const Rstb group(&root, "", shape, drops, 0, c.option<std::string>("resi_connection", "1conv") == "3conv");
  const auto weights = c.weights();
  load_strict(group, *weights);

  const Tensor tokens = c.f32("input.x");
  const Tensor x = require_grad(tokens.reshape({tokens.shape(0), map[0], map[1], channels}).to(c.device()));
  const Tensor y = group(x, nullptr);
  backward(y, c.f32("input.grad_out").reshape(y.shape()).to(c.device()));
  report.compare_output("y", y.detach().reshape(tokens.shape()));
  report.compare_gradient("input.x", grad(x).reshape(tokens.shape()));
  compare_parameter_gradients(group, report);
}

// A training trajectory: losses, gradient norms, final weights and moments. Batch i is slice i mod n.
void run_swinir_adamw(const Case& c, Report& report) {
  const auto net = swinir_of(c, c.config().at("model"));
  AdamW adamw(net->parameters(), adamw_of(c));
  const Tensor lq = c.f32("input.lq"), gt = c.f32("input.gt");  // [batches, N, C, H, W]
  const auto batch = [&](const Tensor& all, int64_t i) {
    const auto s = all.shape().sizes();
    return maps_of(c, all.slice(i, i + 1).reshape(Shape(s.subspan(1))));
  };
  std::vector<double> losses, norms;
  for (int64_t step = 0; step < c.option<int64_t>("steps"); ++step) {
    const Tensor loss = loss_of(c, (*net)(batch(lq, step % lq.shape(0))), batch(gt, step % gt.shape(0)));
    adamw.clear_gradients();
    backward(loss);
    losses.push_back(loss.item());
    norms.push_back(adamw.step().gradient_norm);
  }
  const int64_t steps = int64_t(losses.size());
  report.compare("output.losses", Tensor::of({steps}, losses));
  report.compare("output.grad_norms", Tensor::of({steps}, norms));
  for (size_t i = 0; i < adamw.parameters().size(); ++i) {
    const NamedTensor& p = adamw.parameters()[i];
    report.compare("final.param." + p.name, to_stored(p.tensor.detach(), p.stored_as));
    if (c.has("final.exp_avg." + p.name))
      report.compare("final.exp_avg." + p.name, to_stored(adamw.first_moment(i), p.stored_as));
    if (c.has("final.exp_avg_sq." + p.name))
      report.compare("final.exp_avg_sq." + p.name, to_stored(adamw.second_moment(i), p.stored_as));
  }
}

}  // namespace

SwinIRConfig swinir_config_of(const Case& c, const Json& call) {
  Json merged = class_defaults();
  for (const auto& [key, value] : call.items()) {
    if (key == "procedural" || key == "class_" || value.is_null()) continue;
    if (key == "drop_rate" || key == "attn_drop_rate" || key == "use_checkpoint") {
      RELUME_CHECK(value == 0 || value == false, c.name(), ": ", key, " is ", value.dump(), ", only 0 is supported");
      continue;
    }
    merged[key] = value;
  }
  if (merged["unshuffle"] == false) merged["unshuffle_scale"] = 1;
  return read_config_text<SwinIRConfig>(merged.dump(), c.name(), {});
}

std::unique_ptr<SwinIR> swinir_of(const Case& c, const Json& call, const std::string& prefix) {
  auto net = std::make_unique<SwinIR>(swinir_config_of(c, call), c.device());
  const auto weights = c.weights(prefix);
  load_strict(*net, *weights);
  for (const NamedTensor& b : net->buffers()) {  // what we would write must be what the reference registered
    const std::string name = "buffer." + prefix + b.name;
    if (!c.has(name)) continue;
    const Tensor theirs = c.tensor(name).to(DType::f64), ours = b.tensor.to(DType::f64);
    RELUME_CHECK(std::equal(ours.data<double>(), ours.data<double>() + ours.numel(), theirs.data<double>()), c.name(), ": ",
                 name, " differs from ours");
  }
  return net;
}

void register_swinir_kinds(Kinds& kinds) {
  kinds["swinir"] = run_swinir;
  kinds["swinir_full"] = run_swinir_full;
  kinds["swinir_droppath"] = run_swinir_droppath;
  kinds["swinir_rstb"] = run_swinir_rstb;
  kinds["swinir_adamw"] = run_swinir_adamw;
}

}  // namespace relume::parity
