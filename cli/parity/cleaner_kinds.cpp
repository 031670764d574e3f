// Kinds rrdbnet, scunet: outputs and gradients of the cleaners of DiffBIR v2 (spec/diffbir.md 2.3, 2.4).
#include "autograd/elementwise.h"
#include "cli/parity/kinds.h"

namespace relume::parity {
namespace {

// The gradient of the scalar that the reference differentiated towards output.pred.
Tensor prediction_gradient(const Case& c) {
  const Tensor weights = maps_of(c, "input.grad_out");
  if (c.loss() == "mean(output.pred * input.grad_out)") return scale(weights, 1 / double(weights.numel()));
  RELUME_CHECK(c.loss() == "sum(output.pred * input.grad_out)", c.name(), ": unknown loss '", c.loss(), "'");
  return weights;
}

// A case without a loss stores the output alone.
template <class Network> void compare_network(const Case& c, const Network& net, Report& report) {
  const Tensor lq = maps_of(c, "input.lq");
  if (c.loss().empty()) {
    const NoGrad no_grad;
    return report.compare_output("pred", to_channels_first(net(lq)));
  }
  const Tensor x = require_grad(lq), prediction = net(x);
  backward(prediction, prediction_gradient(c));
  report.compare_output("pred", to_channels_first(prediction.detach()));
  report.compare_gradient("input.lq", to_channels_first(grad(x)));
  compare_parameter_gradients(net, report);
}

template <class Network, class Config> std::unique_ptr<Network> loaded(const Case& c, const Json& call) {
  auto net = std::make_unique<Network>(config_of_call<Config>(c, call), c.device());
  const auto weights = c.weights();
  load_strict(*net, *weights);
  return net;
}

void run_rrdbnet(const Case& c, Report& report) { compare_network(c, *rrdbnet_of(c, c.config()), report); }
void run_scunet(const Case& c, Report& report) { compare_network(c, *scunet_of(c, c.config()), report); }

}  // namespace

std::unique_ptr<RRDBNet> rrdbnet_of(const Case& c, const Json& call) { return loaded<RRDBNet, RRDBNetConfig>(c, call); }

std::unique_ptr<SCUNet> scunet_of(const Case& c, const Json& call) { return loaded<SCUNet, SCUNetConfig>(c, call); }

void register_cleaner_kinds(Kinds& kinds) {
  kinds["rrdbnet"] = run_rrdbnet;
  kinds["scunet"] = run_scunet;
}

}  // namespace relume::parity
