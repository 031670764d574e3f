// SwinIR in 16 bits on a CUDA device: no more than twice as far from the exact numbers as PyTorch is in the same type
// (tests/fixtures/precision.json, written by measure_precision.py beside it).
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/reduce.h"
#include "base/files.h"
#include "cli/parity/kinds.h"
#include "cli/parity/runner.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

using parity::Case;

struct Outcome {
  Tensor prediction;
  std::vector<Tensor> gradients;  // of all parameters; f32, on the CPU
};

Outcome run(Case& c, Device device, DType type) {
  c.set_device(device);
  const auto network = parity::swinir_of(c, c.config());
  network->set_compute_type(type);
  const auto input = [&](const char* name) { return parity::to_channels_last(c.f32(name)).to(device); };
  const Tensor prediction = (*network)(input("input.lq"));
  backward(sum_squared_error(prediction, input("input.gt")));
  Outcome found{.prediction = prediction.detach().to(Device{}), .gradients = {}};
  for (const NamedTensor& p : network->parameters()) found.gradients.push_back(grad(p.tensor).to(Device{}));
  return found;
}

// Relative L2 error of all gradients together.
double error_of(const std::vector<Tensor>& found, const std::vector<Tensor>& exact) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < exact.size(); ++i)
    for (int64_t k = 0; k < exact[i].numel(); ++k) {
      const double e = exact[i].data<float>()[k];
      error += std::pow(double(found[i].data<float>()[k]) - e, 2), norm += e * e;
    }
  return std::sqrt(error / norm);
}

TEST(CudaPrecision, SixteenBitsAreAsGoodAsPyTorch) {
  if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  const std::filesystem::path fixtures = source_folder() / "tests/fixtures";
  const auto measured = parity::Json::parse(read_file(fixtures / "precision.json"))["cases"];
  int seen = 0;
  for (Case& c : parity::read_manifest(fixtures / "parity")) {
    if (!measured.contains(c.name())) continue;
    ++seen;
    c.load();
    const Outcome exact = run(c, {}, DType::f64);
    for (const auto& [name, type] : {std::pair{"bf16", DType::bf16}, std::pair{"f16", DType::f16}}) {
      const auto& torch = measured[c.name()][name];
      const Outcome found = run(c, cuda_device, type);
      EXPECT_EQ(found.prediction.dtype(), DType::f32);
      EXPECT_LE(relative_l2(found.prediction, exact.prediction), 2 * torch["prediction"].get<double>())
          << c.name() << " " << name;
      EXPECT_LE(error_of(found.gradients, exact.gradients), 2 * torch["gradients"].get<double>()) << c.name() << " " << name;
    }
  }
  EXPECT_EQ(seen, int(measured.size()));
}

}  // namespace
}  // namespace relume::test
