// Pictures singly or in batches: operations on pictures take f32 [H, W, C] or [N, H, W, C] and give what they were given.
#pragma once

#include "tensor/core/tensor.h"

namespace relume {

// `pictures` as a dense batch [N, H, W, C]; one picture [H, W, C] is a batch of one. Throws unless it is f32 with no empty
// axis; `operation` begins the message.
inline Tensor as_batch(const Tensor& pictures, const char* operation) {
  RELUME_CHECK(
      pictures && (pictures.rank() == 3 || pictures.rank() == 4) && pictures.dtype() == DType::f32 && pictures.numel() > 0,
      operation, ": got ", pictures, "; expected f32 pictures [H, W, C] or [N, H, W, C]");
  const Tensor dense = pictures.contiguous();
  const Shape& s = dense.shape();
  return dense.rank() == 4 ? dense : dense.reshape({1, s[0], s[1], s[2]});
}

// `batch` with as many axes as `like` had.
inline Tensor with_rank_of(const Tensor& like, const Tensor& batch) {
  const Shape& s = batch.shape();
  return like.rank() == 4 ? batch : batch.reshape({s[1], s[2], s[3]});
}

}  // namespace relume
