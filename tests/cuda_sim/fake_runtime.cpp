#include "tests/cuda_sim/fake_runtime.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "tests/cuda_sim/sim.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(pointer, bytes) (void(pointer), void(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(pointer, bytes) (void(pointer), void(bytes))
#endif

namespace relume::sim {
namespace {

struct DeviceMemory {
  std::map<char*, size_t> blocks;
  size_t in_use = 0, total = size_t(16) << 30;
  int open = 0;  // how many DeviceMemoryOpen there are
  int shared_bytes = 227 << 10;
};
DeviceMemory& device() {
  static DeviceMemory d;
  return d;
}

bool on_device(const void* pointer, size_t bytes) {
  auto* p = static_cast<const char*>(pointer);
  auto after = device().blocks.upper_bound(const_cast<char*>(p));
  if (after == device().blocks.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  if (p >= begin + size) return false;
  if (p + bytes > begin + size) throw Violation("a copy reaches behind the end of its device memory");
  return true;
}

void check_copy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind != cudaMemcpyDefault && (on_device(to, bytes) != to_device || on_device(from, bytes) != from_device))
    throw Violation("a copy whose kind does not fit its pointers");
}

// Page-locked memory of the host: the device reads it when it comes to the copy, and not before.
std::map<char*, size_t>& pinned_memory() {
  static std::map<char*, size_t> all;
  return all;
}
bool is_pinned(const void* pointer) {
  auto* p = const_cast<char*>(static_cast<const char*>(pointer));
  const auto after = pinned_memory().upper_bound(p);
  return after != pinned_memory().begin() && p < std::prev(after)->first + std::prev(after)->second;
}

// What blocks of kernels may ask for, where it was set.
std::map<const void*, int>& allowed_shared_bytes() {
  static std::map<const void*, int> all;
  return all;
}

int blocks_of_multiprocessor(size_t threads, size_t shared_bytes) {
  constexpr size_t most_threads = 768, shared_memory = 228 << 10, taken_by_block = 1 << 10, most_blocks = 32;
  return int(std::min({most_threads / threads, shared_memory / (shared_bytes + taken_by_block), most_blocks}));
}

using Work = std::function<void()>;

// A stream that was created.
struct Queue {
  std::deque<Work> work;
  int64_t done = 0, asked = 0;
  void run_until(int64_t position) {
    for (; done < position; ++done) {
      const Work next = std::move(work.front());
      work.pop_front();
      next();
    }
  }
};
bool is_own(cudaStream_t stream) { return stream == cudaStreamPerThread; }
Queue& queue_of(cudaStream_t stream) { return *reinterpret_cast<Queue*>(stream); }

// A place in a queue; without one everything before it has happened.
struct Event {
  Queue* queue = nullptr;
  int64_t position = 0;
  float time = 0;
  bool pending() const { return queue && queue->done < position; }
  void wait() const {
    if (queue) queue->run_until(position);
  }
};
Event& of(cudaEvent_t event) { return *reinterpret_cast<Event*>(event); }

float& clock_of_device() {
  static float now = 0;
  return now;
}

// What a capture has recorded of the thread's stream.
struct Graph {
  std::vector<Work> work;
  bool broken = false;  // by a call that cannot be captured
};
Graph& of(cudaGraph_t graph) { return *reinterpret_cast<Graph*>(graph); }
Graph& of(cudaGraphExec_t graph) { return *reinterpret_cast<Graph*>(graph); }
std::optional<Graph>& capture() {
  static std::optional<Graph> running;
  return running;
}
bool captured(cudaStream_t stream) { return is_own(stream) && capture().has_value(); }
cudaError_t cannot_be_captured() { return capture()->broken = true, cudaErrorStreamCaptureUnsupported; }

// A copy of `bytes` that is not there before its stream comes to it.
cudaError_t copy_later(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  {
    const DeviceMemoryOpen open;
    std::memset(to, 0xff, bytes);
  }
  std::vector<char> taken;
  if (kind == cudaMemcpyHostToDevice && !is_pinned(from))
    taken.assign(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
  enqueue(stream, [=, taken = std::move(taken)] {
    const DeviceMemoryOpen open;
    std::memcpy(to, taken.empty() ? from : taken.data(), bytes);
  });
  return cudaSuccess;
}

}  // namespace

DeviceMemoryOpen::DeviceMemoryOpen() {
  if (device().open++ == 0)
    for (const auto& [begin, bytes] : device().blocks) ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
}
DeviceMemoryOpen::~DeviceMemoryOpen() {
  if (--device().open == 0)
    for (const auto& [begin, bytes] : device().blocks) ASAN_POISON_MEMORY_REGION(begin, bytes);
}

void set_device_memory(unsigned long long bytes) { device().total = bytes; }

SeenMachine& seen_machine() {
  static SeenMachine m;
  return m;
}

std::atomic<bool>& work_ends() {
  static std::atomic<bool> ends{true};
  return ends;
}

void set_shared_bytes_per_block(int bytes) { device().shared_bytes = bytes; }
int shared_bytes_per_block() { return device().shared_bytes; }

int blocks_at_once(size_t threads, size_t shared_bytes) {
  return seen_machine().cooperative ? seen_machine().multiprocessors * blocks_of_multiprocessor(threads, shared_bytes) : 0;
}

void pass_time(float milliseconds) { clock_of_device() += milliseconds; }

void enqueue(cudaStream_t stream, Work work) {
  if (captured(stream)) return capture()->work.push_back(std::move(work));
  if (is_own(stream)) return work();
  queue_of(stream).work.push_back(std::move(work));
  ++queue_of(stream).asked;
}

}  // namespace relume::sim

using namespace relume::sim;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) { return *count = int(seen_machine().gpus.size()), seen_machine().driver; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int index) {
  *properties = {};
  std::strcpy(properties->name, "simulated GPU");
  std::tie(properties->major, properties->minor) = seen_machine().gpus.at(size_t(index));
  properties->totalGlobalMem = device().total;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* index) { return *index = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int index) { return index < int(seen_machine().gpus.size()) ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    default: return "cudaError";
  }
}
const char* cudaGetErrorString(cudaError_t e) {
  return e == cudaErrorMemoryAllocation ? "out of memory" : "an error of the simulator";
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  if (attribute == cudaDevAttrMultiProcessorCount) return *value = seen_machine().multiprocessors, cudaSuccess;
  if (attribute == cudaDevAttrCooperativeLaunch) return *value = seen_machine().cooperative, cudaSuccess;
  if (attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin) return *value = shared_bytes_per_block(), cudaSuccess;
  return cudaErrorInvalidValue;
}
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const bool known = attribute == cudaFuncAttributeMaxDynamicSharedMemorySize;
  if (!known || value > shared_bytes_per_block()) return cudaErrorInvalidValue;
  return allowed_shared_bytes()[kernel] = value, cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads, size_t shared_bytes) {
  const auto allowed = allowed_shared_bytes().find(kernel);
  const bool may = shared_bytes <= size_t(allowed == allowed_shared_bytes().end() ? 48 << 10 : allowed->second);
  return *blocks = may ? blocks_of_multiprocessor(size_t(threads), shared_bytes) : 0, cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  *total = device().total, *free_bytes = device().total - device().in_use;
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
  if (captured(stream)) return cannot_be_captured();
  if (device().in_use + bytes > device().total) return cudaErrorMemoryAllocation;
  if (posix_memalign(pointer, 256, bytes > 0 ? bytes : 1) != 0) return cudaErrorMemoryAllocation;
  std::memset(*pointer, 0xa5, bytes);
  device().blocks[static_cast<char*>(*pointer)] = bytes;
  device().in_use += bytes;
  if (device().open == 0) ASAN_POISON_MEMORY_REGION(*pointer, bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  if (captured(stream)) return cannot_be_captured();
  const auto found = device().blocks.find(static_cast<char*>(pointer));
  if (found == device().blocks.end()) return cudaErrorInvalidValue;
  ASAN_UNPOISON_MEMORY_REGION(pointer, found->second);
  device().in_use -= found->second;
  device().blocks.erase(found);
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) { return *pool = nullptr, cudaSuccess; }
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  if (posix_memalign(pointer, 4096, bytes > 0 ? bytes : 1) != 0) return cudaErrorMemoryAllocation;
  pinned_memory()[static_cast<char*>(*pointer)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  if (pinned_memory().erase(static_cast<char*>(pointer)) == 0) return cudaErrorInvalidValue;
  return std::free(pointer), cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  check_copy(to, from, bytes, kind);
  if (captured(stream) && kind != cudaMemcpyDeviceToDevice) return cannot_be_captured();
  if (!is_own(stream)) return copy_later(to, from, bytes, kind, stream);
  enqueue(stream, [=] {
    const DeviceMemoryOpen open;
    std::memcpy(to, from, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return cudaErrorInvalidPitchValue;
  for (size_t row = 0; row < height; ++row)
    check_copy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width, kind);
  enqueue(stream, [=] {
    const DeviceMemoryOpen open;
    for (size_t row = 0; row < height; ++row)
      std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
  });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (!on_device(to, bytes)) throw Violation("cudaMemsetAsync on memory of the host");
  enqueue(stream, [=] {
    const DeviceMemoryOpen open;
    std::memset(to, value, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return *stream = reinterpret_cast<cudaStream_t>(new Queue), cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  queue_of(stream).run_until(queue_of(stream).asked);
  return delete &queue_of(stream), cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (captured(stream)) return cannot_be_captured();
  if (!is_own(stream)) queue_of(stream).run_until(queue_of(stream).asked);
  return ++counts().host_waits, cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (captured(stream)) return cannot_be_captured();
  return of(event).wait(), cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return *event = reinterpret_cast<cudaEvent_t>(new Event), cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete &of(event), cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (captured(stream)) return cannot_be_captured();
  of(event) = is_own(stream) ? Event{.time = clock_of_device()} : Event{&queue_of(stream), queue_of(stream).asked};
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return of(event).pending() || !work_ends() ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  of(event).wait();
  return ++counts().host_waits, cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  return *milliseconds = of(to).time - of(from).time, cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!is_own(stream) || capture()) return cudaErrorInvalidValue;
  return capture().emplace(), cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return *status = captured(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone, cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!captured(stream)) return cudaErrorInvalidValue;
  const bool broken = capture()->broken;
  *graph = broken ? nullptr : reinterpret_cast<cudaGraph_t>(new Graph(std::move(*capture())));
  capture().reset();
  return broken ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return *executable = reinterpret_cast<cudaGraphExec_t>(new Graph(of(graph))), cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  for (const Work& work : of(graph).work) enqueue(stream, work);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete &of(graph), cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) { return delete &of(graph), cudaSuccess; }

}  // extern "C"
