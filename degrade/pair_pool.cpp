#include "degrade/pair_pool.h"

#include <algorithm>
#include <cstring>

#include "data/convert.h"

namespace relume {
namespace {

// Picture n of a batch, as 8 bits if it comes back the same from them.
Tensor packed(const Tensor& batch, int64_t n) {
  const Shape& s = batch.shape();
  const Tensor picture = Tensor::empty({s[1], s[2], s[3]});
  std::memcpy(picture.raw(), batch.data<float>() + n * picture.numel(), size_t(picture.numel()) * sizeof(float));
  const Tensor bytes = to_u8_rounded(picture), back = to_float(bytes);
  return std::equal(back.data<float>(), back.data<float>() + back.numel(), picture.data<float>()) ? bytes : picture;
}

void unpack(const Tensor& picture, const Tensor& batch, int64_t n) {
  const Tensor values = picture.dtype() == DType::u8 ? to_float(picture) : picture;
  std::memcpy(batch.data<float>() + n * values.numel(), values.raw(), size_t(values.numel()) * sizeof(float));
}

Tensor stacked(const std::vector<Degraded>& slots, Tensor Degraded::*member) {
  const bool bytes = std::ranges::all_of(slots, [&](const Degraded& slot) { return (slot.*member).dtype() == DType::u8; });
  const Shape& s = (slots[0].*member).shape();
  const Tensor all = Tensor::empty({int64_t(slots.size()), s[0], s[1], s[2]}, bytes ? DType::u8 : DType::f32);
  for (size_t i = 0; i < slots.size(); ++i) {
    const Tensor &held = slots[i].*member, picture = bytes || held.dtype() == DType::f32 ? held : to_float(held);
    all.slice(int64_t(i), int64_t(i) + 1).copy_from(picture.reshape({1, s[0], s[1], s[2]}));
  }
  return all;
}

}  // namespace

PairPool::PairPool(int64_t size) : size_(size) {
  RELUME_CHECK(size >= 1 && size <= 1 << 24, "pair pool: size ", size, ", expected 1 to 16777216");
}

Degraded PairPool::exchange(const Degraded& given, std::span<const uint32_t> permutation) {
  const Degraded pairs{given.lq.contiguous(), given.gt.contiguous()};
  const int64_t n = pairs.lq.shape(0);
  RELUME_CHECK(pairs.lq.rank() == 4 && pairs.gt.rank() == 4 && pairs.gt.shape(0) == n && n >= 1 && size_ % n == 0,
               "pair pool: a batch of ", pairs.lq, " and ", pairs.gt, " for a pool of ", size_,
               " pairs, which must be a multiple of the batch");
  if (!full()) {
    for (int64_t i = 0; i < n; ++i) {
      order_.push_back(uint32_t(slots_.size()));
      slots_.push_back({packed(pairs.lq, i), packed(pairs.gt, i)});
    }
    return given;
  }
  const Shape held = slots_[0].lq.shape(), wanted{pairs.lq.shape(1), pairs.lq.shape(2), pairs.lq.shape(3)};
  RELUME_CHECK(held == wanted, "pair pool: pictures ", wanted, " come to a pool of ", held);
  RELUME_CHECK(int64_t(permutation.size()) == size_, "pair pool: a permutation of ", permutation.size(), " for ", size_);
  std::vector<uint32_t> order;
  for (const uint32_t place : permutation) order.push_back(order_.at(place));
  order_ = std::move(order);
  const Degraded out{empty_like(pairs.lq), empty_like(pairs.gt)};
  for (int64_t i = 0; i < n; ++i) {
    Degraded& slot = slots_[order_[size_t(i)]];
    unpack(slot.lq, out.lq, i);
    unpack(slot.gt, out.gt, i);
    slot = {packed(pairs.lq, i), packed(pairs.gt, i)};
  }
  return out;
}

PairPool::Contents PairPool::contents() const {
  if (slots_.empty()) return {};
  const Tensor order = Tensor::of<int64_t>({int64_t(order_.size())}, {order_.begin(), order_.end()});
  return {stacked(slots_, &Degraded::lq), stacked(slots_, &Degraded::gt), order};
}

void PairPool::restore(const Contents& c) {
  const int64_t n = c.order ? c.order.numel() : 0;
  const auto fits = [&](const Tensor& t) {
    return t.rank() == 4 && t.shape(0) == n && t.shape(3) == 3 && (t.dtype() == DType::u8 || t.dtype() == DType::f32);
  };
  RELUME_CHECK(n == 0 || (n <= size_ && fits(c.lq) && fits(c.gt) && c.order.dtype() == DType::i64), "pair pool: ", c.lq, ", ",
               c.gt, " and order ", c.order, " are not the contents of a pool of ", size_);
  std::vector<bool> seen(static_cast<size_t>(n));
  slots_.clear(), order_.clear();
  for (int64_t i = 0; i < n; ++i) {
    const int64_t slot = c.order.data<int64_t>()[i];
    RELUME_CHECK(slot >= 0 && slot < n && !seen[size_t(slot)], "pair pool: its order is no permutation");
    seen[size_t(slot)] = true;
    order_.push_back(uint32_t(slot));
    const auto picture = [&](const Tensor& all) {
      const Tensor one = all.slice(i, i + 1).clone().reshape({all.shape(1), all.shape(2), 3});
      return one.dtype() == DType::u8 ? one : packed(one.reshape({1, one.shape(0), one.shape(1), 3}), 0);
    };
    slots_.push_back({picture(c.lq), picture(c.gt)});
  }
}

}  // namespace relume
