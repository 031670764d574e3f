#include "train/stage1.h"

#include <optional>

#include "autograd/reduce.h"
#include "base/version.h"
#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/safetensors.h"
#include "data/convert.h"
#include "data/metrics/niqe.h"
#include "data/metrics/similarity.h"
#include "layers/drop_path.h"
#include "layers/precision.h"
#include "tensor/kernels/memory.h"
#include "train/stage1_data.h"

namespace relume {

namespace {

using Path = std::filesystem::path;

Tensor restored(const SwinIR& network, const Tensor& lq) {  // [H, W, 3] on the CPU
  const NoGrad no_grad;
  const Shape& s = lq.shape();
  return network(lq.reshape({1, s[0], s[1], s[2]}).to(network.device())).reshape(s).to(Device{});
}

class Stage1Task : public TrainingTask {
 public:
  Stage1Task(const Stage1Config& config, Device device)
      : config_(config),
        precision_(precision_of("train.precision", config.train.precision, device)),
        products_(precision_.products),
        validation_(validation_pairs(config)),
        network_(config.model, device),
        uploads_(kernels::uploads.on(device)(device)) {
    if (config.weights.empty())
      network_.initialise(uint64_t(config.seed));
    else
      load_strict(network_, *open_checkpoint(config.weights).tensors);
    network_.set_compute_type(precision_.type);
    network_.set_activation_checkpointing(config.train.activation_checkpointing);
  }

  std::string kind() const override { return "stage1"; }
  std::string config_yaml() const override { return to_yaml(config_, true); }
  Module& network() override { return network_; }

  std::vector<Difference> changes_since(const std::string& saved_yaml) const override {
    const auto saved = read_config_text<Stage1Config>(saved_yaml, "the configuration in the state");
    std::vector<Difference> changes;
    std::string fixed;
    for (const Difference& d : differences(saved, config_)) {
      const bool is_fixed = (d.key.starts_with("model.") && d.key != "model.drop_path_rate") || d.key == "seed" ||
                            d.key == "train.batch_size" || d.key == "data.pair_pool" || d.key == "data.shared_draws";
      if (is_fixed)
        fixed += "\n  " + d.key + " is " + d.after + ", the state was trained with " + d.before;
      else if (d.key != "overwrite" && d.key != "output")
        changes.push_back(d);
    }
    RELUME_CHECK(fixed.empty(), "a training cannot be resumed under these settings; take the old ones, or train anew", fixed);
    return changes;
  }

  void begin(int64_t position, const StateFile* state) override { batches_.emplace(config_, position, state); }
  void save(StateContents& state) const override { batches_->save(state); }

  std::vector<BadPicture> next_batch() override {
    batch_ = batches_->next();
    return batches_->take_replaced();
  }
  double last_wait_seconds() const override { return batches_->last_wait_seconds(); }

  PartLoss add_gradients(int64_t position, int64_t part, int64_t parts) override {
    if (part == 0) begin_upload(part, parts);
    const std::vector<Tensor> pairs = uploads_->take();
    if (part + 1 < parts) begin_upload(part + 1, parts);  // behind what is computed now
    network_.set_training(true);
    const DropPathDraws draws{
        .seed = uint64_t(config_.seed), .step = uint32_t(position), .first_sample = uint32_t(part * samples_of_part(parts))};
    network_.set_drop_path([draws, device = network_.device()](int branch, double probability, int64_t n) {
      return drop_path_scale(draws, branch, probability, n, device);
    });
    const Tensor loss = sum_squared_error(network_(pairs[0]), pairs[1]);
    backward(loss);
    network_.set_training(false);
    return {loss.detach(), batch_.gt.numel()};  // per element: comparable between batch and picture sizes
  }

  NamedTensors batch() const override { return {{"lq", batch_.lq}, {"gt", batch_.gt}}; }

  // Means over the held-out pictures: PSNR and SSIM against the truth, NIQE of the pictures that are large enough for it.
  std::vector<Score> validate() override {
    double psnr_sum = 0, ssim_sum = 0, niqe_sum = 0;
    int64_t niqe_count = 0;
    for (const Degraded& pair : validation_) {
      const Tensor picture = restored(network_, pair.lq);
      psnr_sum += psnr(picture, pair.gt);
      ssim_sum += ssim(picture, pair.gt);
      const std::optional<double> natural = niqe(to_u8_rounded(picture));
      if (natural) niqe_sum += *natural, ++niqe_count;
    }
    if (validation_.empty()) return {};
    const double count = double(validation_.size());
    std::vector<Score> scores{{"psnr", psnr_sum / count}, {"ssim", ssim_sum / count}};
    if (niqe_count > 0) scores.push_back({"niqe", niqe_sum / double(niqe_count)});
    return scores;
  }

  std::vector<std::pair<std::string, Tensor>> pictures() override {
    const int64_t n = std::min<int64_t>(12, batch_.lq.shape(0));
    const Tensor lq = batch_.lq.slice(0, n), out = empty_like(lq);
    for (int64_t i = 0; i < n; ++i) {
      const Tensor one = lq.slice(i, i + 1), to = out.slice(i, i + 1);
      to.copy_from(restored(network_, one.reshape({one.shape(1), one.shape(2), 3})).reshape(one.shape()));
    }
    return {{"lq", lq}, {"restored", out}, {"gt", batch_.gt.slice(0, n)}};
  }

  void save_weights(const Path& path, int64_t step, bool averaged) const override {
    save_swinir(network_, step, path, averaged);
  }

 private:
  int64_t samples_of_part(int64_t parts) const { return config_.train.batch_size / parts; }
  void begin_upload(int64_t part, int64_t parts) {
    const int64_t samples = samples_of_part(parts), first = part * samples;
    uploads_->begin({batch_.lq.slice(first, first + samples), batch_.gt.slice(first, first + samples)});
  }

  Stage1Config config_;
  Precision precision_;
  FloatProductsScope products_;  // as long as this thread trains
  std::vector<Degraded> validation_;
  SwinIR network_;
  std::unique_ptr<Uploads> uploads_;
  std::optional<Stage1Batches> batches_;
  Batch batch_;
};

}  // namespace

void save_swinir(const SwinIR& network, int64_t step, const Path& path, bool averaged) {
  NamedTensors entries;
  for (const NamedTensor& t : stored_state(network)) entries.emplace_back(t.name, t.tensor);
  write_safetensors(path, entries,
                    {{"format", "pt"},
                     {"relume.swinir", to_yaml(network.config())},
                     {"relume.step", std::to_string(step)},
                     {"relume.weights", averaged ? "ema" : "raw"},
                     {"relume.version", version_number()}});
}

TrainingResult train_stage1(const Stage1Config& config, const std::string& resume, Device device) {
  config.validate();
  config.train.validate();
  Stage1Task task(config, device);
  try {
    return run_training(task, config.train, {config.output, config.overwrite, resume});
  } catch (OutOfMemory& e) {
    e.add_context("in a training: raise train.accumulate, set train.activation_checkpointing=true, or lower train.batch_size");
    throw;
  }
}

}  // namespace relume
