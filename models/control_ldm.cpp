#include "models/control_ldm.h"

#include "autograd/elementwise.h"
#include "models/autoencoder_tiles.h"
#include "models/diffusion/classifier_free.h"

namespace relume {
namespace {

std::vector<KeysAndValues> first_rows(const std::vector<KeysAndValues>& all, int64_t rows) {
  std::vector<KeysAndValues> some;
  for (const KeysAndValues& pair : all) some.push_back({pair.keys.slice(0, rows), pair.values.slice(0, rows)});
  return some;
}

// f(); errors gain the line "in the <network>": U-Net and control network have layers of the same names.
template <class F> auto in_network(const char* network, F&& f) {
  try {
    return f();
  } catch (Error& e) {
    e.add_context(std::string("in the ") + network);
    throw;
  }
}

const ControlLdmConfig& validated(const ControlLdmConfig& config) {
  config.validate();
  return config;
}

}  // namespace

void ControlLdmConfig::validate() const {
  RELUME_CHECK(control.unet.context_dim == text.width, "the U-Net expects text states of ", control.unet.context_dim,
               " channels (context_dim), the text encoder gives ", text.width, " (width)");
  RELUME_CHECK(control.unet.in_channels == vae.embed_dim && control.hint_channels == vae.embed_dim,
               "the autoencoder's latents have ", vae.embed_dim, " channels (embed_dim); the U-Net takes ",
               control.unet.in_channels, " (in_channels), the control network ", control.hint_channels, " (hint_channels)");
}

ControlLdm::ControlLdm(const ControlLdmConfig& config, Device device)
    : config_(validated(config)),
      unet(config.control.unet, device),
      control_net(config.control, device),
      vae(config.vae, device) {}

void ControlLdm::set_compute_type(DType type) {
  compute_ = type;
  unet.set_compute_type(type);
  control_net.set_compute_type(type);
}

DiagonalGaussian ControlLdm::distribution(const Tensor& pictures, int64_t tile) const {
  const Tensor x = cast(pictures, compute_);
  return DiagonalGaussian(cast(tile == 0 ? vae.moments(x) : moments_in_tiles(vae, x, tile), DType::f32));
}

Tensor ControlLdm::encode(const Tensor& pictures, int64_t tile) const {
  return scale(distribution(pictures, tile).mean, config_.latent_scale_factor);
}

Tensor ControlLdm::decode(const Tensor& latents, int64_t tile) const {
  const Tensor z = cast(scale(latents, 1 / config_.latent_scale_factor), compute_);
  return cast(tile == 0 ? vae.decode(z) : decoded_in_tiles(vae, z, tile), DType::f32);
}

TextCondition ControlLdm::texts(const Tensor& states) const {
  return {.states = states, .unet = unet.keys_and_values(states), .control = control_net.keys_and_values(states)};
}

std::vector<Tensor> ControlLdm::tensors_of(const TextCondition& text) const {
  std::vector<Tensor> all{text.states};
  for (const auto* network : {&text.unet, &text.control})
    for (const KeysAndValues& pair : *network) all.push_back(pair.keys), all.push_back(pair.values);
  return all;
}

TextCondition ControlLdm::text_of(std::span<const Tensor> tensors) const {
  const size_t of_unet = 1 + 2 * size_t(unet.cross_attentions());
  TextCondition text{.states = tensors[0], .unet = {}, .control = {}};
  for (size_t i = 1; i < tensors.size(); i += 2)
    (i < of_unet ? text.unet : text.control).push_back({tensors[i], tensors[i + 1]});
  return text;
}

Tensor ControlLdm::waves(double t, int64_t rows) const {
  return timestep_embedding(Tensor::full({rows}, t, DType::f32), config_.control.unet.model_channels);
}

Tensor ControlLdm::predict(const Tensor& x, double t, const Tensor& condition, const TextCondition& text,
                           double strength) const {
  return predict_at(waves(t, x.shape(0)), x, condition, text, strength);
}

Tensor ControlLdm::predict_at(const Tensor& waves, const Tensor& x, const Tensor& condition, const TextCondition& text,
                              double strength) const {
  const int64_t rows = x.shape(0), samples = condition.shape(0);
  RELUME_CHECK((rows == samples || rows == 2 * samples) && rows <= text.states.shape(0), "ControlLDM: latents ", x,
               " given with the condition ", condition, " and ", text.states.shape(0), " texts; expected as many or twice as ",
               "many samples as the condition has, and a text for each");
  UNetControl control;
  if (strength != 0) {
    const Tensor hint = rows == samples ? condition : twice(condition);
    control.maps = in_network("control network", [&] { return control_net(x, hint, waves, first_rows(text.control, rows)); });
    control.strengths.assign(control.maps.size(), strength);
  }
  return in_network("U-Net", [&] { return unet(x, waves, first_rows(text.unet, rows), control); });
}

}  // namespace relume
