// Our side of compare_torch.py degrade: a recipe on one thread, the whole loader, or decoding alone, behind the bench's line
// protocol (the other side is torch_degrade.py).
//
// Standard input takes one word a line and standard output gives one JSON object a line: the facts once the pictures are
// there, `run` -> {"seconds", "value"}, `quit`. The value is the mean squared error of the degraded pictures, or, where files
// are read, how many values there were.
#include "base/version.h"
#include "bench/serve.h"
#include "configs/reader.h"
#include "data/checkpoint/safetensors.h"
#include "data/convert.h"
#include "data/dataset.h"
#include "degrade/recipe.h"
#include "train/stage1_data.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace relume {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Arguments {
  std::string mode = "recipe", recipe, pictures;
  int64_t count = 16, size = 512;
  int threads = 1;
};

double squared_error(const Tensor& a, const Tensor& b) {
  const float *x = a.data<float>(), *y = b.data<float>();
  double sum = 0;
  for (int64_t i = 0, n = a.numel(); i < n; ++i) sum += (double(x[i]) - y[i]) * (double(x[i]) - y[i]);
  return sum / double(a.numel());
}

class Contender {
 public:
  virtual ~Contender() = default;
  virtual Json run() = 0;  // on `count` pictures
};

// From decoded pictures to pairs, one after another.
class RecipeContender : public Contender {
 public:
  explicit RecipeContender(const Arguments& a) : count_(a.count), recipe_(read_config<Recipe>(a.recipe)) {
    const Tensor all = SafetensorsFile(a.pictures).read("pictures").clone();
    for (int64_t i = 0; i < all.shape(0); ++i) pictures_.push_back(all.slice(i, i + 1).reshape({a.size, a.size, 3}));
  }

  Json run() override {
    double seconds = 0, error = 0;
    for (int64_t i = 0; i < count_; ++i, ++done_) {
      const auto start = Clock::now();
      SeededDraws draws({.seed = 231, .purpose = "degrade", .sample = done_});
      const Degraded pair = degrade(to_float(pictures_[done_ % pictures_.size()]), recipe_, draws);
      seconds += since(start);
      error += squared_error(pair.lq, pair.gt) / double(count_);
    }
    return {{"seconds", seconds}, {"value", error}};
  }

 private:
  int64_t count_;
  Recipe recipe_;
  std::vector<Tensor> pictures_;
  uint32_t done_ = 0;
};

// From JPEG files to batches of pairs, as training takes them. Nothing is kept of decoded pictures.
class LoaderContender : public Contender {
 public:
  explicit LoaderContender(const Arguments& a) : count_(a.count), batches_(config(a)) {}

  Json run() override {
    const auto start = Clock::now();
    int64_t values = 0;
    for (int64_t i = 0; i < count_; ++i) values += batches_.next().lq.numel();
    return {{"seconds", since(start)}, {"value", double(values)}};
  }

 private:
  static Stage1Config config(const Arguments& a) {
    Stage1Config c;
    c.data = {.pictures = a.pictures, .crop = "none", .size = a.size, .threads = a.threads, .cache_gb = 0};
    c.degradation = read_config<Recipe>(a.recipe);
    c.train.batch_size = 1;
    return c;
  }
  int64_t count_;
  Stage1Batches batches_;
};

// From JPEG files to pixels: what a loader cannot beat.
class DecodeContender : public Contender {
 public:
  explicit DecodeContender(const Arguments& a)
      : count_(a.count), threads_(a.threads), dataset_(a.pictures, {.cache_bytes = 0}) {}

  Json run() override {
    const auto start = Clock::now();
    std::atomic<int64_t> next{0}, values{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < threads_; ++t)
      threads.emplace_back([&] {
        make_thread_serial();
        for (int64_t i = next++; i < count_; i = next++) values += dataset_.picture(i % dataset_.size()).numel();
      });
    for (std::thread& thread : threads) thread.join();
    return {{"seconds", since(start)}, {"value", double(values)}};
  }

 private:
  int64_t count_;
  int threads_;
  FileDataset dataset_;
};

Arguments parse(CLI::App& app, int argc, char** argv) {
  Arguments a;
  app.add_option("--mode", a.mode)->check(CLI::IsMember({"recipe", "loader", "decode"}));
  app.add_option("--recipe", a.recipe, "YAML file");
  app.add_option("--pictures", a.pictures,
                 "recipe: safetensors file with pictures u8 [N, size, size, 3]; else a folder of JPEG files")
      ->required();
  app.add_option("--size", a.size, "height and width of the pictures")->check(CLI::PositiveNumber);
  app.add_option("--count", a.count, "pictures of a run")->check(CLI::PositiveNumber);
  app.add_option("--threads", a.threads, "of loader and decode")->check(CLI::PositiveNumber);
  app.parse(argc, argv);
  return a;
}

std::unique_ptr<Contender> make(const Arguments& a) {
  if (a.mode == "loader") return std::make_unique<LoaderContender>(a);
  if (a.mode == "decode") return std::make_unique<DecodeContender>(a);
  make_thread_serial();
  return std::make_unique<RecipeContender>(a);
}

void serve(const Arguments& arguments) {
  const std::unique_ptr<Contender> contender = make(arguments);
  serve_lines({{"version", "relume " + version_number()}, {"threads", arguments.threads}}, [&](const std::string& word) {
    RELUME_CHECK(word == "run", "unknown word '", word, "'; expected run or quit");
    return contender->run();
  });
}

}  // namespace
}  // namespace relume

int main(int argc, char** argv) {
  using namespace relume;
  return bench_main("degrade_bench", "Degradation recipes and the loader, timed for compare_torch.py",
                    [&](CLI::App& app) { serve(parse(app, argc, argv)); });
}
