#include "infer/restore.h"

#include <fmt/format.h>

#include <vector>

#include "autograd/resample.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "data/checkpoint/safetensors.h"
#include "data/convert.h"
#include "data/image.h"

namespace relume {

namespace {

using Path = std::filesystem::path;

SwinIRConfig config_of(const SafetensorsFile& file, const Path& config) {
  if (!config.empty()) return read_config<SwinIRConfig>(config);
  const auto stored = file.metadata().find("relume.swinir");
  if (stored == file.metadata().end()) return {};
  return read_config_text<SwinIRConfig>(stored->second, file.where() + " (stored configuration)");
}

struct Job {
  Path from, to;
};

std::vector<Job> jobs_of(const RestoreOptions& o) {
  namespace fs = std::filesystem;
  RELUME_CHECK(fs::exists(o.input), o.input.string(), ": no such file or folder");
  if (!fs::is_directory(o.input)) {
    if (fs::is_directory(o.output)) return {{o.input, o.output / o.input.stem().concat(".png")}};
    check_writable_extension(o.output);
    return {{o.input, o.output}};
  }
  RELUME_CHECK(!fs::exists(o.output) || fs::is_directory(o.output), o.output.string(),
               ": is a file; a folder of pictures needs a folder");
  std::vector<Job> jobs;
  for (const Path& from : list_files(o.input, image_extensions(), true))
    jobs.push_back({from, (o.output / fs::relative(from, o.input)).replace_extension(".png")});
  RELUME_CHECK(!jobs.empty(), o.input.string(), ": holds no picture (.jpg, .jpeg, .png)");
  for (size_t i = 1; i < jobs.size(); ++i)
    RELUME_CHECK(jobs[i].to != jobs[i - 1].to, jobs[i - 1].from.string(), " and ", jobs[i].from.string(), " would both become ",
                 jobs[i].to.string(), "; rename one of them");
  return jobs;
}

}  // namespace

std::unique_ptr<SwinIR> load_swinir(const Path& weights, const Path& config) {
  const SafetensorsFile file(weights);
  auto network = std::make_unique<SwinIR>(config_of(file, config));
  load_strict(*network, file);
  return network;
}

Tensor restore_picture(const SwinIR& network, const Tensor& picture) {
  const NoGrad no_grad;
  const int64_t height = picture.shape(0), width = picture.shape(1), multiple = network.padding_multiple(),
                s = network.output_scale();
  const auto missing = [&](int64_t size) { return (multiple - size % multiple) % multiple; };
  const Tensor x = to_float(picture).reshape({1, height, width, picture.shape(2)});
  const Tensor y = network(pad(x, 0, 0, missing(height), missing(width), Border::zero));
  const Tensor whole = pad(y, 0, 0, height * s - y.shape(1), width * s - y.shape(2), Border::zero);
  return whole.reshape({height * s, width * s, whole.shape(3)});
}

int64_t restore_files(const RestoreOptions& options) {
  const std::vector<Job> jobs = jobs_of(options);
  for (const Job& job : jobs)
    RELUME_CHECK(options.overwrite || !std::filesystem::exists(job.to), job.to.string(),
                 ": exists already; give --overwrite to replace it");
  const auto network = load_swinir(options.weights, options.config);
  Progress progress("picture", int64_t(jobs.size()));
  std::string failures;
  int64_t done = 0, failed = 0;
  for (const Job& job : jobs) {
    throw_if_interrupted();
    try {
      const Tensor restored = restore_picture(*network, read_image(job.from));
      if (job.to.has_parent_path()) make_folder(job.to.parent_path());
      write_image(job.to, to_u8_truncated(restored));
    } catch (const InputError& e) {
      if (jobs.size() == 1) throw;
      failures += std::string("\n  ") + e.what();
      ++failed;
    }
    progress.update(++done, job.from.filename().string());
  }
  RELUME_CHECK(failed == 0, failed, " of ", jobs.size(), " pictures could not be restored:", failures);
  return done;
}

}  // namespace relume
