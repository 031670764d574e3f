#include "tensor/kernels/gather.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/reference/reference.h"
#include "tensor/kernels/memory.h"

namespace relume::cpu {
namespace {

void check_ids(const char* slot, const Tensor& ids, const Tensor& table) {
  const int64_t* id = ids.data<int64_t>();
  for (int64_t i = 0; i < ids.numel(); ++i)
    RELUME_CHECK(id[i] >= 0 && id[i] < table.shape(0), slot, ": id ", id[i], " at place ", i, " is no row of the table ",
                 table);
}

// Rows worth a thread's while.
int64_t rows_each(int64_t columns) { return std::max<int64_t>(1, grain / std::max<int64_t>(1, columns)); }

void gather_rows(const Tensor& y, const Tensor& table, const Tensor& ids) {
  check_ids("gather_rows", ids, table);
  if (y.dtype() == DType::f64) return reference::gather_rows(y, table, ids);
  const int64_t size = size_of(y.dtype()), columns = table.shape(1);
  const int64_t* id = ids.data<int64_t>();
  char *const to = static_cast<char*>(y.raw()), *const from = static_cast<char*>(table.raw());
  parallel_for(ids.numel(), rows_each(columns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(to + i * y.pitch() * size, from + id[i] * table.pitch() * size, size_t(columns * size));
  });
}

// Places with the same id stand side by side in `order`, as they came. Each row of the table is summed by one thread.
template <class T> void add_in_order(const Tensor& dtable, const Tensor& dy, const Tensor& ids) {
  const int64_t* id = ids.data<int64_t>();
  std::vector<int64_t> order(size_t(ids.numel())), begins;
  std::iota(order.begin(), order.end(), int64_t(0));
  std::ranges::stable_sort(order, {}, [id](int64_t i) { return id[i]; });
  for (size_t i = 0; i < order.size(); ++i)
    if (i == 0 || id[order[i]] != id[order[i - 1]]) begins.push_back(int64_t(i));
  const auto groups = int64_t(begins.size());
  begins.push_back(int64_t(order.size()));
  const int64_t columns = columns_of(dtable);
  const Strided<T> to(dtable), from(dy);
  const int64_t terms = ids.numel() / std::max<int64_t>(1, groups);  // of a group, about
  parallel_for(groups, rows_each(terms * columns), [&](int64_t first, int64_t last) {
    std::vector<double> sum(static_cast<size_t>(columns));
    for (int64_t g = first; g < last; ++g) {
      std::ranges::fill(sum, 0.0);
      for (int64_t i = begins[size_t(g)]; i < begins[size_t(g + 1)]; ++i) {
        const T* row = from.at(order[size_t(i)], 0);
        for (int64_t c = 0; c < columns; ++c) sum[size_t(c)] += double(get(row[c]));
      }
      T* out = to.at(id[order[size_t(begins[size_t(g)])]], 0);
      for (int64_t c = 0; c < columns; ++c) put(out[c], Wide<T>(sum[size_t(c)]));
    }
  });
}

void scatter_add_rows(const Tensor& dtable, const Tensor& dy, const Tensor& ids) {
  check_ids("scatter_add_rows", ids, dtable);
  if (dy.dtype() == DType::f64) return reference::scatter_add_rows(dtable, dy, ids);
  kernels::fill.on({})(dtable, 0);
  visit_float("scatter_add_rows", dy, [&]<class T>() { add_in_order<T>(dtable, dy, ids); });
}

}  // namespace

void register_gather_kernels() {
  kernels::gather_rows.set(DeviceKind::cpu, gather_rows);
  kernels::scatter_add_rows.set(DeviceKind::cpu, scatter_add_rows);
}

}  // namespace relume::cpu
