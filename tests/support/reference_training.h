// A training configuration in the reference's layout, of the networks that save_small_restorer() writes.
#pragma once

#include <string>

namespace relume::test {

inline std::string small_reference_training(const std::string& prior, const std::string& cleaner) {
  const std::string unet =
      "        use_checkpoint: True\n        image_size: 32 # unused\n        in_channels: 4\n        model_channels: 32\n"
      "        attention_resolutions: [ 2 ]\n        num_res_blocks: 1\n        channel_mult: [ 1, 2 ]\n"
      "        num_head_channels: 16\n        use_spatial_transformer: True\n        use_linear_in_transformer: True\n"
      "        transformer_depth: 1\n        context_dim: 12\n        legacy: False\n";
  return "model:\n  cldm:\n    target: diffbir.model.cldm.ControlLDM\n    params:\n      latent_scale_factor: 0.18215\n"
         "      unet_cfg:\n" +
         unet + "        out_channels: 4\n" +
         "      vae_cfg:\n        embed_dim: 4\n        ddconfig:\n          double_z: true\n          z_channels: 4\n"
         "          resolution: 256\n          in_channels: 3\n          out_ch: 3\n          ch: 32\n"
         "          ch_mult:\n          - 1\n          - 1\n          - 1\n          - 1\n          num_res_blocks: 1\n"
         "          attn_resolutions: []\n          dropout: 0.0\n"
         "      clip_cfg:\n        embed_dim: 12\n        vision_cfg:\n          layers: 32\n        text_cfg:\n"
         "          context_length: 77\n          vocab_size: 49408\n          width: 12\n          heads: 2\n"
         "          layers: 2\n        layer: \"penultimate\"\n      controlnet_cfg:\n" +
         unet + "        hint_channels: 4\n" +
         "  swinir:\n    target: diffbir.model.swinir.SwinIR\n    params:\n      img_size: 8\n      patch_size: 1\n"
         "      in_chans: 3\n      embed_dim: 8\n      depths: [2]\n      num_heads: [2]\n      window_size: 4\n"
         "      mlp_ratio: 2\n      sf: 2\n      img_range: 1.0\n      upsampler: \"nearest+conv\"\n"
         "      resi_connection: \"1conv\"\n      unshuffle: True\n      unshuffle_scale: 2\n"
         "  diffusion:\n    target: diffbir.model.gaussian_diffusion.Diffusion\n    params:\n"
         "      linear_start: 0.00085\n      linear_end: 0.0120\n      timesteps: 1000\n"
         "dataset:\n  train:\n    target: diffbir.dataset.codeformer.CodeformerDataset\n"
         "train:\n  sd_path: " +
         prior + "\n  exp_dir: \n  swinir_path: " + cleaner + "\n  learning_rate: 1e-4\n  resume: ~\n";
}

}  // namespace relume::test
