#include "cli/stage_two_options.h"

#include <CLI/CLI.hpp>

#include <algorithm>

#include "base/files.h"
#include "base/text.h"
#include "cli/presets.h"
#include "infer/reference_training.h"

namespace relume {
namespace {

namespace fs = std::filesystem;

// A flag that is a key of the configuration.
struct ConfigFlag {
  const char *flag, *key, *type, *help;
};
constexpr const char* option_group = "Stage two (diffusion)";
constexpr ConfigFlag config_flags[] = {
    {"--sampler", "sampler", "NAME", "spaced, ddim, dpm++_m2 and its relatives, or edm_ before a solver's name"},
    {"--steps", "steps", "N", "Steps of the sampler"},
    {"--cfg-scale", "cfg_scale", "W", "Classifier-free guidance; 1 switches it off"},
    {"--pos-prompt", "pos_prompt", "TEXT", "What all pictures should look like; follows each picture's own prompt"},
    {"--neg-prompt", "neg_prompt", "TEXT", "What they should not look like"},
    {"--start-point-type", "start_point_type", "noise|cond", "What sampling starts with; cond: steadier, with less detail"},
    {"--noise-aug", "noise_aug", "T", "Noise on the condition, 0 to 199: more is invented"},
    {"--strength", "strength", "S", "Of the control by what stage one made"},
    {"--s-churn", "s_churn", "X", "edm_ samplers: noise added in each step"},
    {"--s-tmin", "s_tmin", "X", "... from this sigma on"},
    {"--s-tmax", "s_tmax", "X", "... up to this one"},
    {"--s-noise", "s_noise", "X", "... times this"},
    {"--eta", "eta", "X", "Ancestral and SDE samplers: share of noise"},
    {"--order", "order", "N", "edm_lms: steps that are looked back"},
    {"--color-fix", "color_fix", "wavelet|adain|none", "How the colours of stage one are kept"},
    {"--cldm-tile-size", "cldm_tile_size", "N", "Denoise in tiles of so many pixels, a multiple of 64; 0: whole"},
    {"--cldm-tile-stride", "cldm_tile_stride", "N", "From tile to tile; 0: half a tile"},
    {"--vae-encoder-tile-size", "vae_encoder_tile_size", "N",
     "Encode in tiles of so many pixels as the reference does, an approximation; 0: whole"},
    {"--vae-decoder-tile-size", "vae_decoder_tile_size", "N", "... and decode so"},
    {"--g-loss", "guidance.loss", "none|mse|w_mse",
     "Restoration guidance: distance to stage one's picture; w_mse: in flat areas"},
    {"--g-scale", "guidance.scale", "X", "... its strength"},
    {"--g-start", "guidance.start", "T", "... at times below this"},
    {"--g-stop", "guidance.stop", "T", "... and above this"},
    {"--g-space", "guidance.space", "rgb|latent", "... where the distance is taken"},
    {"--g-repeat", "guidance.repeat", "N", "... moves in each step"},
};

// With the reference's spelling beside ours.
std::string both_spellings(const std::string& flag) {
  std::string other = flag;
  std::replace(other.begin() + 2, other.end(), '-', '_');
  return other == flag ? flag : flag + "," + other;
}

// A published file in the folder, whatever its format; empty where there is none.
fs::path file_in(const fs::path& folder, const std::string& name) {
  for (const char* ending : {".safetensors", ".ckpt", ".pth", ".pt", ".h5"})
    if (const fs::path file = folder / (name + ending); fs::exists(file)) return file;
  return {};
}

}  // namespace

struct StageTwoArguments::Values {
  std::string version, task = "sr", preset;
  fs::path models, prior, control, train_cfg, ckpt, landmarks, face_checkpoint, merges, save_stages, prompts;
  std::string prompt;
  std::vector<std::string> overrides;  // of the preset
  StageTwoRun run;
  CLI::App* command = nullptr;

  fs::path found(const fs::path& given_file, const std::string& published, const char* flag, const char* what) const {
    if (!given_file.empty()) return given_file;
    if (published.empty()) return {};
    RELUME_CHECK(!models.empty(), "stage two needs ", what, ": name its file with ", flag, ", or the folder that holds ",
                 published, " (.safetensors, .ckpt, .pth, .pt or .h5) with --models");
    const fs::path file = file_in(models, published);
    RELUME_CHECK(!file.empty(), models.string(), ": holds no ", published,
                 " (.safetensors, .ckpt, .pth, .pt or .h5), which is ", what,
                 " of this preset; put it there, or name another file with ", flag);
    return file;
  }

  // The networks of a preset.
  void take_published(StageTwoRun& stage_two, RestoreOptions& options) const {
    const PublishedFiles& published = stage_two.config.files;
    stage_two.files.prior = found(prior, published.prior, "--prior", "Stable Diffusion's networks");
    RELUME_CHECK(!stage_two.files.prior.empty(),
                 "the preset names no prior; name the file of Stable Diffusion's networks with --prior");
    if (control != "none") stage_two.files.control = found(control, published.control, "--control", "the control network");
    if (options.weights.empty() && !published.cleaner.empty() && !models.empty())
      options.weights = found({}, published.cleaner, "--checkpoint", "the network of stage one");
  }

  // Those of a training.
  void take_trained(StageTwoRun& stage_two, RestoreOptions& options) const {
    RELUME_CHECK(!train_cfg.empty() && !ckpt.empty(),
                 "--version custom needs --train-cfg, the training's configuration, and --ckpt, the control network it made");
    RELUME_CHECK(control.empty(), "--ckpt and --control both name the control network; leave --control out");
    const ReferenceTraining training = read_reference_training(train_cfg);
    StageTwoConfig& config = stage_two.config;
    config.files = {.face_cleaner = config.files.face_cleaner};
    config.networks = training.networks;
    config.diffusion = training.diffusion;
    config.validate();
    stage_two.files = {.prior = prior.empty() ? training.prior : prior, .control = ckpt};
    RELUME_CHECK(!stage_two.files.prior.empty(), train_cfg.string(),
                 ": its train.sd_path is empty; name the file of Stable Diffusion's networks with --prior");
    if (!options.weights.empty()) return;
    RELUME_CHECK(
        !training.cleaner_weights.empty(), train_cfg.string(),
        ": its train.swinir_path is empty; name the network of stage one with --checkpoint, or give --checkpoint none");
    options.weights = training.cleaner_weights, options.config = training.cleaner;
  }

  FaceOptions face_options(const std::string& published) const {
    FaceOptions faces{.landmarks = landmarks, .save = save_stages};
    faces.without_cleaner = face_checkpoint == "none";
    if (faces.without_cleaner) return faces;
    faces.weights = found(face_checkpoint, published, "--face-checkpoint", "the faces' network of stage one");
    RELUME_CHECK(!faces.weights.empty(),
                 "the preset names no network of stage one for faces; name its file with "
                 "--face-checkpoint, or give --face-checkpoint none");
    return faces;
  }

  // Of all flags but those that name networks. The reference's newest code has the defaults of v2.1 for every version.
  std::string preset_name() const {
    if (!preset.empty()) return preset;
    return (version == "custom" ? "v2.1" : version) + "-" + task;
  }
};

StageTwoConfig preset_named(const std::string& name_or_file, const std::vector<std::string>& overrides) {
  return read_config<StageTwoConfig>(config_file("preset", "infer", name_or_file), overrides);
}

StageTwoArguments::StageTwoArguments(CLI::App& command) : values_(std::make_unique<Values>()) {
  Values& v = *values_;
  v.command = &command;
  command
      .add_option("--version", v.version,
                  "Restore with stage two: the published version of DiffBIR, or 'custom', of a training of one's own")
      ->check(CLI::IsMember({"v1", "v2", "v2.1", "custom"}))
      ->group(option_group);
  command
      .add_option("--task", v.task,
                  "What the pictures are: with --version it chooses the preset, configs/infer/VERSION-TASK.yaml; with "
                  "unaligned_face, faces are restored apart")
      ->check(CLI::IsMember({"sr", "face", "denoise", "unaligned_face"}))
      ->capture_default_str()
      ->group(option_group);
  command.add_option("--preset", v.preset, "Restore with stage two as this preset or file says")
      ->type_name("NAME|FILE")
      ->group(option_group);
  const auto add = [&](const std::string& flags, auto& value, const char* type, const char* help) {
    return command.add_option(flags, value, help)->type_name(type)->group(option_group);
  };
  add("--models", v.models, "DIR", "Folder of the published files, under their published names")->envname("RELUME_MODELS");
  add("--prior", v.prior, "FILE", "Stable Diffusion 2.1, or the full file of DiffBIR v1, in place of the preset's");
  add("--control", v.control, "FILE", "IRControlNet, in place of the preset's; 'none': the prior's file holds it");
  add("--train-cfg,--train_cfg", v.train_cfg, "FILE",
      "With --version custom: the training's configuration, as the reference has it, for networks and schedule");
  add("--ckpt", v.ckpt, "FILE", "With --version custom: the control network that was trained");
  add("--landmarks", v.landmarks, "PATH",
      "With --task unaligned_face: where the faces lie, a table (CSV: file_name, x1, y1, ..., x5, y5) or a folder of text "
      "files");
  add("--face-checkpoint", v.face_checkpoint, "FILE|none", "... and their network of stage one, in place of the preset's");
  add("--prompt", v.prompt, "TEXT", "What is to be seen in the pictures");
  add("--prompts", v.prompts, "PATH",
      "What is to be seen in each: a folder of text files, or a table (CSV: file_name, pos_prompt)");
  add("--merges", v.merges, "FILE", "The tokenizer's file, bpe_simple_vocab_16e6.txt.gz, in place of the installed one");
  add("--seed", v.run.seed, "N", "Of the noise of every picture")->capture_default_str();
  add("--samples,--n-samples,--n_samples", v.run.samples, "N", "Results of each picture, a_0.png, a_1.png, ...")
      ->check(CLI::Range(int64_t(1), int64_t(10000)))
      ->capture_default_str();
  add("--save-stages", v.save_stages, "DIR", "Write what is made on the way: stage one's picture, the condition decoded");
  add("--save-every", v.run.save_every, "N", "... and the picture expected after every N-th step")
      ->check(CLI::Range(int64_t(1), int64_t(1000)));
  for (const ConfigFlag& f : config_flags)
    command
        .add_option_function<std::string>(
            both_spellings(f.flag),
            [&v, f](const std::string& text) { v.overrides.push_back(std::string(f.key) + "=" + text); }, f.help)
        ->type_name(f.type)
        ->group(option_group);
  const auto add_switch = [&](const std::string& flag, const char* key, const char* help) {
    command
        .add_flag_function(
            both_spellings(flag), [&v, key](int64_t) { v.overrides.push_back(std::string(key) + "=true"); }, help)
        ->group(option_group);
  };
  add_switch("--rescale-cfg", "rescale_cfg", "The guidance grows from 1 at the first step to its full scale");
  add_switch("--exact-reference", "exact_reference", "Repeat a defect of the reference (docs/reference-differences.md)");
}

StageTwoArguments::~StageTwoArguments() = default;

void StageTwoArguments::apply(RestoreOptions& options) const {
  Values& v = *values_;
  if (v.version.empty() && v.preset.empty()) {
    for (const CLI::Option* option : v.command->get_options())
      RELUME_CHECK(option->get_group() != option_group || option->count() == 0, option->get_name(),
                   " is for stage two; give --version (v1, v2, v2.1, custom) or --preset too");
    return;
  }
  RELUME_CHECK(v.version.empty() || v.preset.empty(), "--version and --preset both choose a preset; leave one of them out");
  StageTwoRun run = v.run;
  const bool custom = v.version == "custom", faces = v.task == "unaligned_face";
  RELUME_CHECK(faces || (v.landmarks.empty() && v.face_checkpoint.empty()),
               "--landmarks and --face-checkpoint go with --task unaligned_face");
  RELUME_CHECK(!faces || v.version != "v1",
               "--task unaligned_face is not for v1, which was published without it; take v2 or v2.1");
  RELUME_CHECK(!faces || !v.landmarks.empty(),
               "--task unaligned_face needs --landmarks, for there is no detector of faces here: a CSV file with the columns "
               "file_name,x1,y1,...,x5,y5 (eyes, nose, corners of the mouth, pixels of the picture), a face a row, or a folder "
               "of text files with ten such numbers a line");
  RELUME_CHECK(custom || (v.train_cfg.empty() && v.ckpt.empty()), "--train-cfg and --ckpt go with --version custom");
  run.config = preset_named(v.preset_name(), v.overrides);
  if (custom)
    v.take_trained(run, options);
  else
    v.take_published(run, options);
  if (faces) options.faces = v.face_options(run.config.files.face_cleaner);
  if (options.weights == "none") options.weights.clear(), options.without_cleaner = true;
  run.merges = v.merges.empty() ? source_folder() / "weights/clip/bpe_simple_vocab_16e6.txt.gz" : v.merges;
  RELUME_CHECK(v.prompt.empty() || v.prompts.empty(),
               "--prompt and --prompts both say what is to be seen; leave one of them out");
  if (!v.prompt.empty()) run.prompts = Prompts::of_all(v.prompt);
  if (!v.prompts.empty()) run.prompts = Prompts::from(v.prompts);
  run.save_stages = v.save_stages;
  RELUME_CHECK(run.save_every == 0 || !run.save_stages.empty(), "--save-every says nothing without --save-stages");
  if (options.upscale == 0) options.upscale = run.config.upscale;
  options.stage_two = std::move(run);
}

}  // namespace relume
