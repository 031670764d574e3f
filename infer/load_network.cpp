#include "infer/load_network.h"

#include <iostream>

#include "base/error.h"
#include "base/text.h"
#include "models/recognise.h"

namespace relume {
namespace {

constexpr size_t max_config = size_t(1) << 20;  // bytes, as of a configuration file

InferredSwinIR inferred_network(const Checkpoint& c) {
  const std::string where = c.tensors->where();
  const RecognisedNetwork found = recognise_network(c.tensors->tensors());
  RELUME_CHECK(!found.name.empty(), where, ": holds no network that is known; 'relume inspect ", where,
               "' shows what it holds");
  RELUME_CHECK(found.swinir, where, ": holds ", found.name, ", and a SwinIR is needed here");
  RELUME_CHECK(found.swinir->contradiction.empty(), where,
               ": a SwinIR whose shapes contradict each other: ", found.swinir->contradiction,
               "; give its configuration with --config");
  return *found.swinir;
}

}  // namespace

std::optional<SwinIRConfig> stored_swinir_config(const Checkpoint& c) {
  const auto text_of = [&](const char* key) -> const std::string* {
    const auto at = c.metadata.find(key);
    if (at == c.metadata.end()) return nullptr;
    RELUME_CHECK(at->second.size() <= max_config, c.tensors->where(), ": its metadata '", key, "' of ", at->second.size(),
                 " bytes is over the limit of ", max_config);
    return &at->second;
  };
  const std::string name = c.tensors->where() + " (stored configuration)";
  if (const std::string* network = text_of("relume.swinir")) return read_config_text<SwinIRConfig>(*network, name);
  if (const std::string* training = text_of("relume.config"))
    return read_config_section<SwinIRConfig>(*training, name, "model");
  return {};
}

std::unique_ptr<SwinIR> load_swinir(const std::filesystem::path& weights, const std::filesystem::path& config, Device device) {
  const Checkpoint checkpoint = open_checkpoint(weights);
  if (config.empty()) return load_swinir(checkpoint, std::nullopt, device);
  return load_swinir(checkpoint, read_config<SwinIRConfig>(config), device);
}

std::unique_ptr<SwinIR> load_swinir(const Checkpoint& c, const std::optional<SwinIRConfig>& config, Device device) {
  std::optional<SwinIRConfig> chosen = config;
  if (!chosen) chosen = stored_swinir_config(c);
  std::optional<InferredSwinIR> inferred;
  if (!chosen) inferred = inferred_network(c);
  if (inferred) chosen = inferred->config;
  const std::string where = c.tensors->where();
  // Before the network is built: a hostile configuration must not ask for memory that no tensor justifies.
  const LayoutFit fit = fit_layout(swinir_layout(*chosen), c.tensors->tensors());
  RELUME_CHECK(fit.whole(), where,
               inferred ? ": a SwinIR that is not whole; fetch or save it again; "
                        : ": does not fit this network; is it the checkpoint of another configuration? ",
               summary(fit), listing(fit));
  if (inferred)
    std::cerr << where << ": a SwinIR, its configuration inferred from the tensors; assumed: " << join(inferred->assumed, ", ")
              << " (--config sets them)" << std::endl;
  auto network = std::make_unique<SwinIR>(*chosen, device);
  load_lazily(*network, c.tensors);
  return network;
}

}  // namespace relume
