// Speed of single operations at the networks' real shapes: tests/support/op_cases.h, bench_cases(). Forward runs as in
// inference, with packed weights at hand; backward is the gradient towards every input. Google Benchmark's own flags choose and
// format:
//
//   OMP_NUM_THREADS=2 op_bench --benchmark_filter='conv2d/.*' --benchmark_out=ops.json --benchmark_repetitions=5
#include "autograd/graph.h"
#include "tensor/backends.h"
#include "tests/support/numbers.h"
#include "tests/support/op_cases.h"

#include <benchmark/benchmark.h>
#include <omp.h>

#include <string>
#include <vector>

namespace relume::test {
namespace {

int64_t bytes_of(const Tensor& t) { return t.numel() * size_of(t.dtype()); }

// Arithmetic where the case states it, else elements of the output and bytes that must be moved at least.
void count(benchmark::State& state, const OpCase& c, double products, const Tensor& y, int64_t bytes) {
  if (c.flops > 0) {
    state.counters["FLOP/s"] = {products * c.flops, benchmark::Counter::kIsIterationInvariantRate};
    return;
  }
  state.SetItemsProcessed(state.iterations() * y.numel());
  state.SetBytesProcessed(state.iterations() * bytes);
}

void forward(benchmark::State& state, const OpCase& c) {
  const std::vector<Tensor> inputs = inputs_of(c, DType::f32);
  const NoGrad no_grad;
  Tensor y = c.run(inputs);
  for (auto _ : state) y = c.run(inputs);
  int64_t bytes = bytes_of(y);
  for (const Tensor& x : inputs) bytes += bytes_of(x);
  count(state, c, 1, y, bytes);
}

// Every product of the forward pass has two gradients, so the arithmetic counts twice; what a kernel recomputes counts as
// nothing.
void gradients(benchmark::State& state, const OpCase& c) {
  std::vector<Tensor> inputs = inputs_of(c, DType::f32);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (c.inputs[i].differentiable) inputs[i] = require_grad(inputs[i]);
  Tensor y = c.run(inputs);
  const Tensor dy = uniform(y.shape(), 99);
  backward(y, dy);
  for (auto _ : state) {
    state.PauseTiming();
    for (const Tensor& x : inputs) clear_grad(x);
    y = c.run(inputs);
    state.ResumeTiming();
    backward(y, dy);
  }
  int64_t bytes = bytes_of(dy);
  for (const Tensor& x : inputs) bytes += 2 * bytes_of(x);
  count(state, c, 2, y, bytes);
}

void add_cases() {
  for (const OpCase& c : bench_cases()) {
    const auto add = [&](const char* direction, auto run) {
      benchmark::RegisterBenchmark((c.name + direction).c_str(), [&c, run](benchmark::State& state) { run(state, c); })
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
    };
    add("/forward", forward);
    add("/backward", gradients);
  }
}

}  // namespace
}  // namespace relume::test

int main(int argc, char** argv) {
  relume::register_backends();
  relume::test::add_cases();
  benchmark::AddCustomContext("omp_threads", std::to_string(omp_get_max_threads()));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
