// All tensors of a network in one launch each for the norm of the gradients and for the update. A table on the device says
// where the tensors lie, another which part of which tensor each block takes; both are uploaded when they change, so that a
// training whose tensors stay where they are uploads them once.
#include "tensor/kernels/optimizer.h"

#include <cmath>
#include <optional>

#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/cuda/uploaded.h"
#include "tensor/kernels/memory.h"
#include "tensor/scalar/math.h"

namespace relume::cuda {
namespace {

using kernels::AdamWStep, kernels::OptimizerTensors;

// ---- Tables -----------------------------------------------------------------------------------------------------------------

// Where the tensors of one parameter lie; without a gradient or an average, null.
struct Entry {
  float *p, *m, *v, *average;
  const float* gradient;
  int64_t count;
  bool operator==(const Entry&) const = default;
};

constexpr int64_t chunk_size = 16384;
struct Chunk {
  int32_t entry, part;  // elements part * chunk_size and so on
  bool operator==(const Chunk&) const = default;
};

// A list on the device that is uploaded when it is another than before.
template <class T> class Table {
 public:
  bool holds(const std::vector<T>& list) const { return storage_ && list == list_; }
  void hold(std::vector<T> list, Device device) {
    if (holds(list)) return;
    const auto bytes = int64_t(list.size() * sizeof(T));
    if (!storage_ || storage_->bytes() != bytes) storage_.emplace(device, bytes);
    upload(storage_->data(), list.data(), size_t(bytes), device);
    list_ = std::move(list);
  }
  const T* data() const { return static_cast<const T*>(storage_->data()); }
  size_t size() const { return list_.size(); }

 private:
  std::vector<T> list_;
  std::optional<Storage> storage_;
};

class Prepared {
 public:
  explicit Prepared(Device device) : device_(device), finished_(device, sizeof(uint32_t)) {
    check(cudaMemsetAsync(finished_.data(), 0, sizeof(uint32_t), stream(device)), "cudaMemsetAsync");
  }
  void hold(const OptimizerTensors& tensors);
  dim3 grid() const { return dim3(unsigned(chunks_.size())); }  // no blocks: nothing to do
  const Entry* entries() const { return entries_.data(); }
  const Chunk* chunks() const { return chunks_.data(); }
  double* sums() const { return static_cast<double*>(sums_->data()); }             // one of each block
  uint32_t* finished() const { return static_cast<uint32_t*>(finished_.data()); }  // blocks; 0 between launches

 private:
  Device device_;
  Table<Entry> entries_;
  Table<Chunk> chunks_;
  std::optional<Storage> sums_;
  Storage finished_;
};

float* address(const Tensor& t, const Tensor& parameter) {
  if (!t) return nullptr;
  RELUME_BUG(t.numel() == parameter.numel() && t.is_dense() && t.device() == parameter.device(), "an optimiser of ", parameter,
             " with ", t);
  RELUME_CHECK(t.dtype() == DType::f32, "optimiser: on ", t.device(), " expects f32, got ", t);
  return t.data<float>();
}

void Prepared::hold(const OptimizerTensors& tensors) {
  std::vector<Entry> entries;
  for (size_t i = 0; i < tensors.parameters.size(); ++i) {
    const Tensor& p = tensors.parameters[i];
    entries.push_back({address(p, p), address(tensors.first_moments[i], p), address(tensors.second_moments[i], p),
                       tensors.averages.empty() ? nullptr : address(tensors.averages[i], p), address(tensors.gradients[i], p),
                       p.numel()});
  }
  if (entries_.holds(entries)) return;
  std::vector<Chunk> chunks;
  for (size_t i = 0; i < entries.size(); ++i)
    for (int64_t part = 0; part * chunk_size < entries[i].count; ++part) chunks.push_back({int32_t(i), int32_t(part)});
  if (chunks.size() != chunks_.size() || !sums_) sums_.emplace(device_, int64_t(chunks.size() * sizeof(double)));
  chunks_.hold(std::move(chunks), device_);
  entries_.hold(std::move(entries), device_);
}

const Prepared& prepared(const OptimizerTensors& tensors, Device device) {
  if (!tensors.prepared) tensors.prepared = std::make_shared<Prepared>(device);
  auto& found = *static_cast<Prepared*>(tensors.prepared.get());
  found.hold(tensors);
  return found;
}

// ---- Kernels ----------------------------------------------------------------------------------------------------------------

constexpr int pack = pack_size<float>;
using Floats = Pack<float, pack>;

__device__ inline bool packed(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % sizeof(Floats) == 0; }

// norm = the norm of all gradients. Each block adds the squares of its chunk; the block that finishes last adds their sums, in
// the order of the blocks.
static __global__ void norm_of_chunks(const Entry* entries, const Chunk* chunks, double* sums, uint32_t* finished,
                                      double* norm) {
  const Chunk chunk = chunks[blockIdx.x];
  const Entry entry = entries[chunk.entry];
  double sum = 0;
  if (entry.gradient) {
    const int64_t begin = chunk.part * chunk_size, end = std::min(begin + chunk_size, entry.count);
    const auto add = [&](float g) { sum += double(g) * double(g); };
    for (int64_t first = begin + threadIdx.x * pack; first < end; first += loop_threads * pack) {
      if (first + pack <= end && packed(entry.gradient)) {
        const Floats g = *reinterpret_cast<const Floats*>(entry.gradient + first);
        for (int k = 0; k < pack; ++k) add(g.at[k]);
      } else {
        for (int64_t i = first; i < std::min(first + pack, end); ++i) add(entry.gradient[i]);
      }
    }
  }
  sum = block_sum<loop_threads>(sum);
  RELUME_SHARED(is_last, bool[1]);
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = sum;
    device_fence();
    is_last[0] = atomic_add(finished, 1u) == gridDim.x - 1;
    device_fence();
  }
  sync_block();
  if (!is_last[0]) return;
  double total = 0;
  for (int64_t i = threadIdx.x; i < gridDim.x; i += loop_threads) total += sums[i];
  total = block_sum<loop_threads>(total);
  if (threadIdx.x == 0) *norm = math::sqrt(total), *finished = 0;
}

// The scalars of a step, computed in double and rounded once, as on the CPU.
struct Step {
  explicit Step(const AdamWStep& s)
      : decay(float(1 - s.lr * s.weight_decay)),
        eps(float(s.eps)),
        beta2(float(s.beta2)),
        toward_g(float(1 - s.beta1)),
        toward_square(float(1 - s.beta2)),
        step_size(float(s.lr / (1 - std::pow(s.beta1, double(s.step))))),
        root_correction(float(std::sqrt(1 - std::pow(s.beta2, double(s.step))))),
        average_decay(float(s.average_decay)),
        toward_p(float(1 - s.average_decay)),
        clip_norm(s.clip_norm) {}
  __device__ float scale(double norm) const { return clip_norm > 0 && norm > clip_norm ? float(clip_norm / norm) : 1; }
  __device__ void update(float& p, float& m, float& v, float g) const {
    m += toward_g * (g - m);
    v = v * beta2 + toward_square * g * g;
    p = p * decay - step_size * m / (math::sqrt(v) / root_correction + eps);
  }
  __device__ float averaged(float average, float p) const { return math::fma(average_decay, average, toward_p * p); }
  float decay, eps, beta2, toward_g, toward_square, step_size, root_correction, average_decay, toward_p;
  double clip_norm;
};

// N neighbouring elements of an entry.
template <int N> __device__ inline void update_elements(const Entry& e, int64_t first, const Step& step, float scale) {
  using Elements = Pack<float, N>;
  const auto at = [&](auto* data) -> auto& { return *reinterpret_cast<Elements*>(data + first); };
  Elements p = at(e.p);
  if (e.gradient) {
    const Elements g = *reinterpret_cast<const Elements*>(e.gradient + first);
    Elements m = at(e.m), v = at(e.v);
    for (int k = 0; k < N; ++k) step.update(p.at[k], m.at[k], v.at[k], g.at[k] * scale);
    at(e.p) = p, at(e.m) = m, at(e.v) = v;
  }
  if (!e.average) return;
  Elements average = at(e.average);
  for (int k = 0; k < N; ++k) average.at[k] = step.averaged(average.at[k], p.at[k]);
  at(e.average) = average;
}

static __global__ void update_chunks(const Entry* entries, const Chunk* chunks, Step step, const double* numbers,
                                     int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    if (!std::isfinite(numbers[i])) return;
  const float scale = step.scale(numbers[0]);
  const Chunk chunk = chunks[blockIdx.x];
  const Entry e = entries[chunk.entry];
  const bool whole_packs = packed(e.p) && packed(e.m) && packed(e.v) && packed(e.gradient) && packed(e.average);
  const int64_t begin = chunk.part * chunk_size, end = std::min(begin + chunk_size, e.count);
  for (int64_t first = begin + threadIdx.x * pack; first < end; first += loop_threads * pack) {
    if (whole_packs && first + pack <= end)
      update_elements<pack>(e, first, step, scale);
    else
      for (int64_t i = first; i < std::min(first + pack, end); ++i) update_elements<1>(e, i, step, scale);
  }
}

void gradient_norm(const Tensor& norm, const OptimizerTensors& tensors) {
  const Device device = norm.device();
  const Prepared& tables = prepared(tensors, device);
  if (tables.grid().x == 0) return kernels::fill.on(device)(norm, 0);
  launch("gradient_norm", norm_of_chunks, tables.grid(), loop_threads, 0, stream(device), tables.entries(), tables.chunks(),
         tables.sums(), tables.finished(), norm.data<double>());
}

void adamw(const OptimizerTensors& tensors, const AdamWStep& step, const Tensor& numbers) {
  RELUME_BUG(step.step >= 1, "AdamW step ", step.step);
  const Device device = numbers.device();
  const Prepared& tables = prepared(tensors, device);
  if (tables.grid().x == 0) return;
  launch("adamw", update_chunks, tables.grid(), loop_threads, 0, stream(device), tables.entries(), tables.chunks(), Step(step),
         numbers.data<double>(), numbers.numel());
}

}  // namespace

void register_optimizer_kernels() {
  kernels::gradient_norm.set(DeviceKind::cuda, gradient_norm);
  kernels::adamw.set(DeviceKind::cuda, adamw);
}

}  // namespace relume::cuda
