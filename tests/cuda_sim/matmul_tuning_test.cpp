// Tuning of products: the fastest algorithm is found, kept on disk, and found there again, whatever has become of the file.
#include "tensor/cuda/matmul_tuning.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>

#include "base/files.h"
#include "tensor/cuda/cublaslt.h"
#include "tensor/kernels/matmul.h"
#include "tests/cuda/runs.h"
#include "tests/cuda_sim/sim.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class MatmulTuningTest : public testing::Test {
 protected:
  MatmulTuningTest() { cuda::set_matmul_tuning({.candidates = 3, .folder = folder_ / "tuned"}); }
  ~MatmulTuningTest() override { cuda::set_matmul_tuning({}); }

  // How often each algorithm ran for a product; the product is right. Every size is a kind of its own.
  static std::vector<int64_t> runs(int64_t rows, bool onto_residual = false) {
    const Tensor x = uniform({rows, 70}, 1), w = uniform({5, 70}, 2),
                 y = onto_residual ? uniform({rows, 5}, 3) : Tensor::zeros({rows, 5});
    const Tensor expected = product(x, w, y, onto_residual), x_there = x.to(cuda_device), w_there = w.to(cuda_device),
                 y_there = y.to(cuda_device);
    const sim::Counts before = sim::counts();
    cuda::multiply("test", y_there, x_there, cuda::transposed(w_there), {}, onto_residual ? y_there : Tensor());
    std::vector<int64_t> all(std::begin(sim::counts().algorithms), std::end(sim::counts().algorithms));
    for (size_t i = 0; i < all.size(); ++i) all[i] -= before.algorithms[i];
    EXPECT_LT(relative_l2(y_there.to(Device{}), expected), 1e-6);
    return all;
  }
  static Tensor product(const Tensor& x, const Tensor& w, const Tensor& y, bool add) {
    const Tensor out = Tensor::empty(y.shape());
    for (int64_t i = 0; i < y.shape(0); ++i)
      for (int64_t j = 0; j < y.shape(1); ++j) {
        const float *row = x.data<float>() + i * 70, *column = w.data<float>() + j * 70;
        out.data<float>()[i * 5 + j] = std::inner_product(row, row + 70, column, add ? y.data<float>()[i * 5 + j] : 0.f);
      }
    return out;
  }
  fs::path file() const {
    EXPECT_TRUE(fs::exists(folder_ / "tuned"));
    for (const auto& entry : fs::directory_iterator(folder_ / "tuned")) return entry.path();
    return {};
  }
  static int64_t total(const std::vector<int64_t>& counts) { return std::accumulate(counts.begin(), counts.end(), int64_t(0)); }

  TemporaryFolder folder_;
};

constexpr int runs_each = 4;  // of a candidate, the first of them untimed

TEST_F(MatmulTuningTest, FindsTheFastestOnce) {
  EXPECT_EQ(runs(101), (std::vector<int64_t>{runs_each, runs_each, runs_each + 1, 0}));
  EXPECT_EQ(runs(101), (std::vector<int64_t>{0, 0, 1, 0}));
  EXPECT_EQ(total(runs(102)), 3 * runs_each + 1) << "another kind of product";
  EXPECT_EQ(total(runs(103, true)), 3 * runs_each + 1) << "onto what is added: trials must not add";
  const std::string name = file().filename().string();
  EXPECT_HAS(name, "matmul_simulated_GPU_cublas_");
  EXPECT_HAS(name, "_f32.json");
}

TEST_F(MatmulTuningTest, OffItTakesTheFirstChoice) {
  cuda::set_matmul_tuning({});
  EXPECT_EQ(runs(111), (std::vector<int64_t>{1, 0, 0, 0}));
  EXPECT_FALSE(fs::exists(folder_ / "tuned"));
}

TEST_F(MatmulTuningTest, ResultsAreKeptOnDisk) {
  {
    cuda::TunedAlgorithms tuned(folder_ / "there" / "a.json");
    EXPECT_FALSE(tuned.find("p"));
    tuned.keep("p", std::string("\x00\xff\x7f", 3)), tuned.keep("q", "2");
  }
  const cuda::TunedAlgorithms again(folder_ / "there" / "a.json");
  EXPECT_EQ(again.find("p"), std::string("\x00\xff\x7f", 3));
  EXPECT_EQ(again.find("q"), "2");
}

TEST_F(MatmulTuningTest, ADamagedFileIsPassedOverAndReplaced) {
  const fs::path path = folder_ / "a.json";
  for (const char* text :
       {"", "{", "[]", "{\"format\": \"other\", \"algorithms\": {}}", "{\"format\": \"relume matmul algorithms 1\"}",
        "{\"format\": \"relume matmul algorithms 1\", \"algorithms\": {\"p\": \"0g\"}}",
        "{\"format\": \"relume matmul algorithms 1\", \"algorithms\": {\"p\": 7}}"}) {
    write_file_atomically(path, text);
    testing::internal::CaptureStderr();
    cuda::TunedAlgorithms tuned(path);
    EXPECT_HAS(testing::internal::GetCapturedStderr(), "a.json: passed over, products are timed again: ");
    EXPECT_FALSE(tuned.find("p")) << text;
    tuned.keep("p", "1");
    EXPECT_EQ(cuda::TunedAlgorithms(path).find("p"), "1") << text;
  }
}

TEST_F(MatmulTuningTest, WhereItCannotBeWrittenItSaysSoOnce) {
  write_file_atomically(folder_ / "file", "");
  cuda::TunedAlgorithms tuned(folder_ / "file" / "a.json");
  testing::internal::CaptureStderr();
  tuned.keep("p", "1"), tuned.keep("q", "2");
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(occurrences(said, "cannot be written"), 1) << said;
  EXPECT_EQ(tuned.find("q"), "2");
}

TEST_F(MatmulTuningTest, WhatIsOnDiskIsNotTimedAgain) {
  runs(121);
  cuda::set_matmul_tuning(cuda::matmul_tuning());
  EXPECT_EQ(runs(121), (std::vector<int64_t>{0, 0, 1, 0}));
}

// One of another problem, library or device, or of nothing at all.
TEST_F(MatmulTuningTest, AnAlgorithmThatTheLibraryRefusesIsFoundAnew) {
  runs(131);
  std::string text = read_file(file());
  text.replace(text.rfind("\": \"") + 4, 16, "0123456789abcdef");
  write_file_atomically(file(), text);
  cuda::set_matmul_tuning(cuda::matmul_tuning());
  EXPECT_EQ(total(runs(131)), 3 * runs_each + 1);
  EXPECT_EQ(occurrences(read_file(file()), "0123456789abcdef"), 0);
}

TEST_F(MatmulTuningTest, TheFolderIsTheUsersCache) {
  const char* const kept = std::getenv("XDG_CACHE_HOME");
  const std::string before = kept ? kept : "";
  setenv("XDG_CACHE_HOME", "/somewhere", 1);
  EXPECT_EQ(cuda::default_tuning_folder(), "/somewhere/relume");
  kept ? setenv("XDG_CACHE_HOME", before.c_str(), 1) : unsetenv("XDG_CACHE_HOME");
}

TEST_F(MatmulTuningTest, TheSlotSwitchesItOn) {
  const char* const kept = std::getenv("XDG_CACHE_HOME");
  const std::string before = kept ? kept : "";
  setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1);
  cuda::set_matmul_tuning({});
  EXPECT_EQ(kernels::tune_products.on(cuda_device)(cuda_device), folder_ / "relume");
  EXPECT_GT(total(runs(141)), runs_each) << "more than one algorithm is timed";
  EXPECT_TRUE(fs::exists(folder_ / "relume"));
  kept ? setenv("XDG_CACHE_HOME", before.c_str(), 1) : unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace relume::test
