#include "autograd/gather.h"

#include "tensor/kernels/gather.h"

namespace relume {

Tensor embedding(const Tensor& ids, const Tensor& table) {
  RELUME_CHECK(is_float(table.dtype()) && table.rank() == 2, "embedding: table ", table, " given; expected floats [R, C]");
  RELUME_CHECK(ids.dtype() == DType::i64 && ids.device() == table.device() && ids.rank() < Shape::max_rank, "embedding: ids ",
               ids, " given; expected i64 of at most ", Shape::max_rank - 1, " axes on ", table.device());
  std::vector<int64_t> sizes(ids.shape().sizes().begin(), ids.shape().sizes().end());
  sizes.push_back(table.shape(1));
  const Tensor places = ids.contiguous(),
               y = Tensor::empty(Shape(std::span<const int64_t>(sizes)), table.dtype(), table.device());
  kernels::gather_rows.on(table.device())(y, table, places);
  return record("embedding", y, {table}, [ids = saved(places), shape = table.shape()](const Tensor& dy, const Needs&) -> Grads {
    const Tensor dtable = Tensor::empty(shape, dy.dtype(), dy.device());
    kernels::scatter_add_rows.on(dy.device())(dtable, dy, ids);
    return {dtable};
  });
}

}  // namespace relume
