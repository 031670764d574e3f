#include "tensor/cpu/reference/reference.h"

namespace relume::cpu::reference {

void sum(const Tensor& out, const Tensor& x) {
  double total = 0;
  const int64_t columns = x.rank() == 0 ? 1 : x.shape(-1);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < columns; ++c) total += x.data<double>()[r * x.pitch() + c];
  *out.data<double>() = total;
}

void squared_error(const Tensor& out, const Tensor& a, const Tensor& b) {
  double total = 0;
  const int64_t columns = a.rank() == 0 ? 1 : a.shape(-1);
  for (int64_t r = 0; r < a.rows(); ++r)
    for (int64_t c = 0; c < columns; ++c) {
      const double other = b ? b.data<double>()[r * b.pitch() + c] : 0;
      const double difference = a.data<double>()[r * a.pitch() + c] - other;
      total += difference * difference;
    }
  *out.data<double>() = total;
}

}  // namespace relume::cpu::reference
