// ControlLDM (Lin et al. 2023, DiffBIR, arXiv 2308.15070; spec/diffbir.md 3 and 5.3): what stage two consists of. Stable
// Diffusion's autoencoder, text encoder and U-Net stay as they are; IRControlNet steers the U-Net by the latent of what stage
// one restored. The text encoder stands apart (models/clip_text.h): its work is done, and its memory free, before the others'
// begins.
#pragma once

#include "models/clip_text.h"
#include "models/control_net.h"
#include "models/vae.h"

namespace relume {

struct ControlLdmConfig {
  ControlNetConfig control;  // and the U-Net, which shares its configuration
  AutoencoderConfig vae;
  ClipTextConfig text;
  double latent_scale_factor = 0.18215;  // from the autoencoder's latents to those that are diffused

  template <class V> void fields(V&& v) {
    v("control", control, "the U-Net, and the control network that steers it");
    v("vae", vae, "the autoencoder");
    v("text", text, "the text encoder");
    v("latent_scale_factor", latent_scale_factor, Range{1e-6, 1e6}, "from the autoencoder's latents to those diffused");
  }
  void validate() const;  // rules between the parts; InputError
};

// What both networks look at of R texts, computed once for all steps. With classifier-free guidance R = 2 N for N samples:
// first the wanted texts, then the unwanted ones.
struct TextCondition {
  Tensor states;  // [R, context_length, context_dim]
  std::vector<KeysAndValues> unet, control;
};

class ControlLdm {
 public:
  explicit ControlLdm(const ControlLdmConfig& config, Device device = {});

  // Pictures f32 [N, H, W, 3] in [-1, 1], H and W multiples of vae.config().reduction(), to latents f32 [N, h, w, 4] as they
  // are diffused: the mode of the autoencoder's distribution. And back, not clamped. Both on device(). With a `tile`, in the
  // reference's tiles of so many pixels, or latents, and nothing is recorded for gradients (models/autoencoder_tiles.h).
  Tensor encode(const Tensor& pictures, int64_t tile = 0) const;
  Tensor decode(const Tensor& latents, int64_t tile = 0) const;
  // The whole distribution of the latents, not scaled.
  DiagonalGaussian distribution(const Tensor& pictures, int64_t tile = 0) const;

  TextCondition texts(const Tensor& states) const;  // of R texts, f32 [R, context_length, context_dim], as ClipText gives them

  // The text's part of the networks' inputs, and back: a list of tensors of which the first is `states`.
  std::vector<Tensor> tensors_of(const TextCondition& text) const;
  TextCondition text_of(std::span<const Tensor> tensors) const;

  // What the U-Net predicts for latents x [R', h, w, 4] at time t, steered with `strength` (0: not at all) by the latents
  // `condition` [N, h, w, 4]: R' is N or 2 N, where the condition stands for both halves, and the first R' texts are taken.
  Tensor predict(const Tensor& x, double t, const Tensor& condition, const TextCondition& text, double strength) const;
  // The same at waves(t, R'): all that it reads are tensors.
  Tensor predict_at(const Tensor& waves, const Tensor& x, const Tensor& condition, const TextCondition& text,
                    double strength) const;
  Tensor waves(double t, int64_t rows) const;  // f32 [rows, model_channels] on the CPU

  const ControlLdmConfig& config() const { return config_; }
  Device device() const { return unet.device(); }
  // The type the networks compute in: f32 unless set, bf16, f16. Parameters, latents and pictures stay in f32.
  void set_compute_type(DType type);

 private:
  ControlLdmConfig config_;
  DType compute_ = DType::f32;

 public:
  UNet unet;
  ControlNet control_net;
  AutoencoderKL vae;
};

}  // namespace relume
