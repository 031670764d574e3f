#include "cli/parity/trace.h"

namespace relume::parity {
namespace {

Tensor times_of(const Trace& trace, const TensorInfo& stored) {
  std::vector<double> times;
  for (size_t i = 0; i < trace.times.size(); ++i) times.insert(times.end(), size_t(trace.xs[i].shape(0)), trace.times[i]);
  const Shape shape{int64_t(trace.times.size()), trace.xs.front().shape(0)};
  const Tensor exact = Tensor::of<double>(shape, times);
  return is_float(stored.dtype) ? exact.to(DType::f32) : exact;
}

}  // namespace

CallPattern pattern_of(const std::string& sampler) {
  if (sampler == "ddim") return CallPattern::positive_first;
  return sampler.starts_with("dpm") ? CallPattern::negative_first : CallPattern::apart;
}

void Trace::begin(int64_t tiles, Texts texts, double t) {
  tiles_ = tiles;
  apart_ = pattern_ == CallPattern::apart && texts == Texts::both;
  swapped_ = pattern_ == CallPattern::negative_first && texts == Texts::both;
  base_ = times.size();
  times.resize(base_ + size_t(apart_ ? 2 * tiles : tiles), t);
}

void Trace::put(std::vector<Tensor>& calls, int64_t tile, const Tensor& batch) const {
  calls.resize(times.size());
  const int64_t half = batch.shape(0) / 2;
  if (!apart_ && !swapped_) calls[base_ + size_t(tile)] = batch;
  if (swapped_) calls[base_ + size_t(tile)] = stacked(batch.slice(half, 2 * half), batch.slice(0, half));
  if (!apart_) return;
  calls[base_ + size_t(tile)] = batch.slice(0, half).clone();
  calls[base_ + size_t(tiles_ + tile)] = batch.slice(half, 2 * half).clone();
}

Tensor Trace::get(const Tensor& recorded, int64_t tile) const {
  const int64_t first = int64_t(base_) + tile;
  if (apart_) return stacked(row_of(recorded, first), row_of(recorded, first + tiles_));
  const Tensor batch = row_of(recorded, first);
  const int64_t half = batch.shape(0) / 2;
  return swapped_ ? stacked(batch.slice(half, 2 * half), batch.slice(0, half)) : batch;
}

void Trace::compare(const Case& c, Report& report) const {
  report.compare("output.model_x", calls_of(xs));
  report.compare("output.model_out", calls_of(outs));
  report.compare("output.model_t", times_of(*this, c.info("output.model_t")));
}

X0Hook GuidanceRecord::hook(RestorationGuidance& guidance, Device device) {
  return [this, &guidance, device](const Tensor& x0, const SampleStep& step) {
    before_.push_back(x0);
    after_.push_back(guidance(x0.to(device), step).to(x0.device()));
    times_.push_back(int64_t(step.time));
    applied_.push_back(guidance.active(step.time));
    losses_.push_back(applied_.back() ? guidance.loss().item() : 0);
    return after_.back();
  };
}

void GuidanceRecord::compare(const std::string& prefix, Report& report) const {
  const Shape steps{int64_t(times_.size())};
  report.compare(prefix + "pred_x0_before", calls_of(before_));
  report.compare(prefix + "pred_x0_after", calls_of(after_));
  report.compare(prefix + "t", Tensor::of(steps, times_));
  report.compare(prefix + "applied", Tensor::of(steps, applied_));
  report.compare(prefix + "loss", Tensor::of(steps, losses_));
}

Tensor stacked(const Tensor& a, const Tensor& b) {
  const Tensor out = Tensor::empty(a.shape().with(0, a.shape(0) + b.shape(0)), a.dtype());
  out.slice(0, a.shape(0)).copy_from(a);
  out.slice(a.shape(0), out.shape(0)).copy_from(b);
  return out;
}

Tensor calls_of(const std::vector<Tensor>& batches) {
  Tensor all;
  for (const Tensor& batch : batches) {
    const Tensor planes = to_channels_first(batch);
    const Shape& s = planes.shape();
    RELUME_CHECK(!all || all.shape()[1] == s[0], "the calls have batches of several sizes");
    const Tensor call = planes.reshape({1, s[0], s[1], s[2], s[3]});
    all = all ? stacked(all, call) : call;
  }
  return all;
}

Tensor row_of(const Tensor& recorded, int64_t row) {
  RELUME_CHECK(row < recorded.shape(0), "the course asks for number ", row, " of ", recorded.shape(0), " that are recorded");
  const Tensor r = recorded.slice(row, row + 1);
  return to_channels_last(r.reshape({r.shape(1), r.shape(2), r.shape(3), r.shape(4)}));
}

}  // namespace relume::parity
