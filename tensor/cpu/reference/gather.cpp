#include "tensor/cpu/reference/reference.h"

namespace relume::cpu::reference {

void gather_rows(const Tensor& y, const Tensor& table, const Tensor& ids) {
  for (int64_t i = 0; i < ids.numel(); ++i)
    for (int64_t c = 0; c < table.shape(1); ++c)
      y.data<double>()[i * y.pitch() + c] = table.data<double>()[ids.data<int64_t>()[i] * table.pitch() + c];
}

void scatter_add_rows(const Tensor& dtable, const Tensor& dy, const Tensor& ids) {
  for (int64_t r = 0; r < dtable.shape(0); ++r)
    for (int64_t c = 0; c < dtable.shape(1); ++c) {
      double sum = 0;
      for (int64_t i = 0; i < ids.numel(); ++i)
        if (ids.data<int64_t>()[i] == r) sum += dy.data<double>()[i * dy.pitch() + c];
      dtable.data<double>()[r * dtable.pitch() + c] = sum;
    }
}

}  // namespace relume::cpu::reference
