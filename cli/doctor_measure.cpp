#include "cli/doctor_measure.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "autograd/matmul.h"
#include "base/machine.h"

namespace relume {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

#ifdef __AVX512F__
constexpr int vector_bytes = 64;
#else
constexpr int vector_bytes = 32;
#endif
using Vector [[gnu::vector_size(vector_bytes)]] = float;
constexpr int accumulators = 12;  // two units with a latency of four to five need eight to ten at work
constexpr int64_t floats = vector_bytes / int64_t(sizeof(float));

// Gives a number that depends on every product, so that none can be left out.
float multiply_add(int64_t rounds, float factor, float addend) {
  Vector a[accumulators], f{}, s{};
  f += factor, s += addend;
  for (int i = 0; i < accumulators; ++i) a[i] = s * float(i);
  for (int64_t round = 0; round < rounds; ++round)
    for (Vector& v : a) v = v * f + s;
  Vector sum{};
  for (const Vector& v : a) sum += v;
  float total = 0;
  for (int i = 0; i < floats; ++i) total += sum[i];
  return total;
}

// Runs work(thread) on threads that start together; gives the seconds from the first beginning to the last end, as the threads
// themselves saw them: this one may wait for a processor meanwhile.
template <class Work> double together(int threads, Work&& work) {
  std::barrier start(threads);
  std::vector<Clock::time_point> begun(static_cast<size_t>(threads)), ended(begun);
  {
    std::vector<std::jthread> team;
    for (int t = 0; t < threads; ++t)
      team.emplace_back([&, t] {
        start.arrive_and_wait();
        begun[size_t(t)] = Clock::now();
        work(t);
        ended[size_t(t)] = Clock::now();
      });
  }
  return std::chrono::duration<double>(*std::ranges::max_element(ended) - *std::ranges::min_element(begun)).count();
}

// The best of several, as others use the machine too.
template <class Measure> double best_of(int times, Measure&& measure) {
  double best = 0;
  for (int i = 0; i < times; ++i) best = std::max(best, measure());
  return best;
}

double fma_rate(int threads) {
  constexpr int64_t rounds = 3'000'000;
  static std::atomic<float> sink;
  return best_of(4, [&] {
    const double seconds = together(threads, [&](int) { sink = multiply_add(rounds, 0.999f, 0.001f); });
    return 2.0 * double(threads * rounds * accumulators * floats) / seconds / 1e9;
  });
}

double bandwidth(int threads) {
  // Four times the largest cache, or a sixteenth of the memory that is free where that is less.
  int64_t cache = 8 << 20;
  for (const Cache& c : processors().caches) cache = std::max(cache, c.bytes);
  const int64_t bytes = std::clamp(memory().usable / 16, int64_t(1) << 22, 4 * cache);
  const int64_t each = bytes / int64_t(3 * sizeof(float)) / threads;
  std::vector<std::vector<float>> maps(size_t(3 * threads));
  together(threads, [&](int t) {
    for (int m = 0; m < 3; ++m) maps[size_t(3 * t + m)].assign(size_t(each), float(m));
  });
  return best_of(5, [&] {
    const double seconds = together(threads, [&](int t) {
      float* a = maps[size_t(3 * t)].data();
      const float *b = maps[size_t(3 * t + 1)].data(), *c = maps[size_t(3 * t + 2)].data();
      for (int64_t i = 0; i < each; ++i) a[i] = b[i] + 0.5f * c[i];
    });
    return double(3 * sizeof(float)) * double(each * threads) / seconds / 1e9;
  });
}

double matmul_rate() {
  const NoGrad no_grad;
  constexpr int64_t rows = 2048, channels = 1024;
  const Tensor x = Tensor::full({rows, channels}, 0.5), w = Tensor::full({channels, channels}, 0.25);
  linear(x, w, {});  // packs the weight
  return best_of(8, [&] {
    const Clock::time_point start = Clock::now();
    linear(x, w, {});
    return 2.0 * double(rows * channels * channels) / seconds_since(start) / 1e9;
  });
}

}  // namespace

MachineSpeed measure_machine(int threads) {
  return {.fma_one = fma_rate(1), .fma_all = fma_rate(threads), .bandwidth = bandwidth(threads), .matmul = matmul_rate()};
}

}  // namespace relume
