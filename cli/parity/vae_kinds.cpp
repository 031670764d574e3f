// Kinds vae, vae_block, vae_full: the autoencoder's moments, samples, pictures and gradients (spec/diffbir.md 3.3).
#include "autograd/elementwise.h"
#include "autograd/reduce.h"
#include "cli/parity/kinds.h"

namespace relume::parity {
namespace {

constexpr double divergence_weight = 1e-4;  // in the loss of kind vae

void compare_map(Report& report, const std::string& name, const Tensor& x) {
  report.compare_output(name, to_channels_first(x.detach()));
}

// The decoder alone: the gradient of sum(decoded2 * grad_out2) towards its latents.
void decode_second(const Case& c, const AutoencoderKL& net, Report& report) {
  const Tensor z = require_grad(maps_of(c, "input.z2"));
  const Tensor decoded = net.decode(z);
  backward(decoded, maps_of(c, "input.grad_out2"));
  compare_map(report, "decoded2", decoded);
  report.compare_gradient("input.z2", to_channels_first(grad(z)));
}

void run_vae(const Case& c, Report& report) {
  const auto net = autoencoder_of(c, c.config());
  const Tensor image = require_grad(maps_of(c, "input.image"));
  const Tensor encoded = net->encoder(image), moments = net->quant_conv(encoded);
  const DiagonalGaussian posterior(moments);
  const Tensor deviation = posterior.deviation(), sample = posterior.sample(maps_of(c, "input.eps"));
  const Tensor decoded = net->decode(sample), divergence = posterior.divergence();
  const Tensor weighted = sum(mul(decoded, maps_of(c, "input.grad_out")));
  const Tensor loss = add(scale(weighted, 1 / double(decoded.numel())), scale(sum(divergence), divergence_weight));
  backward(loss);
  compare_map(report, "encoder", encoded);
  compare_map(report, "moments", moments);
  compare_map(report, "mean", posterior.mean);
  compare_map(report, "logvar", posterior.logvar);
  compare_map(report, "std", deviation);
  compare_map(report, "sample", sample);
  compare_map(report, "decoded", decoded);
  report.compare_output("kl", divergence.detach());
  report.compare_output("loss", loss.item());
  report.compare_gradient("input.image", to_channels_first(grad(image)));
  compare_parameter_gradients(*net, report);
  decode_second(c, *net, report);
}

void compare_block(const Case& c, const Module& root, const std::function<Tensor(const Tensor&)>& block, Report& report) {
  const auto weights = c.weights();
  load_strict(root, *weights);
  const Tensor x = require_grad(maps_of(c, "input.x"));
  const Tensor y = block(x);
  backward(y, maps_of(c, "input.grad_out"));
  compare_map(report, "y", y);
  if (c.has("output.y_vanilla_impl")) compare_map(report, "y_vanilla_impl", y);  // the reference's other way to the same
  report.compare_gradient("input.x", to_channels_first(grad(x)));
  compare_parameter_gradients(root, report);
}

// Attention when the configuration says "channels", else a residual block.
void run_vae_block(const Case& c, Report& report) {
  Module root(nullptr, "", c.device());
  if (c.config().contains("channels")) {
    const AttnBlock block(&root, "", c.option<int64_t>("channels"));
    return compare_block(c, root, std::cref(block), report);
  }
  const ResnetBlock block(&root, "", c.option<int64_t>("in_channels"), c.option<int64_t>("out_channels"));
  compare_block(c, root, std::cref(block), report);
}

void run_vae_full(const Case& c, Report& report) {
  const auto net = autoencoder_of(c, c.config());
  const NoGrad no_grad;
  const Tensor moments = net->moments(maps_of(c, "input.image"));
  compare_map(report, "moments", moments);
  compare_map(report, "mode", DiagonalGaussian(moments).mean);
  compare_map(report, "decoded", net->decode(maps_of(c, "input.z")));
}

}  // namespace

// Its arguments without a counterpart must have the value that the class supports.
AutoencoderConfig autoencoder_config_of(const Case& c, const Json& call) {
  Json merged = c.option_in<Json>(call, "ddconfig");
  RELUME_CHECK(c.option_in<bool>(merged, "double_z"), c.name(), ": double_z is off, only on is supported");
  RELUME_CHECK(c.option_in<double>(merged, "dropout") == 0, c.name(), ": dropout is not 0, only 0 is supported");
  merged.erase("double_z"), merged.erase("dropout");
  merged["embed_dim"] = c.option_in<int>(call, "embed_dim");
  return config_of_call<AutoencoderConfig>(c, merged);
}

std::unique_ptr<AutoencoderKL> autoencoder_of(const Case& c, const Json& call) {
  auto net = std::make_unique<AutoencoderKL>(autoencoder_config_of(c, call), c.device());
  const auto weights = c.weights();
  load_strict(*net, *weights);
  return net;
}

void register_vae_kinds(Kinds& kinds) {
  kinds["vae"] = run_vae;
  kinds["vae_block"] = run_vae_block;
  kinds["vae_full"] = run_vae_full;
}

}  // namespace relume::parity
