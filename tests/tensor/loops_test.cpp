// What holds for all CPU kernels alike: the number of threads changes no bit, pitched rows give what dense ones give, 16-bit
// tensors give the rounded f32 result.
#include "tensor/cpu/loops.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "tensor/kernels/all.h"

namespace relume {
namespace {

using kernels::Border;

Tensor random(const Shape& shape, const char* purpose, DType type = DType::f32) {
  const Tensor t = Tensor::empty(shape);
  kernels::fill_normal.on({})(t, 0, 1, {.seed = 5, .purpose = purpose});
  return t.to(type);
}

std::vector<char> bytes(const Tensor& t) {
  const Tensor dense = t.contiguous();
  const char* data = static_cast<const char*>(dense.raw());
  return {data, data + dense.numel() * size_of(dense.dtype())};
}

struct ThreadCount {  // as long as it lives
  explicit ThreadCount(int threads) { omp_set_num_threads(threads); }
  ~ThreadCount() { omp_set_num_threads(before); }
  int before = omp_get_max_threads();
};

// Runs `f` with 1, 2 and 3 threads and expects equal bits of all it returns.
void expect_same_for_any_threads(const char* name, const std::function<std::vector<Tensor>()>& f) {
  std::vector<std::vector<char>> first;
  for (const int threads : {1, 2, 3}) {
    const ThreadCount scope(threads);
    std::vector<std::vector<char>> results;
    for (const Tensor& t : f()) results.push_back(bytes(t));
    if (threads == 1) first = results;
    EXPECT_TRUE(results == first) << name << " with " << threads << " threads";
  }
}

TEST(Threads, ChangeNoBit) {
  const Tensor x = random({5, 97, 61, 37}, "x"), y = random({5, 97, 61, 37}, "y");
  const Tensor rows = x.reshape({5 * 97 * 61, 37}), weight = random({37}, "w");
  for (const DType type : {DType::f32, DType::bf16}) {
    const Tensor a = x.to(type), b = y.to(type), even = random({5, 96, 60, 37}, "even", type);
    expect_same_for_any_threads("sum", [&] {
      const Tensor s = Tensor::empty({}, DType::f64), e = Tensor::empty({}, DType::f64);
      kernels::sum.on({})(s, a);
      kernels::squared_error.on({})(e, a, b);
      return std::vector{s, e};
    });
    expect_same_for_any_threads("sum_rows", [&] {
      const Tensor one = Tensor::empty({37}, type), many = Tensor::empty({61, 37}, type);
      kernels::sum_rows.on({})(one, a);
      kernels::sum_rows.on({})(many, a);
      return std::vector{one, many};
    });
    expect_same_for_any_threads("resample", [&] {
      const Tensor up = Tensor::empty({5, 48, 30, 37}, type), pad = Tensor::empty({5, 90, 55, 37}, type);
      kernels::upsample_nearest_backward.on({})(up, even, 2);
      kernels::pad_backward.on({})(pad, a, 4, 3, Border::reflect);
      return std::vector{up, pad};
    });
  }
  expect_same_for_any_threads("layer_norm", [&] {
    const Tensor out = empty_like(rows), stats = Tensor::empty({rows.rows(), 2});
    kernels::layer_norm_forward.on({})(out, stats, rows, weight, weight, 1e-5);
    const Tensor dx = empty_like(rows), dw = empty_like(weight), db = empty_like(weight);
    kernels::layer_norm_backward.on({})(dx, dw, db, y.reshape(rows.shape()), rows, stats, weight);
    return std::vector{out, stats, dx, dw, db};
  });
  expect_same_for_any_threads("random", [&] {
    const Tensor n = Tensor::empty({100001}), u = Tensor::empty({100001});
    kernels::fill_normal.on({})(n, 1, 2, {.seed = 9, .purpose = "threads"});
    kernels::fill_uniform.on({})(u, 1, 2, {.seed = 9, .purpose = "threads"});
    return std::vector{n, u};
  });
  expect_same_for_any_threads("adamw", [&] {
    const Tensor p = x.clone(), m = zeros_like(x), v = zeros_like(x), average = x.clone(),
                 norm = Tensor::empty({1}, DType::f64);
    const kernels::OptimizerTensors tensors{{p}, {m}, {v}, {y}, {average}};
    for (int step = 1; step <= 3; ++step) {
      kernels::gradient_norm.on({})(norm, tensors);
      kernels::adamw.on({})(tensors, {.lr = 0.1, .weight_decay = 0.1, .step = step, .clip_norm = 1, .average_decay = 0.9},
                            norm);
    }
    return std::vector{p, m, v, average, norm};
  });
}

constexpr int64_t row_count = 400, width = 90;

// The middle columns of a wider tensor, and a check that the others keep their values.
struct Pitched {
  explicit Pitched(const Tensor& values)
      : whole(Tensor::full(values.shape().with(-1, values.shape(-1) + 7), 77, values.dtype())),
        view(whole.columns(3, 3 + values.shape(-1))) {
    view.copy_from(values);
  }
  void expect_surroundings_kept(const std::string& name) const {
    const Tensor all = whole.to(DType::f64);
    const int64_t pitch = whole.shape(-1);
    const double* value = all.data<double>();
    int64_t overwritten = 0;
    for (int64_t i = 0; i < all.numel(); ++i) overwritten += (i % pitch < 3 || i % pitch >= pitch - 4) && value[i] != 77;
    EXPECT_EQ(overwritten, 0) << name;
  }
  Tensor whole, view;
};

// f(out, x, y) must give the same bits on dense tensors and with any of them pitched.
void expect_pitch_changes_nothing(const std::string& name, DType type,
                                  const std::function<void(const Tensor&, const Tensor&, const Tensor&)>& f) {
  const Tensor x = random({row_count, width}, "x", type), y = random({row_count, width}, "y", type), dense = empty_like(x);
  f(dense, x, y);
  for (int mask = 1; mask < 8; ++mask) {
    const Pitched out(zeros_like(x)), px(x), py(y);
    const Tensor target = mask & 1 ? out.view : zeros_like(x);
    f(target, mask & 2 ? px.view : x, mask & 4 ? py.view : y);
    EXPECT_TRUE(bytes(target) == bytes(dense)) << name << ' ' << type << ' ' << mask;
    out.expect_surroundings_kept(name);
  }
}

TEST(PitchedRows, GiveWhatDenseRowsGive) {
  const ThreadCount one(1);  // thousands of small calls
  const Device cpu;
  const Tensor scale = random({width}, "c", DType::f64);
  for (const DType type : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    const auto expect = [&](const std::string& name, auto f) { expect_pitch_changes_nothing(name, type, f); };
    for (const Activation act : {Activation{}, gelu_activation, silu_activation, leaky_relu_activation(0.2)}) {
      expect("forward", [&](auto& out, auto& x, auto&) { kernels::activation_forward.on(cpu)(out, x, act); });
      expect("backward", [&](auto& out, auto& x, auto& y) { kernels::activation_backward.on(cpu)(out, x, y, act); });
    }
    expect("axpby", [&](auto& out, auto& x, auto& y) { kernels::axpby.on(cpu)(out, 0.3, x, -2, y); });
    expect("ax", [&](auto& out, auto& x, auto&) { kernels::axpby.on(cpu)(out, 0.3, x, 0, {}); });
    expect("multiply", [&](auto& out, auto& x, auto& y) { kernels::multiply.on(cpu)(out, x, y); });
    expect("add_rows", [&](auto& out, auto& x, auto& y) { kernels::add_rows.on(cpu)(out, x, y.slice(0, 35)); });
    expect("channel_affine", [&](auto& out, auto& x, auto&) { kernels::channel_affine.on(cpu)(out, x, scale, scale); });
    expect("sum_rows", [&](auto& out, auto& x, auto& y) {
      kernels::sum_rows.on(cpu)(out.slice(0, 7), x);
      kernels::sum_rows.on(cpu)(out.slice(7, row_count), y);  // more rows in the table than divide those of y
    });
    if (type == DType::f64) continue;
    const Tensor weight = random({width}, "w", type);
    expect("layer_norm", [&](auto& out, auto& x, auto& y) {
      const Tensor stats = Tensor::empty({row_count, 2}), scratch = empty_like(weight);
      kernels::layer_norm_forward.on(cpu)(out, stats, x, weight, weight, 1e-5);
      kernels::layer_norm_backward.on(cpu)(out, scratch, scratch, y, x, stats, weight);
    });
  }
}

TEST(PitchedRows, SumLikeDenseRows) {
  const Tensor x = random({row_count, width}, "x"), y = random({row_count, width}, "y");
  const Pitched px(x), py(y);
  const auto value = [](auto slot, const auto&... in) {
    const Tensor out = Tensor::empty({}, DType::f64);
    slot(out, in...);
    return out.item();
  };
  EXPECT_NEAR(value(kernels::sum.on({}), px.view), value(kernels::sum.on({}), x), 1e-9);
  EXPECT_NEAR(value(kernels::squared_error.on({}), px.view, py.view), value(kernels::squared_error.on({}), x, y), 1e-7);
  EXPECT_NEAR(value(kernels::squared_error.on({}), px.view, Tensor{}), value(kernels::squared_error.on({}), x, Tensor{}), 1e-7);
}

TEST(SixteenBits, AreTheRoundedResultOfF32) {
  for (const DType type : {DType::f16, DType::bf16}) {
    const Tensor x = random({row_count, width}, "x", type), y = random({row_count, width}, "y", type), out = empty_like(x);
    const Tensor wide_x = x.to(DType::f32), wide_y = y.to(DType::f32), wide = empty_like(wide_x);
    kernels::activation_backward.on({})(out, x, y, gelu_activation);
    kernels::activation_backward.on({})(wide, wide_x, wide_y, gelu_activation);
    EXPECT_TRUE(bytes(out) == bytes(wide.to(type))) << type;
    const Tensor weight = random({width}, "w", type), bias = random({width}, "b", type);
    kernels::layer_norm_forward.on({})(out, {}, x, weight, bias, 1e-5);
    kernels::layer_norm_forward.on({})(wide, {}, wide_x, weight.to(DType::f32), bias.to(DType::f32), 1e-5);
    EXPECT_TRUE(bytes(out) == bytes(wide.to(type))) << type;
  }
}

TEST(Threads, ErrorsLeaveTheParallelRegion) {
  for (const int threads : {1, 2, 3}) {
    const ThreadCount scope(threads);
    std::atomic<int> calls{0};
    EXPECT_THROW(cpu::parallel_for(10, 1,
                                   [&](int64_t begin, int64_t) {
                                     ++calls;
                                     if (begin % 3 == 1) throw OutOfMemory("out of memory");
                                   }),
                 OutOfMemory);
    EXPECT_EQ(calls, 10);
  }
}

TEST(Loops, EmptyTensorsAreFine) {
  const Device cpu;
  for (const Shape& shape : {Shape{0, 5}, Shape{5, 0}}) {
    const Tensor x = Tensor::zeros(shape), y = Tensor::zeros(shape), s = Tensor::full({}, 3, DType::f64);
    kernels::activation_forward.on(cpu)(y, x, gelu_activation);
    kernels::add_rows.on(cpu)(y, x, Tensor::zeros({1, shape[1]}));
    kernels::sum.on(cpu)(s, x);
    EXPECT_EQ(s.item(), 0);
    const Tensor table = Tensor::full({2, shape[1]}, 3);
    kernels::sum_rows.on(cpu)(table, x);
    for (int64_t i = 0; i < table.numel(); ++i) EXPECT_EQ(table.data<float>()[i], 0);
  }
}

}  // namespace
}  // namespace relume
