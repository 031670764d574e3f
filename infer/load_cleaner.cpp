#include "infer/load_cleaner.h"

#include <algorithm>

#include "base/error.h"
#include "infer/load_network.h"
#include "models/recognise.h"

namespace relume {
namespace {

constexpr int published_unshuffle = 8;

// What the names and shapes of an RRDBNet show; load_lazily() says what does not fit.
RRDBNetConfig rrdbnet_config(const TensorSource& source) {
  RRDBNetConfig c;
  const auto channels = [&](const char* name, int otherwise) {
    const TensorInfo* t = source.find(name);
    return t && t->shape.rank() == 4 && t->shape[0] > 0 && t->shape[0] <= 512 ? int(t->shape[0]) : otherwise;
  };
  c.nf = channels("conv_first.weight", c.nf);
  c.gc = channels("RRDB_trunk.0.RDB1.conv1.weight", c.gc);
  c.nb = 0;
  while (c.nb < 256 && source.find("RRDB_trunk." + std::to_string(c.nb) + ".RDB1.conv1.weight")) ++c.nb;
  c.sf = source.find("upconv2.weight") ? 4 : 2;
  return c;
}

template <class Network, class Config> LoadedCleaner loaded_cleaner(const std::shared_ptr<const TensorSource>& source,
                                                                    const std::string& name, const Config& config,
                                                                    Device device, DType compute) {
  auto network = std::make_unique<Network>(config, device);
  load_lazily(*network, source);
  LoadedCleaner loaded{.network = nullptr, .cleaner = cleaner_of(*network, compute), .name = name};
  loaded.network = std::move(network);
  return loaded;
}

}  // namespace

LoadedCleaner load_cleaner(const Checkpoint& c, const std::optional<SwinIRConfig>& config, Device device, DType compute) {
  const TensorSource& tensors = *c.tensors;
  const RecognisedNetwork found = recognise_network(tensors.tensors());
  if (found.kind == NetworkKind::rrdbnet || found.kind == NetworkKind::scunet) {
    RELUME_CHECK(!config, tensors.where(), ": holds ", found.name,
                 ", whose configuration its tensors show; --config is for a SwinIR");
    if (found.kind == NetworkKind::rrdbnet)
      return loaded_cleaner<RRDBNet>(c.tensors, found.name, rrdbnet_config(tensors), device, compute);
    return loaded_cleaner<SCUNet>(c.tensors, found.name, SCUNetConfig(), device, compute);
  }
  RELUME_CHECK(found.kind == NetworkKind::swinir || found.kind == NetworkKind::unknown, tensors.where(), ": holds ", found.name,
               ", and a network of stage one is needed here: SwinIR, BSRNet or SCUNet");
  auto network = load_swinir(c, config, device);
  network->set_compute_type(compute);
  const SwinIRConfig& built = network->config();
  LoadedCleaner loaded{.network = nullptr,
                       .cleaner = cleaner_of(*network),
                       .name = found.name.empty() ? "SwinIR" : found.name,
                       .published_stage_one = built.unshuffle && built.sf == published_unshuffle};
  loaded.network = std::move(network);
  return loaded;
}

LoadedCleaner no_cleaner() {
  return {.network = nullptr, .cleaner = {.network = [](const Tensor& x) { return x; }}, .name = "none"};
}

}  // namespace relume
