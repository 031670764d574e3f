// What a run of stage two is made of: the files in configs/infer, one for each published version and task (spec/diffbir.md 1.2,
// 5.1, 5.4). Keys are the reference's flags and, below `diffusion` and `networks`, its constructors' arguments.
#pragma once

#include <string>

#include "configs/reader.h"
#include "infer/stage_two.h"
#include "models/clip_text.h"

namespace relume {

struct DiffusionConfig {
  int64_t timesteps = 1000;
  double linear_start = 0.00085, linear_end = 0.012;
  bool zero_snr = false;
  std::string parameterization = "eps";

  template <class V> void fields(V&& v) {
    v("timesteps", timesteps, Range{2, 100000}, "times of the schedule");
    v("linear_start", linear_start, Range{1e-9, 0.999}, "the first beta");
    v("linear_end", linear_end, Range{1e-9, 0.999}, "the last beta");
    v("zero_snr", zero_snr, "the schedule ends in noise alone (v models)");
    v("parameterization", parameterization, OneOf{{"eps", "v"}}, "what the U-Net predicts");
  }
};

struct GuidanceConfig {
  std::string loss = "none";
  double scale = 0;
  double start = 1001, stop = -1;
  std::string space = "rgb";
  int repeat = 1;

  template <class V> void fields(V&& v) {
    v("loss", loss, OneOf{{"none", "mse", "w_mse"}}, "distance to what stage one restored: none, everywhere, in flat areas");
    v("scale", scale, Range{0, 1e6}, "strength of the guidance");
    v("start", start, Range{-1, 1e6}, "guided are the steps at times t with stop < t + 1 < start");
    v("stop", stop, Range{-1, 1e6});
    v("space", space, OneOf{{"rgb", "latent"}}, "where the distance is taken; w_mse in rgb alone");
    v("repeat", repeat, Range{1, 100}, "moves in each of these steps");
  }
};

// Tiles of the denoiser, in pixels of the picture; size 0: whole.
struct DenoiserTiles {
  int64_t size = 0, stride = 0;  // multiples of 64 and of 8
};

// Published networks by the names of their files, without an ending.
struct PublishedFiles {
  std::string prior, control, cleaner, face_cleaner;

  template <class V> void fields(V&& v) {
    v("prior", prior, "Stable Diffusion: U-Net, autoencoder, text encoder");
    v("control", control, "IRControlNet; empty: the prior's file holds it");
    v("cleaner", cleaner, "the network of stage one; empty: the prior's file holds it");
    v("face_cleaner", face_cleaner, "the network of stage one for faces within pictures");
  }
};

struct StageTwoConfig {
  PublishedFiles files;
  ControlLdmConfig networks;
  DiffusionConfig diffusion;
  double upscale = 4;
  std::string pos_prompt, neg_prompt;
  std::string sampler = "edm_dpm++_3m_sde";
  int64_t steps = 10;
  double cfg_scale = 6;
  bool rescale_cfg = false;
  std::string start_point_type = "noise";
  int64_t noise_aug = 0;
  double s_churn = 0, s_tmin = 0, s_tmax = 300, s_noise = 1, eta = 1;
  int order = 1;
  double strength = 1;
  std::string color_fix = "wavelet";
  int64_t cldm_tile_size = 0, cldm_tile_stride = 0, vae_encoder_tile_size = 0, vae_decoder_tile_size = 0;
  GuidanceConfig guidance;
  bool exact_reference = false;

  template <class V> void fields(V&& v) {
    v("files", files, "where the published networks are");
    v("networks", networks, "their configurations");
    v("diffusion", diffusion, "the noise schedule");
    v("upscale", upscale, Range{1, 1000}, "enlargement");
    v("pos_prompt", pos_prompt, "wanted, behind the picture's own prompt");
    v("neg_prompt", neg_prompt, "not wanted");
    v("sampler", sampler, "spaced, ddim, dpm++_m2 and its relatives, edm_ before a solver's name");
    v("steps", steps, Range{1, 1000}, "steps of the sampler");
    v("cfg_scale", cfg_scale, Range{0, 1000}, "classifier-free guidance; 1: off");
    v("rescale_cfg", rescale_cfg, "the guidance grows from 1 to its full scale");
    v("start_point_type", start_point_type, OneOf{{"noise", "cond"}}, "what sampling starts with");
    v("noise_aug", noise_aug, Range{0, 100000}, "time of the noise added to the condition; 0: none");
    v("s_churn", s_churn, Range{0, 1e6}, "edm_ samplers: noise added in each step");
    v("s_tmin", s_tmin, Range{0, 1e9}, "from this sigma on");
    v("s_tmax", s_tmax, Range{0, 1e9}, "up to this one");
    v("s_noise", s_noise, Range{0, 1e6}, "factor of the noise");
    v("eta", eta, Range{0, 1e6}, "ancestral and SDE samplers: share of noise");
    v("order", order, Range{1, 4}, "edm_lms: steps that are looked back");
    v("strength", strength, Range{0, 1e3}, "of the control; 0: none");
    v("color_fix", color_fix, OneOf{{"wavelet", "adain", "none"}}, "how colours are kept");
    v("cldm_tile_size", cldm_tile_size, Range{0, 1 << 20}, "tiles of the denoiser, pixels, a multiple of 64; 0: whole");
    v("cldm_tile_stride", cldm_tile_stride, Range{0, 1 << 20}, "from tile to tile; 0: half a tile");
    v("vae_encoder_tile_size", vae_encoder_tile_size, Range{0, 1 << 20},
      "the reference's tiles of the encoder, pixels; 0: whole");
    v("vae_decoder_tile_size", vae_decoder_tile_size, Range{0, 1 << 20},
      "the reference's tiles of the decoder, pixels; 0: whole");
    v("guidance", guidance, "restoration guidance");
    v("exact_reference", exact_reference, "edm_ samplers with the reference's first sigma for eps models");
  }
  void validate() const;  // rules between fields; InputError

  StageTwoOptions stage_two() const;
  DenoiserTiles denoiser_tiles() const;
  bool needs_negative() const { return cfg_scale != 1; }
};

}  // namespace relume
