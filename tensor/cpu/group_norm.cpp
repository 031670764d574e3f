// GroupNorm with the activation behind it: one pass over memory for the sums and one for the result, a few samples at a time
// where they stay in the cache in between.
#include "tensor/kernels/norm.h"

#include <cmath>
#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/reference/reference.h"

namespace relume::cpu {
namespace {

using kernels::GroupNormOptions;

constexpr int64_t cached = 1 << 20;  // elements that a cache holds from one pass to the next

// A batch of maps [samples, pixels, channels], cut into blocks of pixels by its shape alone.
struct Maps {
  Maps(const Tensor& x, int groups_)
      : samples(x.shape(0)),
        pixels(x.rows() / samples),
        channels(columns_of(x)),
        groups(groups_),
        in_group(channels / groups),
        each(std::clamp<int64_t>(grain / channels, 16, 256)),
        blocks((pixels + each - 1) / each),
        together(std::clamp<int64_t>(cached / (pixels * channels), 1, samples)) {}

  // Calls f(block, first row, rows) for the blocks of the samples [first, last), counted from the first, on all threads.
  template <class F> void for_each_block(int64_t first, int64_t last, F&& f) const {
    const int64_t worth_a_thread = std::max<int64_t>(1, grain / (std::min(each, pixels) * channels));
    parallel_for((last - first) * blocks, worth_a_thread, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t pixel = block % blocks * each;
        f(block, (first + block / blocks) * pixels + pixel, std::min(each, pixels - pixel));
      }
    });
  }

  int64_t samples, pixels, channels, groups, in_group;
  int64_t each, blocks;  // pixels of a block, blocks of a sample
  int64_t together;      // samples that both passes go over before the next ones
};

struct Moments {
  double mean, deviations;  // and the sum of the squared differences to it
};

// The moments of each group over some rows. What is summed, in float and for each channel, are differences to the first row:
// a mean far from zero costs no accuracy. Channels are joined in double.
template <class T> void moments_of_rows(Moments* to, const T* x, int64_t pitch, int64_t rows, const Maps& maps) {
  const int64_t channels = maps.channels;
  std::vector<float> work(size_t(3 * channels));
  float *first = work.data(), *sums = first + channels, *squares = sums + channels;
  for (int64_t c = 0; c < channels; ++c) first[c] = get(x[c]);
  for (int64_t r = 1; r < rows; ++r) {
    const T* p = x + r * pitch;
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const float difference = get(p[c]) - first[c];
      sums[c] += difference;
      squares[c] = std::fma(difference, difference, squares[c]);
    }
  }
  const auto count = double(rows);
  for (int64_t g = 0; g < maps.groups; ++g) {
    const int64_t begin = g * maps.in_group, end = begin + maps.in_group;
    double mean = 0, deviations = 0;
    for (int64_t c = begin; c < end; ++c) mean += double(first[c]) + double(sums[c]) / count;
    mean /= double(maps.in_group);
    for (int64_t c = begin; c < end; ++c) {
      const double sum = double(sums[c]), off = double(first[c]) + sum / count - mean;
      deviations += double(squares[c]) - sum * sum / count + count * off * off;
    }
    to[g] = {mean, deviations};
  }
}

// Those of a group of a sample from those of its blocks, [blocks, groups].
Moments joined(const Moments* blocks, const Maps& maps) {
  const auto count_of = [&](int64_t block) {
    return double(std::min(maps.each, maps.pixels - block * maps.each) * maps.in_group);
  };
  Moments all{0, 0};
  for (int64_t b = 0; b < maps.blocks; ++b) all.mean += count_of(b) * blocks[b * maps.groups].mean;
  all.mean /= double(maps.pixels * maps.in_group);
  for (int64_t b = 0; b < maps.blocks; ++b) {
    const double off = blocks[b * maps.groups].mean - all.mean;
    all.deviations += blocks[b * maps.groups].deviations + count_of(b) * off * off;
  }
  return all;
}

// What a sample's channels are computed with, [channels] each: the activation gets fma(x - centre, scale, shift), and dx is
// fma(scale, gradient before the activation, fma(x - centre, slope, level)).
struct Factors {
  Factors(float* data, int64_t channels)
      : centre(data), scale(data + channels), shift(scale + channels), slope(shift + channels), level(slope + channels) {}
  float *centre, *scale, *shift, *slope, *level;
};

// Factors of some samples.
class FactorTable {
 public:
  explicit FactorTable(const Maps& maps) : channels_(maps.channels), data_(size_t(5 * maps.together * maps.channels)) {}
  Factors operator[](int64_t sample) { return {&data_[size_t(5 * sample * channels_)], channels_}; }

 private:
  int64_t channels_;
  std::vector<float> data_;
};

template <class T>
void set_normal(const Factors& f, const Maps& maps, int64_t group, double mean, double rstd, const T* weight, const T* bias) {
  const auto centre = float(mean);
  const double rest = (mean - double(centre)) * rstd;
  for (int64_t c = group * maps.in_group; c < (group + 1) * maps.in_group; ++c) {
    const auto w = double(get(weight[c]));
    f.centre[c] = centre;
    f.scale[c] = float(rstd * w);
    f.shift[c] = float(double(get(bias[c])) - rest * w);
  }
}

// Those of the samples [first, last) from stats [samples, groups, 2].
template <class T> void set_normals(FactorTable& factors, const Maps& maps, int64_t first, int64_t last, const Tensor& stats,
                                    const T* weight, const T* bias) {
  for (int64_t n = first; n < last; ++n)
    for (int64_t g = 0; g < maps.groups; ++g) {
      const float* const found = stats.data<float>() + 2 * (n * maps.groups + g);
      set_normal(factors[n - first], maps, g, double(found[0]), double(found[1]), weight, bias);
    }
}

template <class T, class Act> void normalise_rows(const Strided<T>& y, const Strided<T>& x, int64_t row, int64_t rows,
                                                  int64_t channels, const Factors& factors, Act act) {
  const float *centre = factors.centre, *scale = factors.scale, *shift = factors.shift;
  for (int64_t r = row; r < row + rows; ++r) {
    T* const to = y.at(r, 0);
    const T* const p = x.at(r, 0);
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) put(to[c], act.value(std::fma(get(p[c]) - centre[c], scale[c], shift[c])));
  }
}

template <class T> void forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias,
                                const GroupNormOptions& options) {
  const Maps maps(x, options.groups);
  const Strided<T> from(x), to(y ? y : x);
  FactorTable factors(maps);
  std::vector<Moments> partial(size_t(maps.together * maps.blocks * maps.groups));
  for (int64_t first = 0; first < maps.samples; first += maps.together) {
    const int64_t last = std::min(maps.samples, first + maps.together);
    maps.for_each_block(first, last, [&](int64_t block, int64_t row, int64_t rows) {
      moments_of_rows(&partial[size_t(block * maps.groups)], from.at(row, 0), from.pitch, rows, maps);
    });
    for (int64_t n = first; n < last; ++n)
      for (int64_t g = 0; g < maps.groups; ++g) {
        const Moments found = joined(&partial[size_t((n - first) * maps.blocks * maps.groups + g)], maps);
        const double variance = std::max(0.0, found.deviations) / double(maps.pixels * maps.in_group);
        const double rstd = 1 / std::sqrt(variance + options.eps);
        if (y) set_normal(factors[n - first], maps, g, found.mean, rstd, weight.data<T>(), bias.data<T>());
        if (!stats) continue;
        stats.data<float>()[2 * (n * maps.groups + g)] = float(found.mean);
        stats.data<float>()[2 * (n * maps.groups + g) + 1] = float(rstd);
      }
    if (!y) continue;
    visit_activation(options.act, [&](auto act) {
      maps.for_each_block(first, last, [&](int64_t block, int64_t row, int64_t rows) {
        normalise_rows(to, from, row, rows, maps.channels, factors[block / maps.blocks], act);
      });
    });
  }
}

template <class T> void apply(const Tensor& y, const Tensor& x, const Tensor& stats, const Tensor& weight, const Tensor& bias,
                              const GroupNormOptions& options) {
  const Maps maps(x, options.groups);
  const Strided<T> from(x), to(y);
  FactorTable factors(maps);
  for (int64_t first = 0; first < maps.samples; first += maps.together) {
    const int64_t last = std::min(maps.samples, first + maps.together);
    set_normals(factors, maps, first, last, stats, weight.data<T>(), bias.data<T>());
    visit_activation(options.act, [&](auto act) {
      maps.for_each_block(first, last, [&](int64_t block, int64_t row, int64_t rows) {
        normalise_rows(to, from, row, rows, maps.channels, factors[block / maps.blocks], act);
      });
    });
  }
}

// Adds to sums [2, channels] what some rows give for the bias, and for the weight before it is scaled by rstd.
template <class T, class Act> void add_gradients(float* sums, const Strided<T>& dy, const Strided<T>& x, int64_t row,
                                                 int64_t rows, int64_t channels, const Factors& factors, Act act) {
  const float *centre = factors.centre, *scale = factors.scale, *shift = factors.shift;
  float* const products = sums + channels;
  for (int64_t r = row; r < row + rows; ++r) {
    const T *const g = dy.at(r, 0), *const p = x.at(r, 0);
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const float off = get(p[c]) - centre[c], dz = get(g[c]) * act.slope(std::fma(off, scale[c], shift[c]));
      sums[c] += dz;
      products[c] = std::fma(dz, off, products[c]);
    }
  }
}

template <class T, class Act> void gradient_rows(const Strided<T>& dx, const Strided<T>& dy, const Strided<T>& x, int64_t row,
                                                 int64_t rows, int64_t channels, const Factors& factors, Act act) {
  const float *centre = factors.centre, *scale = factors.scale, *shift = factors.shift, *slope = factors.slope,
              *level = factors.level;
  for (int64_t r = row; r < row + rows; ++r) {
    T* const to = dx.at(r, 0);
    const T *const g = dy.at(r, 0), *const p = x.at(r, 0);
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const float off = get(p[c]) - centre[c], dz = get(g[c]) * act.slope(std::fma(off, scale[c], shift[c]));
      put(to[c], std::fma(scale[c], dz, std::fma(off, slope[c], level[c])));
    }
  }
}

// From what the blocks of a sample found, [blocks, 2, channels], and its stats: its share of dbias and dweight [2, channels],
// and the factors of dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = dz weight.
template <class T> void join_gradients(std::vector<double>& parameters, const Factors& factors, const float* blocks,
                                       const Maps& maps, const float* stats, const T* weight) {
  const int64_t channels = maps.channels;
  std::vector<double> sums(size_t(2 * channels));
  for (int64_t b = 0; b < maps.blocks; ++b)
    for (int64_t c = 0; c < 2 * channels; ++c) sums[size_t(c)] += double(blocks[b * 2 * channels + c]);
  const auto count = double(maps.pixels * maps.in_group);
  for (int64_t g = 0; g < maps.groups; ++g) {
    const int64_t begin = g * maps.in_group, end = begin + maps.in_group;
    const auto rstd = double(stats[2 * g + 1]);
    double sum = 0, product = 0;
    for (int64_t c = begin; c < end; ++c) {
      const double db = sums[size_t(c)], dw = rstd * sums[size_t(channels + c)], w = double(get(weight[c]));
      parameters[size_t(c)] += db, parameters[size_t(channels + c)] += dw;
      sum += w * db, product += w * dw;
    }
    std::fill(factors.slope + begin, factors.slope + end, float(-rstd * rstd * product / count));
    std::fill(factors.level + begin, factors.level + end, float(-rstd * sum / count));
  }
}

template <class T> void backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy,
                                 const Tensor& x, const Tensor& stats, const Tensor& weight, const Tensor& bias,
                                 const GroupNormOptions& options) {
  const Maps maps(x, options.groups);
  const int64_t channels = maps.channels;
  const Strided<T> gradients(dy), inputs(x), outputs(dx ? dx : x);
  const auto stats_of = [&](int64_t sample) { return stats.data<float>() + sample * maps.groups * 2; };
  FactorTable factors(maps);
  std::vector<double> parameters(size_t(2 * channels));  // of the bias, of the weight
  for (int64_t first = 0; first < maps.samples; first += maps.together) {
    const int64_t last = std::min(maps.samples, first + maps.together);
    set_normals(factors, maps, first, last, stats, weight.data<T>(), bias.data<T>());
    std::vector<float> partial(size_t((last - first) * maps.blocks * 2 * channels));
    visit_activation(options.act, [&](auto act) {
      maps.for_each_block(first, last, [&](int64_t block, int64_t row, int64_t rows) {
        add_gradients(&partial[size_t(block * 2 * channels)], gradients, inputs, row, rows, channels,
                      factors[block / maps.blocks], act);
      });
      for (int64_t n = first; n < last; ++n)
        join_gradients(parameters, factors[n - first], &partial[size_t((n - first) * maps.blocks * 2 * channels)], maps,
                       stats_of(n), weight.data<T>());
      if (!dx) return;
      maps.for_each_block(first, last, [&](int64_t block, int64_t row, int64_t rows) {
        gradient_rows(outputs, gradients, inputs, row, rows, channels, factors[block / maps.blocks], act);
      });
    });
  }
  for (int64_t c = 0; c < channels; ++c) {
    if (dbias) put(dbias.data<T>()[c], float(parameters[size_t(c)]));
    if (dweight) put(dweight.data<T>()[c], float(parameters[size_t(channels + c)]));
  }
}

void group_norm_forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const GroupNormOptions& options) {
  visit_float("group_norm_forward", x, [&]<class T>() {
    if constexpr (std::is_same_v<T, double>)
      reference::group_norm_forward(y, stats, x, weight, bias, options);
    else
      forward<T>(y, stats, x, weight, bias, options);
  });
}

void group_norm_apply(const Tensor& y, const Tensor& x, const Tensor& stats, const Tensor& weight, const Tensor& bias,
                      const GroupNormOptions& options) {
  visit_float("group_norm_apply", x, [&]<class T>() {
    if constexpr (std::is_same_v<T, double>)
      reference::group_norm_apply(y, x, stats, weight, bias, options);
    else
      apply<T>(y, x, stats, weight, bias, options);
  });
}

void group_norm_backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy, const Tensor& x,
                         const Tensor& stats, const Tensor& weight, const Tensor& bias, const GroupNormOptions& options) {
  visit_float("group_norm_backward", x, [&]<class T>() {
    if constexpr (std::is_same_v<T, double>)
      reference::group_norm_backward(dx, dweight, dbias, dy, x, stats, weight, bias, options);
    else
      backward<T>(dx, dweight, dbias, dy, x, stats, weight, bias, options);
  });
}

}  // namespace

void register_group_norm_kernels() {
  kernels::group_norm_forward.set(DeviceKind::cpu, group_norm_forward);
  kernels::group_norm_apply.set(DeviceKind::cpu, group_norm_apply);
  kernels::group_norm_backward.set(DeviceKind::cpu, group_norm_backward);
}

}  // namespace relume::cpu
