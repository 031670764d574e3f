// Batches go through page-locked memory, which the device reads by itself, on a stream of their own: a copy runs beside the
// kernels. Two events order them: the copy begins when the memory it goes to is there, kernels that use it when it is done.
#include "tensor/core/uploads.h"

#include <array>
#include <cstring>
#include <utility>

#include "tensor/cuda/context.h"
#include "tensor/cuda/families.h"
#include "tensor/kernels/memory.h"

namespace relume::cuda {
namespace {

class Event {
 public:
  Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreateWithFlags"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t on) { check(cudaEventRecord(event_, on), "cudaEventRecord"); }
  // What is asked of the stream from here on comes after what was recorded.
  void hold_back(cudaStream_t s) const { check(cudaStreamWaitEvent(s, event_, 0), "cudaStreamWaitEvent"); }
  void wait() const {
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaErrorNotReady) return wait_for(event_);
    check(state, "cudaEventQuery");
  }

 private:
  cudaEvent_t event_ = nullptr;
};

class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// Page-locked memory of the host that grows.
class Pinned {
 public:
  Pinned() = default;
  ~Pinned() { cudaFreeHost(memory_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

  char* of_size(size_t bytes) {
    if (bytes <= bytes_) return memory_;
    cudaFreeHost(std::exchange(memory_, nullptr));
    bytes_ = 0;
    void* pointer = nullptr;
    check(cudaHostAlloc(&pointer, bytes, cudaHostAllocDefault), "cudaHostAlloc");
    memory_ = static_cast<char*>(pointer), bytes_ = bytes;
    return memory_;
  }

 private:
  char* memory_ = nullptr;
  size_t bytes_ = 0;
};

size_t bytes_of(const Tensor& t) { return size_t(t.numel() * size_of(t.dtype())); }

class PinnedUploads final : public Uploads {
 public:
  explicit PinnedUploads(Device device) : device_(device) {}
  // Memory that a copy still goes to must not be given to others.
  ~PinnedUploads() override { cudaStreamSynchronize(copies_.get()); }

  void begin(const std::vector<Tensor>& batch) override {
    RELUME_BUG(begun_ - taken_ < most_begun, "uploads: ", most_begun, " batches are begun and none is taken");
    Slot& s = slot(begun_);
    s.copied.wait();  // the copy before the last, which is long done
    size_t bytes = 0;
    for (const Tensor& t : batch) {
      RELUME_BUG(t.is_dense() && t.device() == Device{}, "uploads: ", t, " given; expected dense tensors of the cpu");
      bytes += bytes_of(t);
    }
    char* from = s.pinned.of_size(bytes);
    s.batch.clear();
    for (const Tensor& t : batch) s.batch.push_back(Tensor::empty(t.shape(), t.dtype(), device_));
    allocated_.record(stream(device_));
    allocated_.hold_back(copies_.get());
    for (size_t i = 0; i < batch.size(); from += bytes_of(batch[i++])) {
      if (batch[i].numel() == 0) continue;
      std::memcpy(from, batch[i].raw(), bytes_of(batch[i]));
      check(cudaMemcpyAsync(s.batch[i].raw(), from, bytes_of(batch[i]), cudaMemcpyHostToDevice, copies_.get()),
            "cudaMemcpyAsync");
    }
    s.copied.record(copies_.get());
    ++begun_;
  }

  std::vector<Tensor> take() override {
    RELUME_BUG(taken_ < begun_, "uploads: no batch is begun");
    Slot& s = slot(taken_++);
    s.copied.hold_back(stream(device_));
    return std::exchange(s.batch, {});
  }

 private:
  struct Slot {
    Pinned pinned;
    Event copied;
    std::vector<Tensor> batch;
  };
  Slot& slot(int64_t number) { return slots_[size_t(number % most_begun)]; }

  Device device_;
  Stream copies_;
  Event allocated_;
  std::array<Slot, most_begun> slots_;
  int64_t begun_ = 0, taken_ = 0;
};

std::unique_ptr<Uploads> uploads(Device device) {
  stream(device);  // streams, events and page-locked memory belong to the device that is selected
  return std::make_unique<PinnedUploads>(device);
}

}  // namespace

void register_upload_kernels() { kernels::uploads.set(DeviceKind::cuda, uploads); }

}  // namespace relume::cuda
