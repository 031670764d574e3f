#include "infer/refine_cost.h"

#include <algorithm>
#include <numeric>

#include "autograd/graph.h"
#include "autograd/reduce.h"
#include "data/checkpoint/memory_source.h"
#include "infer/taken_memory.h"
#include "models/autoencoder_strips.h"
#include "models/control_net.h"
#include "models/unet.h"

namespace relume {
namespace {

// The fewest channels that the groups of norms and the heads of attention allow, at most those of the configuration. Heads are
// made smaller too, but for a GPU, whose kernels are chosen by their size.
UNetConfig narrow(UNetConfig config, Device device) {
  constexpr int groups = 32;
  if (device == Device{}) config.num_head_channels = std::gcd(groups, config.num_head_channels);
  const int multiple = std::lcm(groups, config.num_head_channels);
  if (config.model_channels % multiple == 0) config.model_channels = multiple;
  return config;
}

// Parameters as files have them, and so computed with as those of restoring are; all in the same memory.
std::shared_ptr<const TensorSource> zeros_for(const Module& network) {
  const std::vector<NamedTensor> parameters = network.parameters();
  int64_t most = 0;
  for (const NamedTensor& p : parameters) most = std::max(most, p.tensor.numel());
  const Tensor zeros = Tensor::zeros({most});
  auto source = std::make_shared<MemorySource>("zeros");
  for (const NamedTensor& p : parameters)
    source->add(p.name, zeros.slice(0, p.tensor.numel()).reshape(stored_shape(p.tensor.shape(), p.stored_as)));
  return source;
}

// Of the map: kernels work on it as on those of pictures. On a GPU the libraries' scratch grows with it: there it is the map of
// the smallest picture.
constexpr int least_side = 32, least_side_on_gpu = 64;

TakenMemory sample(const UNet& unet, const ControlNet& control_net, int64_t samples, int64_t side) {
  const UNetConfig& c = unet.config();
  const Device device = unet.device();
  const Tensor x = Tensor::zeros({samples, side, side, c.in_channels}, DType::f32, device);
  const Tensor hint = Tensor::zeros({samples, side, side, control_net.config().hint_channels}, DType::f32, device);
  const Tensor text = Tensor::zeros({samples, 77, c.context_dim}, DType::f32, device), times = Tensor::full({samples}, 1);
  const auto of_unet = unet.keys_and_values(text), of_control = control_net.keys_and_values(text);
  return memory_taken_by(device,
                         [&] { unet(x, times, of_unet, {.maps = control_net(x, hint, times, of_control), .strengths = {}}); });
}

// A narrow decoder's gradient by latents of so many rows and columns.
TakenMemory sample_guidance(const AutoencoderKL& vae, int64_t side, DType compute) {
  const Tensor latents = require_grad(Tensor::zeros({1, side, side, vae.config().embed_dim}, compute, vae.device()));
  return memory_taken_by(vae.device(), [&] { backward(sum(vae.decode(latents))); });
}

// Restoration guidance through the decoder into `cost`.
void measure_guidance(RefineCost& cost, AutoencoderConfig config, Device device, DType compute) {
  constexpr int least_channels = 32;  // the groups of norms
  constexpr int64_t side = 16;
  const double wider = double(config.ch) / least_channels, reduction = config.reduction();
  config.ch = least_channels;
  const AutoencoderKL vae(config, device);
  vae.set_trainable(false);
  load_lazily(vae, zeros_for(vae));
  if (device != Device{}) sample_guidance(vae, side, compute);  // a GPU's libraries make their plans
  const TakenMemory taken = sample_guidance(vae, side, compute);
  cost.guidance_bytes_per_pixel = wider * taken.bytes / (double(side * side) * reduction * reduction);
  cost.guidance_fixed_bytes = wider * taken.scratch_bytes;
}

}  // namespace

RefineCost measure_refine_cost(const StageTwoConfig& config, Device device, DType compute) {
  RefineCost cost;
  if (config.guidance.loss != "none" && config.guidance.scale > 0 && config.guidance.space == "rgb")
    measure_guidance(cost, config.networks.vae, device, compute);
  const NoGrad no_grad;
  ControlNetConfig few = config.networks.control;
  few.unet = narrow(few.unet, device);
  UNet unet(few.unet, device);
  ControlNet control_net(few, device);
  for (const Module* network : std::initializer_list<const Module*>{&unet, &control_net}) {
    network->set_trainable(false);
    load_lazily(*network, zeros_for(*network));
  }
  unet.set_compute_type(compute), control_net.set_compute_type(compute);
  const double wider = double(config.networks.control.unet.model_channels) / few.unet.model_channels;
  const bool on_gpu = device != Device{};
  const int64_t samples = config.needs_negative() ? 2 : 1,
                side = std::max(on_gpu ? least_side_on_gpu : least_side, 4 * few.unet.size_multiple());
  if (on_gpu) sample(unet, control_net, samples, side);  // the libraries make their plans
  const TakenMemory taken = sample(unet, control_net, samples, side);
  const AutoencoderConfig& vae = config.networks.vae;
  const double reduction = vae.reduction(), size = size_of(compute);
  const int64_t widest = vae.channels(0) + vae.channels(std::min<size_t>(1, vae.ch_mult.size() - 1));
  cost.bytes_per_pixel = wider * taken.bytes / (double(side * side) * reduction * reduction);
  cost.fixed_bytes = wider * taken.scratch_bytes;
  cost.autoencoder_bytes_per_pixel = double(widest) * size;
  cost.autoencoder_fixed_bytes = double((on_gpu ? 8 : 4) * strip_bytes);  // on a GPU half of it the libraries' scratch
  return cost;
}

}  // namespace relume
