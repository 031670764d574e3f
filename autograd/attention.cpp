#include "autograd/attention.h"

namespace relume {

Tensor window_attention(const Tensor& qkv, const Tensor& table, const WindowAttentionOptions& o) {
  RELUME_CHECK(o.heads >= 1 && o.window >= 1 && o.shift >= 0 && o.shift < o.window, "window_attention: heads ", o.heads,
               ", window ", o.window, ", shift ", o.shift,
               " given; expected heads and window from 1, shift from 0 to window - 1");
  RELUME_CHECK(qkv.rank() == 4 && qkv.shape(3) % (3 * o.heads) == 0, "window_attention: ", qkv,
               " given; expected [N, H, W, 3*C] with C a ", "multiple of ", o.heads, " heads");
  RELUME_CHECK(qkv.shape(1) % o.window == 0 && qkv.shape(2) % o.window == 0, "window_attention: the map ", qkv.shape(),
               " cannot be cut into windows of ", o.window, " x ", o.window, "; pad it to a multiple");
  const int64_t side = 2 * o.window - 1;
  RELUME_CHECK((table.shape() == Shape{side * side, o.heads}) && table.dtype() == qkv.dtype(), "window_attention: table ",
               table, ", expected ", Shape{side * side, o.heads});
  const bool keep = recording({qkv, table});
  Tensor y = Tensor::empty(qkv.shape().with(3, qkv.shape(3) / 3), qkv.dtype(), qkv.device());
  const Tensor lse = keep ? Tensor::empty(qkv.shape().with(3, o.heads), qkv.dtype(), qkv.device()) : Tensor();
  kernels::window_attention_forward.on(qkv.device())(y, lse, qkv, table, o);
  return record("window_attention", y, {qkv, table},
                [qkv = saved(qkv), table = saved(table), y = saved(y), lse = saved(lse), o](const Tensor& dy,
                                                                                            const Needs& needs) -> Grads {
                  const Tensor dqkv = empty_like(qkv.get()), dtable = needs(1) ? empty_like(table.get()) : Tensor();
                  kernels::window_attention_backward.on(dy.device())(dqkv, dtable, dy, y, lse, qkv, table, o);
                  return {needs(0) ? dqkv : Tensor(), dtable};
                });
}

}  // namespace relume
