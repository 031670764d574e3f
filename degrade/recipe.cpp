#include "degrade/recipe.h"

#include "data/picture_batch.h"
#include "degrade/sharpen.h"

namespace relume {

Degradation draw_degradation(const Recipe& recipe, int64_t count, int64_t height, int64_t width, Draws& draws) {
  if (recipe.kind == "second_order") {
    std::vector<SecondOrderKernels> kernels;
    for (int64_t i = 0; i < count; ++i) kernels.push_back(draw_second_order_kernels(recipe.second_order, draws));
    return {recipe.second_order.sharpen_target, draw_second_order(recipe.second_order, kernels, height, width, draws)};
  }
  RELUME_CHECK(count == 1, "the ", recipe.kind, " recipe has no draws shared by a batch; give each picture draws of its own");
  if (recipe.kind == "shuffled") return {false, draw_shuffled(recipe.shuffled, height, width, draws)};
  return {false, draw_wide(recipe.wide, height, width, draws)};
}

Degraded apply_degradation(const Degradation& degradation, const Tensor& pictures) {
  const Tensor gt = degradation.sharpen_target ? sharpen(pictures) : pictures;
  return {.lq = apply_steps(degradation.steps, gt), .gt = gt};
}

Degraded degrade(const Tensor& pictures, const Recipe& recipe, Draws& draws) {
  const Tensor batch = as_batch(pictures, "degrade");
  RELUME_CHECK(batch.shape(3) == 3, "degrade: got ", pictures, ", expected three channels");
  return apply_degradation(draw_degradation(recipe, batch.shape(0), batch.shape(1), batch.shape(2), draws), pictures);
}

Degraded degrade(const Tensor& batch, const Recipe& recipe, std::span<Draws* const> draws) {
  const Tensor x = as_batch(batch, "degrade");
  const int64_t count = x.shape(0);
  RELUME_CHECK(int64_t(draws.size()) == count, "degrade: ", draws.size(), " streams of draws for ", batch,
               "; give one to each picture");
  Degraded all;
  for (int64_t n = 0; n < count; ++n) {
    const Degraded one = degrade(x.slice(n, n + 1), recipe, *draws[size_t(n)]);
    if (n == 0) all = {Tensor::empty(one.lq.shape().with(0, count), DType::f32, x.device()), empty_like(x)};
    RELUME_CHECK(one.lq.shape() == all.lq.shape().with(0, 1), "degrade: results of ", one.lq.shape(), " and ", all.lq.shape(),
                 " cannot stand in one batch");
    all.lq.slice(n, n + 1).copy_from(one.lq);
    all.gt.slice(n, n + 1).copy_from(one.gt);
  }
  return all;
}

}  // namespace relume
