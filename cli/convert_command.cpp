// relume convert: weights from one format into another.
#include <CLI/CLI.hpp>

#include <iostream>
#include <map>
#include <memory>

#include "base/interrupt.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/commands.h"
#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/checkpoint_writer.h"
#include "infer/diffusers_layout.h"
#include "infer/load_control_ldm.h"

namespace relume {

namespace {

struct ConvertArguments {
  std::filesystem::path from, to;
  std::string dtype, weights = "ema", part;
  bool overwrite = false;
};

const std::map<std::string, DType>& float_types() {
  static const std::map<std::string, DType> types{{"f32", DType::f32}, {"f16", DType::f16}, {"bf16", DType::bf16}};
  return types;
}

// Another source, with a line of progress for every tensor read; Ctrl-C ends it between two.
class WatchedSource : public TensorSource {
 public:
  explicit WatchedSource(const TensorSource& source) : source_(source), progress_("tensor", int64_t(source.tensors().size())) {}
  const std::vector<TensorInfo>& tensors() const override { return source_.tensors(); }
  const TensorInfo* find(const std::string& name) const override { return source_.find(name); }
  Tensor read(const std::string& name) const override {
    throw_if_interrupted();
    progress_.update(++read_, printable(name));
    return source_.read(name);
  }
  std::string where() const override { return source_.where(); }

 private:
  const TensorSource& source_;
  mutable Progress progress_;
  mutable int64_t read_ = 0;
};

void run(const ConvertArguments& a) {
  const CheckpointFormat format = checkpoint_format(a.to);
  RELUME_CHECK(a.overwrite || !std::filesystem::exists(a.to), a.to.string(),
               ": exists already; give --overwrite to replace it");
  Checkpoint c =
      is_diffusers_folder(a.from) ? open_networks(a.from) : open_checkpoint(a.from, {.raw_weights = a.weights == "raw"});
  if (!a.part.empty()) c.tensors = part_of(c, a.part);
  for (const std::string& line : c.taken) std::cerr << "taken: " << line << std::endl;
  for (const std::string& line : c.beside) std::cerr << "left: " << line << std::endl;
  // What the readers of others expect of weights of PyTorch.
  if (format == CheckpointFormat::safetensors) c.metadata.emplace("format", "pt");
  CheckpointWriteOptions options;
  if (!a.dtype.empty()) options.floats = float_types().at(a.dtype);
  std::vector<std::string> notes;
  {
    const WatchedSource watched(*c.tensors);
    notes = write_checkpoint(a.to, watched, c.metadata, options);
  }
  for (const std::string& note : notes) std::cerr << "note: " << note << std::endl;
  const auto bytes = double(std::filesystem::file_size(a.to));
  std::cout << c.tensors->tensors().size() << " tensors written to " << a.to.string() << " (" << name_of(format) << ", "
            << human_bytes(bytes) << ")" << std::endl;
}

}  // namespace

void add_convert(CLI::App& app) {
  CLI::App* command = app.add_subcommand("convert", "Write weights in another format");
  const auto a = std::make_shared<ConvertArguments>();
  command
      ->add_option("from", a->from,
                   "Weights: safetensors, PyTorch (.pth, .ckpt), HDF5, a training state, a folder of diffusers")
      ->required()
      ->type_name("A");
  command->add_option("to", a->to, "Its name decides about the format: .safetensors; .pth, .pt, .ckpt; .h5, .hdf5")
      ->required()
      ->type_name("B");
  std::vector<std::string> names;
  for (const auto& [name, type] : float_types()) names.push_back(name);
  command->add_option("--dtype", a->dtype, "Convert floating-point tensors to this type; without it they keep theirs")
      ->check(CLI::IsMember(names));
  command->add_option("--weights", a->weights, "Where a file holds an average (EMA) beside the raw weights, which of them")
      ->check(CLI::IsMember({"ema", "raw"}))
      ->capture_default_str();
  std::vector<std::string> parts;
  for (const NetworkParts& p : network_parts()) parts.emplace_back(p.name);
  command
      ->add_option("--part", a->part,
                   "Of a file that holds several networks these alone: stage1; stage2, all of it; prior, without the control "
                   "network; or one of them")
      ->check(CLI::IsMember(parts));
  command->add_flag("--overwrite", a->overwrite, "Replace a file that exists already");
  command->footer(
      "Names and metadata are kept; dicts around the weights (state_dict, params_ema, ...) and the prefix 'module.' are taken "
      "off.\n"
      "Examples: relume convert general_swinir_v1.ckpt stage1.safetensors\n"
      "          relume convert diffbir_v1_full.ckpt stage2.safetensors --part stage2 --dtype f16\n"
      "          relume convert stable-diffusion-2-1-base prior.safetensors\n"
      "          relume convert out/mine/final.safetensors mine.pth --dtype f16");
  command->callback([a] { run(*a); });
}

}  // namespace relume
