#include "train/dist/nccl_communicator.h"

#include <nccl.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"
#include "tensor/cuda/context.h"
#include "train/dist/watchdog.h"

namespace relume {
namespace {

using std::chrono::milliseconds;

// A communicator whose calls do not block: what they begin is waited for here, no longer than `limit`. Two threads may use it.
class Handle {
 public:
  explicit Handle(milliseconds limit) : limit_(limit) {}
  ~Handle() {
    if (comm_) ncclCommAbort(comm_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  // Calls f(comm) and waits until NCCL has taken it on, not until it has run.
  template <class F> void call(const char* name, F&& f) {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty()) throw Error(std::string(name) + ": " + failure_);
    const int64_t start = Watchdog::now_ms();
    ncclResult_t result = f(comm_);
    while (result == ncclInProgress && Watchdog::now_ms() - start <= limit_.count()) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      result = state();
    }
    if (result == ncclSuccess) return;
    give_up(result == ncclInProgress ? "NCCL did not begin it in time" : text_of(result));
    throw Error(std::string(name) + ": " + failure_);
  }
  void finish() {
    call("ncclCommFinalize", [](ncclComm_t comm) { return ncclCommFinalize(comm); });
    ncclCommDestroy(std::exchange(comm_, nullptr));
  }
  // Ends what runs, when something went wrong since the last call; all later calls throw.
  void abort_if_failed() {
    const std::lock_guard lock(mutex_);
    if (const ncclResult_t result = comm_ ? state() : ncclSuccess; result != ncclSuccess && result != ncclInProgress)
      give_up(text_of(result));
  }
  void abort(const std::string& why) {
    const std::lock_guard lock(mutex_);
    if (comm_) give_up(why);
  }
  ncclComm_t* address() { return &comm_; }

 private:
  ncclResult_t state() const {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state);
    return asked == ncclSuccess ? state : asked;
  }
  std::string text_of(ncclResult_t result) const {
    const char* more = comm_ ? ncclGetLastError(comm_) : nullptr;
    return std::string(ncclGetErrorString(result)) + (more && *more ? std::string(" (") + more + ")" : "");
  }
  void give_up(const std::string& why) {
    failure_ = why;
    if (comm_) ncclCommAbort(std::exchange(comm_, nullptr));
  }

  milliseconds limit_;
  std::mutex mutex_;
  ncclComm_t comm_ = nullptr;
  std::string failure_;
};

// What is queued on the stream and has not run: told to the watchdog, and aborted when it takes too long.
class Pending {
 public:
  Pending(Handle& handle, Device device, Watchdog::Activity& activity, milliseconds limit)
      : handle_(handle), device_(device), activity_(activity), limit_(limit), thread_([this] { watch(); }) {}
  ~Pending() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_one();
    thread_.join();
    for (const Operation& o : operations_) cudaEventDestroy(o.done);
    activity_.waiting_since = 0;
  }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  void add(const char* name) {
    Operation o{.name = name, .since = Watchdog::now_ms()};
    cuda::check(cudaEventCreateWithFlags(&o.done, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    cuda::check(cudaEventRecord(o.done, cuda::stream(device_)), "cudaEventRecord");
    const std::lock_guard lock(mutex_);
    operations_.push_back(o);
    ++activity_.entered;
  }
  bool empty() {
    const std::lock_guard lock(mutex_);
    drop_done();
    return operations_.empty();
  }

 private:
  static constexpr milliseconds pause{20};
  struct Operation {
    const char* name;
    int64_t since;
    cudaEvent_t done = nullptr;
  };

  void watch() {
    cuda::stream(device_);  // selects the device for this thread
    std::unique_lock lock(mutex_);
    while (!ending_) {
      changed_.wait_for(lock, pause);
      drop_done();
      const Operation oldest = operations_.empty() ? Operation{.name = "", .since = 0} : operations_.front();
      activity_.name = oldest.name, activity_.waiting_since = oldest.since;
      lock.unlock();
      handle_.abort_if_failed();
      if (oldest.since > 0 && Watchdog::now_ms() - oldest.since > limit_.count())
        handle_.abort(std::string(oldest.name) + " did not end within " + std::to_string(limit_.count()) + " ms");
      lock.lock();
    }
  }
  void drop_done() {
    while (!operations_.empty() && cudaEventQuery(operations_.front().done) != cudaErrorNotReady) {
      cudaEventDestroy(operations_.front().done);
      operations_.pop_front();
    }
  }

  Handle& handle_;
  Device device_;
  Watchdog::Activity& activity_;
  milliseconds limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Operation> operations_;  // in the stream's order
  bool ending_ = false;
  std::thread thread_;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> launched, Device device, const WatchdogOptions& options)
      : launched_(std::move(launched)), device_(device), handle_(options.collective) {
    const auto share = [&](void* data, size_t bytes) { broadcast_bytes(data, bytes); };
    if (size() > 1) watchdog_ = std::make_unique<Watchdog>(rank(), size(), options, share);
    cuda::stream(device_);  // selects the device
    ncclUniqueId id{};
    if (rank() == 0) handle_.call("ncclGetUniqueId", [&](ncclComm_t) { return ncclGetUniqueId(&id); });
    share(&id, sizeof id);
    handle_.call("ncclCommInitRankConfig", [&](ncclComm_t) {
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      return ncclCommInitRankConfig(handle_.address(), size(), id, rank(), &config);
    });
    // The watchdog names who is late; this is for what no rank is late for.
    pending_ = std::make_unique<Pending>(handle_, device_, watchdog_ ? watchdog_->activity() : alone_,
                                         options.collective + options.silence);
  }
  ~NcclCommunicator() override {
    pending_.reset();
    if (std::uncaught_exceptions() > 0) return;  // the handle aborts: others may never come
    try {
      handle_.finish();
    } catch (const Error&) {  // it was aborted, and whoever used it last was told
    }
  }

  int rank() const override { return launched_->rank(); }
  int size() const override { return launched_->size(); }

  void broadcast(const Tensor& x, int root) override {
    RELUME_CHECK(root >= 0 && root < size(), "broadcast from rank ", root, ": there are ", size());
    queue("broadcast", x, [&](ncclComm_t comm, cudaStream_t s) {
      return ncclBroadcast(at(x), at(x), size_t(x.numel()), type_of(x), root, comm, s);
    });
  }
  void all_reduce(const Tensor& x) override {
    queue("all-reduce", x, [&](ncclComm_t comm, cudaStream_t s) {
      return ncclAllReduce(at(x), at(x), size_t(x.numel()), type_of(x), ncclSum, comm, s);
    });
  }
  void reduce_scatter(const Tensor& part, const Tensor& x) override {
    check_parts("reduce_scatter", part, x);
    queue("reduce-scatter", part, [&](ncclComm_t comm, cudaStream_t s) {
      return ncclReduceScatter(at(x), at(part), size_t(part.numel()), type_of(x), ncclSum, comm, s);
    });
  }
  void all_gather(const Tensor& x, const Tensor& part) override {
    check_parts("all_gather", part, x);
    queue("all-gather", x, [&](ncclComm_t comm, cudaStream_t s) {
      return ncclAllGather(at(part), at(x), size_t(part.numel()), type_of(x), comm, s);
    });
  }
  void barrier() override {
    all_reduce(Tensor::zeros({1}, DType::f32, device_));
    for (bool ended = false; !ended;) {
      ended = pending_->empty();
      handle_.call("barrier", [](ncclComm_t) { return ncclSuccess; });  // throws when it was aborted
      if (!ended) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

 private:
  void* at(const Tensor& t) const {
    RELUME_CHECK(t.is_dense() && t.device() == device_, "communication over NCCL: expects a dense tensor on ", device_,
                 ", got ", t);
    return t.raw();
  }
  static ncclDataType_t type_of(const Tensor& t) {
    switch (t.dtype()) {
      case DType::f32: return ncclFloat32;
      case DType::f64: return ncclFloat64;
      case DType::f16: return ncclFloat16;
      case DType::bf16: return ncclBfloat16;
      case DType::i32: return ncclInt32;
      case DType::i64: return ncclInt64;
      default: RELUME_CHECK(false, "communication over NCCL: expects f32, f64, f16, bf16, i32 or i64, got ", t);
    }
  }
  void check_parts(const char* name, const Tensor& part, const Tensor& x) const {
    RELUME_CHECK(part.dtype() == x.dtype() && part.numel() * size() == x.numel(), name, ": ", part, " is not one of ", size(),
                 " equal parts of ", x);
  }
  template <class F> void queue(const char* name, const Tensor& changed, F&& f) {
    const cudaStream_t s = cuda::stream(device_);
    handle_.call(name, [&](ncclComm_t comm) { return f(comm, s); });
    pending_->add(name);
    changed.storage()->bump_version();
  }
  // What rank 0 has in `data` to all, over the communicator that the ranks were started with.
  void broadcast_bytes(void* data, size_t bytes) const {
    const Tensor words = Tensor::zeros({int64_t(bytes + 3) / 4}, DType::i32);
    std::memcpy(words.raw(), data, bytes);
    launched_->broadcast(words, 0);
    std::memcpy(data, words.raw(), bytes);
  }

  std::unique_ptr<Communicator> launched_;
  Device device_;
  std::unique_ptr<Watchdog> watchdog_;
  Watchdog::Activity alone_;  // what a single rank does interests nobody
  Handle handle_;
  std::unique_ptr<Pending> pending_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> launched, Device device,
                                                     const WatchdogOptions& options) {
  RELUME_CHECK(device.kind == DeviceKind::cuda, "communication over NCCL: expects a GPU, got ", device);
  return std::make_unique<NcclCommunicator>(std::move(launched), device, options);
}

}  // namespace relume
