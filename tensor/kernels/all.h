// Every slot there is: what the coverage test and a backend's self-check walk.
#pragma once

#include "tensor/kernels/attention.h"
#include "tensor/kernels/conv.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/gather.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/memory.h"
#include "tensor/kernels/norm.h"
#include "tensor/kernels/optimizer.h"
#include "tensor/kernels/picture.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/reduce.h"
#include "tensor/kernels/resample.h"

namespace relume::kernels {

template <class F> void for_each_slot(F&& f) {
  for_each_memory_slot(f), for_each_elementwise_slot(f), for_each_reduce_slot(f), for_each_norm_slot(f),
      for_each_resample_slot(f);
  for_each_random_slot(f), for_each_optimizer_slot(f), for_each_attention_slot(f), for_each_matmul_slot(f),
      for_each_conv_slot(f), for_each_gather_slot(f), for_each_picture_slot(f);
}

}  // namespace relume::kernels
