#include "tensor/kernels/gather.h"

#include <limits>

#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/kernels/memory.h"

namespace relume::cuda {
namespace {

template <int N, class T>
static __global__ void gather(int64_t count, int64_t rows, int64_t columns, Rows<T> y, Rows<T> table, const int64_t* ids) {
  const int64_t packs = (columns + N - 1) / N;
  for_each_item(count * packs, [&](int64_t i) {
    const int64_t at = i / packs, column = (i - at * packs) * N, id = ids[at];
    const bool known = id >= 0 && id < rows;
    if (N > 1 && known && column + N <= columns) {
      *reinterpret_cast<Pack<T, N>*>(y.at(at, column)) = *reinterpret_cast<const Pack<T, N>*>(table.at(id, column));
    } else {
      for (int64_t c = column; c < std::min(column + N, columns); ++c)
        if (known)
          *y.at(at, c) = *table.at(id, c);
        else
          put(*y.at(at, c), std::numeric_limits<float>::quiet_NaN());
    }
  });
}

void gather_rows(const Tensor& y, const Tensor& table, const Tensor& ids) {
  if (y.numel() == 0) return;
  visit_float("gather_rows", y, [&]<class T>() {
    const auto run = [&](auto width) {
      constexpr int n = decltype(width)::value;
      const int64_t columns = table.shape(1), items = ids.numel() * ((columns + n - 1) / n);
      launch("gather_rows", gather<n, T>, loop_grid(items, y.device()), loop_threads, 0, stream(y.device()), ids.numel(),
             table.shape(0), columns, Rows<T>(y), Rows<T>(table), ids.data<int64_t>());
    };
    constexpr int N = pack_size<T>;
    const bool packed = packs_fit<T, N>(y, false) && packs_fit<T, N>(table, false);
    packed ? run(std::integral_constant<int, N>{}) : run(std::integral_constant<int, 1>{});
  });
}

// Calls f(place) for the places from `first` to `end` whose id is `id`, in order; a warp compares 32 of them at a time. All
// lanes of it call it together, and f gives all of them the same: false ends the search.
template <class F> __device__ inline void for_places_of(int64_t id, const int64_t* ids, int64_t first, int64_t end, F&& f) {
  const int lane = int(threadIdx.x) % warp_size;
  for (int64_t base = first; base < end; base += warp_size) {
    const uint32_t same = ballot(base + lane < end && ids[base + lane] == id);
    if (same == 0) continue;
    for (int bit = 0; bit < warp_size; ++bit)
      if ((same >> bit & 1) != 0 && !f(base + bit)) return;
  }
}

// A block has a place and some columns: the first place of each id gives the sum, in the order of the places.
template <class T> static __global__ void sum_places(int64_t count, int64_t rows, int64_t columns, Rows<T> dtable, Rows<T> dy,
                                                     const int64_t* ids) {
  const int64_t column = int64_t(blockIdx.y) * loop_threads + threadIdx.x;
  for (int64_t at = blockIdx.x; at < count; at += gridDim.x) {
    const int64_t id = ids[at];
    bool is_first = id >= 0 && id < rows;
    for_places_of(id, ids, 0, at, [&](int64_t) { return is_first = false; });
    if (!is_first) continue;
    double sum = 0;
    for_places_of(id, ids, at, count, [&](int64_t place) {
      if (column < columns) sum += double(get(*dy.at(place, column)));
      return true;
    });
    if (column < columns) put(*dtable.at(id, column), float(sum));
  }
}

void scatter_add_rows(const Tensor& dtable, const Tensor& dy, const Tensor& ids) {
  const Device device = dtable.device();
  kernels::fill.on(device)(dtable, 0);
  if (dy.numel() == 0) return;
  constexpr int64_t most_blocks = 65535;
  const int64_t count = ids.numel(), columns = columns_of(dtable), blocks = (columns + loop_threads - 1) / loop_threads;
  RELUME_CHECK(blocks <= most_blocks, "scatter_add_rows: rows of ", columns, " numbers, at most ", most_blocks * loop_threads,
               " expected");
  visit_float("scatter_add_rows", dy, [&]<class T>() {
    launch("scatter_add_rows", sum_places<T>, dim3(unsigned(std::min(count, most_blocks)), unsigned(blocks)), loop_threads, 0,
           stream(device), count, dtable.shape(0), columns, Rows<T>(dtable), Rows<T>(dy), ids.data<int64_t>());
  });
}

}  // namespace

void register_gather_kernels() {
  kernels::gather_rows.set(DeviceKind::cuda, gather_rows);
  kernels::scatter_add_rows.set(DeviceKind::cuda, scatter_add_rows);
}

}  // namespace relume::cuda
