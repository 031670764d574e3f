// relume init: networks with random weights, in the layout of published files.
#include <CLI/CLI.hpp>

#include <functional>
#include <iostream>
#include <map>
#include <memory>

#include "base/interrupt.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/presets.h"
#include "cli/stage_two_options.h"
#include "data/checkpoint/checkpoint_writer.h"
#include "data/checkpoint/listed_source.h"
#include "layers/init.h"
#include "models/swinir.h"

namespace relume {

namespace {

struct InitArguments {
  std::string model = "v2.1", dtype = "f32";
  std::filesystem::path to;
  uint64_t seed = 231;
  bool overwrite = false;
  std::vector<std::string> overrides;
};

// Networks under prefixes, of which one is in memory at a time: they are made when their tensors are asked for.
class MadeSource : public ListedSource {
 public:
  using Make = std::function<std::unique_ptr<Module>()>;

  explicit MadeSource(uint64_t seed) : ListedSource("random networks"), seed_(seed) {}

  void add(const std::string& prefix, Make make) {
    const std::unique_ptr<Module> network = make();
    for (const NamedTensor& t : network->parameters()) {
      list({prefix + t.name, t.tensor.dtype(), stored_shape(t.tensor.shape(), t.stored_as)});
      part_of_.push_back(parts_.size());
    }
    parts_.push_back({prefix, std::move(make)});
  }

 protected:
  Tensor read_at(size_t index) const override {
    throw_if_interrupted();
    if (made_ != part_of_[index]) make_part(part_of_[index]);
    const NamedTensor& t = state_.at(tensors()[index].name);
    return to_stored(t.tensor, t.stored_as);
  }

 private:
  struct Part {
    std::string prefix;
    Make make;
  };

  // No layer is zero, as some are before a training: it would hide what lies behind it. Norms keep activations in range.
  void make_part(size_t index) const {
    state_.clear();
    const Part& part = parts_[index];
    const std::unique_ptr<Module> network = part.make();
    init_parameters(*network, seed_);
    for (const NamedTensor& t : network->parameters()) state_.emplace(part.prefix + t.name, t);
    made_ = index;
  }

  uint64_t seed_;
  std::vector<Part> parts_;
  std::vector<size_t> part_of_;  // each tensor
  mutable size_t made_ = SIZE_MAX;
  mutable std::map<std::string, NamedTensor> state_;  // of the part that was made last
};

// The published SwinIR of stage one (spec/diffbir.md 2.1).
SwinIRConfig published_stage_one() {
  return read_config_section<SwinIRConfig>(detail::read_config_file(source_folder() / "configs/train/stage1_v2.1.yaml"),
                                           "configs/train/stage1_v2.1.yaml", "model");
}

void run(const InitArguments& a) {
  RELUME_CHECK(a.overwrite || !std::filesystem::exists(a.to), a.to.string(),
               ": exists already; give --overwrite to replace it");
  const StageTwoConfig config = preset_named(a.model + "-sr", a.overrides);
  const ControlLdmConfig& c = config.networks;
  MadeSource networks(a.seed);
  networks.add("model.diffusion_model.", [&c] { return std::make_unique<UNet>(c.control.unet); });
  networks.add("first_stage_model.", [&c] { return std::make_unique<AutoencoderKL>(c.vae); });
  networks.add("cond_stage_model.model.", [&c] { return std::make_unique<ClipText>(nullptr, "", c.text); });
  networks.add("control_model.", [&c] { return std::make_unique<ControlNet>(c.control); });
  networks.add("preprocess_model.", [] { return std::make_unique<SwinIR>(published_stage_one()); });
  CheckpointWriteOptions options;
  options.floats = a.dtype == "f32" ? DType::f32 : a.dtype == "f16" ? DType::f16 : DType::bf16;
  write_checkpoint(a.to, networks, {{"format", "pt"}}, options);
  int64_t numbers = 0;
  for (const TensorInfo& t : networks.tensors()) numbers += t.shape.numel();
  std::cout << networks.tensors().size() << " tensors, " << grouped(numbers) << " random numbers, written to " << a.to.string()
            << " (" << human_bytes(double(std::filesystem::file_size(a.to))) << ")" << std::endl;
}

}  // namespace

void add_init(CLI::App& app) {
  CLI::App* command = app.add_subcommand("init", "Write the networks of a version with random weights, to try the whole path");
  const auto a = std::make_shared<InitArguments>();
  command->add_option("output", a->to, "File for all of them: .safetensors; .pth, .pt, .ckpt; .h5, .hdf5")
      ->required()
      ->type_name("OUT");
  command->add_option("overrides", a->overrides, "Keys of the preset: networks.vae.ch=32 ...")->type_name("key=value");
  command->add_option("--model", a->model, "Version whose networks they are")
      ->check(CLI::IsMember({"v1", "v2", "v2.1"}))
      ->capture_default_str();
  command->add_option("--seed", a->seed, "Of the weights")->capture_default_str();
  command->add_option("--dtype", a->dtype, "Type of the numbers")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->capture_default_str();
  command->add_flag("--overwrite", a->overwrite, "Replace a file that exists already");
  command->footer(
      "The file has the layout of DiffBIR v1's full one: U-Net, autoencoder, text encoder, control network and SwinIR.\n"
      "Example: relume init random.safetensors --model v2.1 --seed 1\n"
      "         relume restore photo.jpg out.png --version v2.1 --prior random.safetensors --control none");
  command->callback([a] { run(*a); });
}

}  // namespace relume
