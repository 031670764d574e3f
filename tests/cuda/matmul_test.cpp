// Products on a CUDA device: algorithms are asked for once, results may lie where the residual was, no rows, types.
#include "tensor/kernels/matmul.h"

#include <gtest/gtest.h>

#include "tensor/cuda/cublaslt.h"
#include "tests/cuda/runs.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

class CudaMatmul : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

Tensor device_numbers(const Shape& shape, uint64_t seed, DType type = DType::f32) {
  return uniform(shape, seed).to(type).to(cuda_device);
}

// How many heuristics x w^T asks for.
int64_t asked_for(const Tensor& x, const Tensor& w, const Tensor& bias = {}) {
  const int64_t before = cuda::heuristics_asked();
  const Tensor y = Tensor::empty({x.rows(), w.shape(0)}, x.dtype(), cuda_device);
  kernels::linear_forward.on(cuda_device)(y, x, w, bias, {}, {});
  return cuda::heuristics_asked() - before;
}

TEST_F(CudaMatmul, AsksForAnAlgorithmOnceForEveryKindOfProduct) {
  const Tensor x = device_numbers({41, 24}, 1), w = device_numbers({19, 24}, 2), bias = device_numbers({19}, 3);
  EXPECT_EQ(asked_for(x, w), 1);
  EXPECT_EQ(asked_for(x, w), 0);
  EXPECT_EQ(asked_for(device_numbers({41, 24}, 4), w), 0) << "other numbers";
  EXPECT_EQ(asked_for(x, w, bias), 1) << "a bias";
  EXPECT_EQ(asked_for(x.slice(0, 40), w), 1) << "other sizes";
  EXPECT_EQ(asked_for(device_numbers({41, 32}, 5).columns(0, 24), w), 1) << "another pitch";
  EXPECT_EQ(asked_for(device_numbers({41, 32}, 5).columns(1, 25), w), 1) << "another alignment";
  EXPECT_EQ(asked_for(x.to(DType::bf16), w.to(DType::bf16)), 1) << "another type";
  EXPECT_EQ(asked_for(x.to(DType::bf16), w.to(DType::bf16)), 0);
}

TEST_F(CudaMatmul, TheResultMayLieWhereTheResidualWas) {
  const Tensor x = uniform({6, 7}, 1), w = uniform({16, 7}, 2), bias = uniform({16}, 3), residual = uniform({6, 16}, 4);
  for (const Activation act : {Activation{}, gelu_activation})
    for (const DType type : {DType::f32, DType::bf16}) {
      const auto on = [&](Device device) {
        const auto moved = [&](const Tensor& t) { return t.to(type).to(device); };
        const Tensor y = moved(residual).clone();
        kernels::linear_forward.on(device)(y, moved(x), moved(w), moved(bias), {}, {.act = act, .residual = y});
        return y.to(Device{});
      };
      const Tensor expected = on({});
      for_each_run([&](const std::string& run) {
        EXPECT_LE(relative_l2(on(cuda_device), expected), type == DType::f32 ? 1e-6 : 1e-3) << type << ", " << run;
      });
    }
}

TEST_F(CudaMatmul, SixteenBitGradientsAgreeWithTheCpu) {
  const Shape shape{2, 3, 24};
  const auto on = [&](Device device, DType type) {
    const auto numbers = [&](const Shape& s, uint64_t seed) { return uniform(s, seed).to(type).to(device); };
    const auto empty = [&](const Shape& s) { return Tensor::empty(s, type, device); };
    const Tensor x = numbers(shape, 1), y = empty(shape), dy = numbers(shape, 2);
    const kernels::ResidualMlp mlp{{numbers({24}, 3), numbers({24}, 4), 1e-5, Tensor::empty({6, 2}, DType::f32, device)},
                                   numbers({40, 24}, 5),
                                   numbers({40}, 6),
                                   numbers({24, 40}, 7),
                                   numbers({24}, 8),
                                   gelu_activation,
                                   empty({2, 3, 40}),
                                   Tensor::of<float>({2}, {1, 0.5}).to(device)};
    kernels::residual_mlp_forward.on(device)(y, x, mlp);
    const kernels::ResidualMlpGradients g{empty(shape), empty({24}),     empty({24}), empty({40, 24}),
                                          empty({40}),  empty({24, 40}), empty({24})};
    kernels::residual_mlp_backward.on(device)(g, dy, x, mlp);
    std::vector<Tensor> all{y, g.dx, g.dnorm_weight, g.dnorm_bias, g.dw1, g.db1, g.dw2, g.db2};
    for (Tensor& t : all) t = t.to(Device{});
    return all;
  };
  for (const auto& [type, tolerance] : {std::pair{DType::bf16, 0.012}, std::pair{DType::f16, 0.0015}}) {
    const std::vector<Tensor> expected = on({}, type), found = on(cuda_device, type);
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_LE(relative_l2(found[i], expected[i]), tolerance) << type << ", " << i;
  }
}

TEST_F(CudaMatmul, GradientsOfNoRowsAreZero) {
  const Tensor x = Tensor::empty({0, 5}, DType::f32, cuda_device), dy = Tensor::empty({0, 3}, DType::f32, cuda_device);
  const Tensor w = device_numbers({3, 5}, 1), dw = Tensor::full({3, 5}, 7, DType::f32, cuda_device),
               db = Tensor::full({3}, 7, DType::f32, cuda_device);
  kernels::linear_backward.on(cuda_device)({.dx = empty_like(x), .dw = dw, .db = db}, dy, x, w, {}, {});
  EXPECT_EQ(relative_l2(dw.to(Device{}), Tensor::zeros({3, 5})), 0);
  EXPECT_EQ(relative_l2(db.to(Device{}), Tensor::zeros({3})), 0);
}

TEST_F(CudaMatmul, RefusesDoublePrecision) {
  const Tensor x = Tensor::zeros({2, 3}, DType::f64, cuda_device), w = Tensor::zeros({4, 3}, DType::f64, cuda_device);
  EXPECT_HAS(input_error([&] { asked_for(x, w); }),
             "linear_forward: on cuda:0 expects f32, f16 or bf16, got f64 cuda:0 [2, 3]");
}

}  // namespace
}  // namespace relume::test
