// Resampling as two one-dimensional passes: along x a pixel is one vector of its channels, along y a row is combined from whole
// rows. Which comes first depends on the sizes alone: rows are reduced before columns are touched, and enlarged after.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/tiles.h"
#include "tensor/kernels/picture.h"

namespace relume::cpu {
namespace {

constexpr int64_t band_rows = 64;
constexpr int64_t slack = 4;  // floats that may be read beyond a row: a pixel of three channels is loaded as four

struct Axis {
  int64_t out, taps;
  const int32_t* index;
  const float* weight;
};
Axis axis_of(const kernels::ResampleAxis& axis) {
  return {axis.index.shape(0), axis.index.shape(1), axis.index.data<int32_t>(), axis.weight.data<float>()};
}

// Along x: Channels and Taps of zero mean "as many as there are". `in` has `slack`.
template <int Channels, int Taps> void along_x(float* out, const float* in, const Axis& axis, int64_t channels_given) {
  const int64_t channels = Channels ? Channels : channels_given, taps = Taps ? Taps : axis.taps;
  const int32_t* index = axis.index;
  const float* weight = axis.weight;
  for (int64_t x = 0; x < axis.out; ++x, index += taps, weight += taps, out += channels) {
    if constexpr (Channels == 3 || Channels == 4) {
      Quad sum = weight[0] * load<Quad>(in + index[0] * channels);
      for (int64_t t = 1; t < taps; ++t) sum += weight[t] * load<Quad>(in + index[t] * channels);
      if (Channels == 4 || x + 1 < axis.out)
        store(out, sum);  // the fourth float is overwritten by the next pixel
      else
        std::memcpy(out, &sum, 3 * sizeof(float));
    } else {
      for (int64_t c = 0; c < channels; ++c) {
        float sum = weight[0] * in[index[0] * channels + c];
        for (int64_t t = 1; t < taps; ++t) sum += weight[t] * in[index[t] * channels + c];
        out[c] = sum;
      }
    }
  }
}

using AlongX = void(float*, const float*, const Axis&, int64_t);
template <int Channels> AlongX* along_x_for(int64_t taps) {
  return taps == 1   ? along_x<Channels, 1>
         : taps == 2 ? along_x<Channels, 2>
         : taps == 4 ? along_x<Channels, 4>
                     : along_x<Channels, 0>;
}
AlongX* along_x_for(int64_t channels, int64_t taps) {
  if (channels == 1) return along_x_for<1>(taps);
  if (channels == 3) return along_x_for<3>(taps);
  return channels == 4 ? along_x_for<4>(taps) : along_x_for<0>(taps);
}

struct WeightedRow {
  const float* row;
  float weight;
};
template <int Rows, bool Add> void combine_some(float* __restrict to, const WeightedRow* rows, int64_t length) {
  std::array<WeightedRow, Rows> from;
  std::copy_n(rows, Rows, from.begin());
#pragma omp simd
  for (int64_t i = 0; i < length; ++i) {
    float sum = Add ? to[i] + from[0].weight * from[0].row[i] : from[0].weight * from[0].row[i];
    for (size_t r = 1; r < Rows; ++r) sum += from[r].weight * from[r].row[i];
    to[i] = sum;
  }
}
template <bool Add> void combine_up_to_four(float* to, const WeightedRow* rows, size_t count, int64_t length) {
  if (count == 1) return combine_some<1, Add>(to, rows, length);
  if (count == 2) return combine_some<2, Add>(to, rows, length);
  if (count == 3) return combine_some<3, Add>(to, rows, length);
  combine_some<4, Add>(to, rows, length);
}
// to[i] = sum over the rows of weight * row[i].
void combine(float* to, const std::vector<WeightedRow>& rows, int64_t length) {
  combine_up_to_four<false>(to, rows.data(), std::min<size_t>(rows.size(), 4), length);
  for (size_t r = 4; r < rows.size(); r += 4)
    combine_up_to_four<true>(to, rows.data() + r, std::min<size_t>(rows.size() - r, 4), length);
}

struct Job {
  Axis rows, columns;
  int64_t channels, in_length, out_length, reach;  // lengths of a row in floats; reach: source rows one output row spans
  AlongX* along_x;
};

// The rows that make output row y; row_of(source) gives a source row.
template <class RowOf> void gather_rows(std::vector<WeightedRow>& used, const Axis& rows, int64_t y, RowOf&& row_of) {
  used.clear();
  for (int64_t t = y * rows.taps; t < (y + 1) * rows.taps; ++t)
    if (rows.weight[t] != 0 || (used.empty() && t + 1 == (y + 1) * rows.taps))
      used.push_back({row_of(int64_t(rows.index[t])), rows.weight[t]});
}

void rows_first(float* out, const float* in, const Job& job, int64_t begin, int64_t end) {
  std::vector<float> row(size_t(job.in_length + slack));
  std::vector<WeightedRow> used;
  for (int64_t y = begin; y < end; ++y) {
    gather_rows(used, job.rows, y, [&](int64_t source) { return in + source * job.in_length; });
    combine(row.data(), used, job.in_length);
    job.along_x(out + y * job.out_length, row.data(), job.columns, job.channels);
  }
}

// Source rows are resampled when first needed and kept in a ring as long as an output row can reach back to them.
void columns_first(float* out, const float* in, const Job& job, int64_t begin, int64_t end) {
  std::vector<float> ring(size_t(job.reach * job.out_length)), row(size_t(job.in_length + slack));
  std::vector<int64_t> held(size_t(job.reach), -1);
  std::vector<WeightedRow> used;
  for (int64_t y = begin; y < end; ++y) {
    gather_rows(used, job.rows, y, [&](int64_t source) {
      const int64_t slot = source % job.reach;
      float* const to = ring.data() + slot * job.out_length;
      if (held[size_t(slot)] != source) {
        std::copy_n(in + source * job.in_length, job.in_length, row.data());
        job.along_x(to, row.data(), job.columns, job.channels);
        held[size_t(slot)] = source;
      }
      return static_cast<const float*>(to);
    });
    combine(out + y * job.out_length, used, job.out_length);
  }
}

void resample(const Tensor& y, const Tensor& x, const kernels::ResampleAxis& rows, const kernels::ResampleAxis& columns) {
  const int64_t samples = x.shape(0), height = x.shape(1), width = x.shape(2), channels = x.shape(3), out_height = y.shape(1);
  Job job{.rows = axis_of(rows),
          .columns = axis_of(columns),
          .channels = channels,
          .in_length = width * channels,
          .out_length = y.shape(2) * channels,
          .reach = 1,
          .along_x = along_x_for(channels, columns.index.shape(1))};
  for (int64_t i = 0; i < out_height; ++i) {
    const int32_t* const index = job.rows.index + i * job.rows.taps;
    job.reach = std::max<int64_t>(job.reach, index[job.rows.taps - 1] - index[0] + 1);
  }
  const int64_t bands = (out_height + band_rows - 1) / band_rows;
  parallel_for(samples * bands, 1, [&](int64_t begin, int64_t end) {
    for (int64_t job_index = begin; job_index < end; ++job_index) {
      const int64_t sample = job_index / bands, first = job_index % bands * band_rows;
      (out_height < height ? rows_first : columns_first)(y.data<float>() + sample * out_height * job.out_length,
                                                         x.data<float>() + sample * height * job.in_length, job, first,
                                                         std::min(out_height, first + band_rows));
    }
  });
}

}  // namespace

void register_picture_resample_kernels() { kernels::resample.set(DeviceKind::cpu, resample); }

}  // namespace relume::cpu
