#include "infer/reference_training.h"

#include <algorithm>
#include <concepts>

#include "base/files.h"
#include "base/text.h"
#include "configs/yaml_tree.h"

namespace relume {
namespace {

using Keys = std::vector<std::string>;
using TrainingOnly = std::optional<std::string>;  // any value: it changes nothing in what a trained network computes

constexpr int64_t longest_file = int64_t(1) << 20;  // bytes

// The fields of a network as keys of a section. All are asked for but the `optional` ones: where a key is missing, the
// reference takes defaults of its own, which are not ours. Those that stand `elsewhere` in the file are left out.
template <class Config, class V> void network_fields(Config& config, V& v, const Keys& optional, const Keys& elsewhere) {
  config.fields([&](const char* key, auto& member, const auto&... attributes) {
    if (std::ranges::count(elsewhere, key) > 0) return;
    if (std::ranges::count(optional, key) > 0)
      v(key, member, attributes...);
    else
      v(key, member, Required{}, attributes...);
  });
}

// What the reference makes by a class's name and its arguments.
template <class Params> struct Object {
  std::string target;
  Params params;

  template <class V> void fields(V&& v) {
    const std::string name = Params::target;
    v("target", target, Required{}, OneOf{{"diffbir." + name, name}});
    v("params", params);
  }
};

// The U-Net, or the control network.
template <class Network> struct UNetSection {
  static constexpr bool is_control = std::same_as<Network, ControlNetConfig>;
  Network network;
  bool use_spatial_transformer = true, legacy = false;
  TrainingOnly unused;

  template <class V> void fields(V&& v) {
    network_fields(network, v, {"use_scale_shift_norm", "resblock_updown"}, is_control ? Keys{"out_channels"} : Keys{});
    v("use_spatial_transformer", use_spatial_transformer, Required{});
    v("legacy", legacy, Required{});
    for (const char* key : {"use_checkpoint", "image_size", "dropout"}) v(key, unused);
  }
  void validate() const {
    RELUME_CHECK(use_spatial_transformer, "use_spatial_transformer: false is not built here: attention without a text");
    RELUME_CHECK(!legacy, "legacy: true is not built here: it counts the channels of attention heads otherwise");
    network.validate();
  }
};

struct DdConfig {
  AutoencoderConfig network;
  bool double_z = true;
  TrainingOnly dropout;

  template <class V> void fields(V&& v) {
    network_fields(network, v, {}, {"embed_dim"});
    v("double_z", double_z);
    v("dropout", dropout);
  }
  void validate() const {
    RELUME_CHECK(double_z, "double_z: false is not built here: the encoder gives a mean and a variance");
    network.validate();
  }
};

struct VaeSection {
  DdConfig ddconfig;

  template <class V> void fields(V&& v) {
    v("embed_dim", ddconfig.network.embed_dim, Required{}, Range{1, 1024});
    v("ddconfig", ddconfig);
  }
};

struct TextSection {
  ClipTextConfig network;

  template <class V> void fields(V&& v) { network_fields(network, v, {}, {"embed_dim", "layer"}); }
};

// The tower of pictures, which belongs to CLIP's training.
struct VisionSection {
  TrainingOnly unused;

  template <class V> void fields(V&& v) {
    for (const char* key : {"image_size", "layers", "width", "head_width", "patch_size"}) v(key, unused);
  }
};

struct ClipSection {
  TextSection text;
  VisionSection vision;

  template <class V> void fields(V&& v) {
    v("embed_dim", text.network.embed_dim, Required{}, Range{1, 16384});
    v("vision_cfg", vision);
    v("text_cfg", text);
    v("layer", text.network.layer, Required{}, OneOf{{"penultimate", "last"}});
  }
  void validate() const { text.network.validate(); }
};

struct CldmParams {
  static constexpr const char* target = "model.cldm.ControlLDM";
  double latent_scale_factor = 0;
  UNetSection<UNetConfig> unet;
  VaeSection vae;
  ClipSection clip;
  UNetSection<ControlNetConfig> control;

  template <class V> void fields(V&& v) {
    v("latent_scale_factor", latent_scale_factor, Required{}, Range{1e-6, 1e6});
    v("unet_cfg", unet);
    v("vae_cfg", vae);
    v("clip_cfg", clip);
    v("controlnet_cfg", control);
  }
  void validate() const {
    UNetConfig steering = control.network.unet;
    steering.out_channels = unet.network.out_channels;
    for (const Difference& d : differences(unet.network, steering))
      throw InputError(detail::concat("controlnet_cfg has ", d.key, ": ", d.after, ", unet_cfg has ", d.before,
                                      "; here the control network is a copy of the U-Net's way down"));
    networks().validate();
  }
  ControlLdmConfig networks() const {
    return {.control = {.unet = unet.network, .hint_channels = control.network.hint_channels},
            .vae = vae.ddconfig.network,
            .text = clip.text.network,
            .latent_scale_factor = latent_scale_factor};
  }
};

struct SwinIRParams {
  static constexpr const char* target = "model.swinir.SwinIR";
  SwinIRConfig network;
  TrainingOnly unused;

  template <class V> void fields(V&& v) {
    network_fields(network, v, {"qkv_bias", "drop_path_rate", "ape", "patch_norm"},
                   {"qk_scale", "outer_unshuffle", "zero_last"});
    for (const char* key : {"drop_rate", "attn_drop_rate", "use_checkpoint"}) v(key, unused);
  }
  void validate() const { network.validate(); }
};

struct DiffusionParams {
  static constexpr const char* target = "model.gaussian_diffusion.Diffusion";
  DiffusionConfig diffusion;
  std::string beta_schedule = "linear";
  TrainingOnly loss_type;

  template <class V> void fields(V&& v) {
    network_fields(diffusion, v, {"zero_snr", "parameterization"}, {});
    v("beta_schedule", beta_schedule, OneOf{{"linear"}});
    v("loss_type", loss_type);
  }
};

struct ModelSection {
  Object<CldmParams> cldm;
  Object<SwinIRParams> swinir;
  Object<DiffusionParams> diffusion;

  template <class V> void fields(V&& v) {
    v("cldm", cldm);
    v("swinir", swinir);
    v("diffusion", diffusion);
  }
};

struct TrainSection {
  std::optional<std::string> sd_path, swinir_path;
  TrainingOnly unused;

  template <class V> void fields(V&& v) {
    v("sd_path", sd_path);
    v("swinir_path", swinir_path);
    for (const char* key : {"exp_dir", "learning_rate", "batch_size", "num_workers", "train_steps", "log_every", "ckpt_every",
                            "image_every", "resume", "noise_aug_timestep"})
      v(key, unused);
  }
};

}  // namespace

ReferenceTraining read_reference_training(const std::filesystem::path& file) {
  const std::string where = file.string(), text = read_file(file, longest_file);
  const Keys known{"model", "dataset", "batch_transform", "train"};
  for (const detail::YamlNode& section : detail::parse_yaml(text, where).items)
    RELUME_CHECK(std::ranges::count(known, section.key) > 0, where, ":", section.key_line, ": unknown key '",
                 printable(section.key), "'", did_you_mean(section.key, known), "; known: ", join(known, ", "));
  const auto model = read_config_section<ModelSection>(text, where, "model");
  const auto train = read_config_section<TrainSection>(text, where, "train");
  return {.networks = model.cldm.params.networks(),
          .diffusion = model.diffusion.params.diffusion,
          .cleaner = model.swinir.params.network,
          .prior = train.sd_path.value_or(""),
          .cleaner_weights = train.swinir_path.value_or("")};
}

}  // namespace relume
