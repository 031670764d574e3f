#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <sstream>
#include <vector>

#include "tests/cuda_sim/fake_runtime.h"
#include "tests/cuda_sim/fiber.h"
#include "tests/cuda_sim/sim.h"

namespace relume::sim {
namespace {

constexpr size_t stack_bytes = 256 << 10;
constexpr int warp = 32;

enum class State : uint8_t { ready, at_barrier, at_meeting, done };

// An asynchronous copy that is under way.
struct Copy {
  void* to;
  const void* from;
  int64_t group;
};

struct Thread {
  Indices indices;
  State state = State::ready;
  Fiber* fiber = nullptr;
  void* data = nullptr;  // what it brought to a meeting
  uint32_t mask = 0;
  Together together = nullptr;
  Place place;
  std::vector<Copy> copies;
  int64_t group = 0;  // of copies that is not committed yet
};

std::string where(const Place& place) {
  std::ostringstream out;
  out << place.file_name() << ":" << place.line();
  return out.str();
}

bool same_place(const Place& a, const Place& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

void fill_bytes(void* to, size_t bytes, uint32_t pattern) {
  for (size_t i = 0; i < bytes; ++i) static_cast<unsigned char*>(to)[i] = static_cast<unsigned char>(pattern >> i % 4 * 8);
}

// One shared variable of a kernel, or all of its dynamic shared memory: a block of its own, so that the sanitizer guards its
// ends.
class SharedBlock {
 public:
  SharedBlock(size_t bytes, size_t alignment) : bytes_(bytes) {
    if (posix_memalign(&memory_, std::max(alignment, sizeof(void*)), std::max<size_t>(1, bytes)) != 0) throw std::bad_alloc();
  }
  ~SharedBlock() { std::free(memory_); }
  SharedBlock(const SharedBlock&) = delete;
  SharedBlock& operator=(const SharedBlock&) = delete;
  void* data() const { return memory_; }
  bool has(const void* from, size_t bytes) const {
    const auto begin = reinterpret_cast<uintptr_t>(memory_), at = reinterpret_cast<uintptr_t>(from);
    return at >= begin && at + bytes <= begin + bytes_;
  }
  void fill(uint32_t pattern) const { fill_bytes(memory_, bytes_, pattern); }

 private:
  size_t bytes_;
  void* memory_ = nullptr;
};

class Machine {
 public:
  void launch(const char* name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel);
  Thread& running() { return *running_; }
  void* dynamic_memory() { return dynamic_->data(); }
  void* static_memory(const void* key, size_t bytes, size_t alignment);
  bool is_shared(const void* from, size_t bytes) const;
  void wait(State state) {
    running_->state = state;
    running_->fiber->pause();
  }
  // Notes what the running thread did wrong. It must pause then, with nothing left to destroy: it is never taken up again.
  void report(const std::string& what);

 private:
  void run_block(const std::function<void()>& kernel);
  void run_thread(Thread& thread, const std::function<void()>& kernel);
  bool release();
  bool release_barrier();
  bool release_meeting(size_t first);
  [[noreturn]] void stuck();
  std::vector<size_t> ordered(size_t count, uint32_t salt) const;
  std::string name_of(const Thread& t) const;

  const char* name_ = "";
  std::vector<Thread> threads_;
  std::vector<std::unique_ptr<Fiber>> fibers_, idle_;
  std::unique_ptr<SharedBlock> dynamic_;
  std::map<const void*, std::unique_ptr<SharedBlock>> statics_;
  Thread* running_ = nullptr;
  std::string broken_;
};

Machine& machine() {
  static Machine m;
  return m;
}

std::string Machine::name_of(const Thread& t) const {
  std::ostringstream out;
  out << name_ << ", block (" << t.indices.block.x << "," << t.indices.block.y << "," << t.indices.block.z << "), thread ("
      << t.indices.thread.x << "," << t.indices.thread.y << "," << t.indices.thread.z << ")";
  return out.str();
}

void Machine::report(const std::string& what) { broken_ = name_of(*running_) + ": " + what; }

std::vector<size_t> Machine::ordered(size_t count, uint32_t salt) const {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t(0));
  if (settings().order == Order::backward) std::ranges::reverse(order);
  if (settings().order == Order::shuffled) std::shuffle(order.begin(), order.end(), std::mt19937(salt));
  return order;
}

void* Machine::static_memory(const void* key, size_t bytes, size_t alignment) {
  std::unique_ptr<SharedBlock>& block = statics_[key];
  if (!block) {
    block = std::make_unique<SharedBlock>(bytes, alignment);
    block->fill(settings().pattern);
  }
  return block->data();
}

bool Machine::is_shared(const void* from, size_t bytes) const {
  return dynamic_->has(from, bytes) || std::ranges::any_of(statics_, [&](const auto& s) { return s.second->has(from, bytes); });
}

void Machine::launch(const char* name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel) {
  name_ = name;
  const size_t count = size_t(block.x) * block.y * block.z, blocks = size_t(grid.x) * grid.y * grid.z;
  if (count == 0 || count > 1024 || block.z > 64) throw Violation(std::string(name) + ": blocks of 1 to 1024 threads");
  if (blocks == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    throw Violation(std::string(name) + ": the grid is empty or too large");
  if (const int most = shared_bytes_per_block(); shared_bytes > size_t(most))
    throw Violation(std::string(name) + ": more than " + std::to_string(most >> 10) + " KB of shared memory");
  const DeviceMemoryOpen open;
  dynamic_ = std::make_unique<SharedBlock>(shared_bytes, 16);
  statics_.clear();
  ++counts().launches;
  for (const size_t b : ordered(blocks, 1)) {
    const uint3 at{unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / grid.x / grid.y)};
    threads_.assign(count, Thread());
    for (size_t t = 0; t < count; ++t)
      threads_[t].indices = {
          {unsigned(t % block.x), unsigned(t / block.x % block.y), unsigned(t / block.x / block.y)}, at, block, grid};
    dynamic_->fill(settings().pattern);
    for (const auto& [key, memory] : statics_) memory->fill(settings().pattern);
    run_block(kernel);
  }
}

void Machine::run_block(const std::function<void()>& kernel) {
  ++counts().blocks;
  const std::vector<size_t> order = ordered(threads_.size(), 2);
  for (;;) {
    for (const size_t t : order)
      if (threads_[t].state == State::ready) run_thread(threads_[t], kernel);
    if (std::ranges::all_of(threads_, [](const Thread& t) { return t.state == State::done; })) return;
    if (!release()) stuck();
  }
}

void Machine::run_thread(Thread& thread, const std::function<void()>& kernel) {
  if (!thread.fiber) {
    if (idle_.empty()) idle_.push_back(std::make_unique<Fiber>(stack_bytes));
    fibers_.push_back(std::move(idle_.back()));
    idle_.pop_back();
    thread.fiber = fibers_.back().get();
    thread.fiber->start(kernel);
  }
  running_ = &thread;
  ++counts().switches;
  thread.fiber->resume();
  if (thread.fiber->finished() && !thread.copies.empty()) report("ends with asynchronous copies that it did not wait for");
  if (!broken_.empty()) {
    for (std::unique_ptr<Fiber>& f : fibers_) idle_.push_back(std::move(f));
    fibers_.clear();
    throw Violation(std::exchange(broken_, {}));
  }
  if (!thread.fiber->finished()) return;
  thread.state = State::done;
  const auto own = std::ranges::find_if(fibers_, [&](const auto& f) { return f.get() == thread.fiber; });
  idle_.push_back(std::move(*own));
  *own = std::move(fibers_.back());
  fibers_.pop_back();
  thread.fiber = nullptr;
}

bool Machine::release() {
  bool any = false;
  for (size_t first = 0; first < threads_.size(); first += warp) any |= release_meeting(first);
  return any || release_barrier();
}

bool Machine::release_barrier() {
  for (const Thread& t : threads_)
    if (t.state != State::at_barrier || !same_place(t.place, threads_[0].place)) return false;
  for (Thread& t : threads_) t.state = State::ready;
  return true;
}

// Lets the lanes of one warp go whose meetings are complete.
bool Machine::release_meeting(size_t first) {
  bool any = false;
  const size_t lanes = std::min<size_t>(warp, threads_.size() - first);
  for (size_t l = 0; l < lanes; ++l) {
    const Thread& leader = threads_[first + l];
    if (leader.state != State::at_meeting) continue;
    void* data[warp] = {};
    bool complete = true;
    for (size_t m = 0; m < warp; ++m) {
      if (!(leader.mask >> m & 1)) continue;
      const Thread* member = m < lanes ? &threads_[first + m] : nullptr;
      if (member && member->state == State::at_meeting && member->mask == leader.mask && member->together == leader.together &&
          same_place(member->place, leader.place))
        data[m] = member->data;
      else
        complete = false;
    }
    if (!complete) continue;
    leader.together(data, leader.mask);
    for (size_t m = 0; m < lanes; ++m)
      if (data[m]) threads_[first + m].state = State::ready;
    any = true;
  }
  return any;
}

// Nobody can go on: says who waits where.
void Machine::stuck() {
  std::map<std::string, std::pair<int, const Thread*>> groups;
  for (const Thread& t : threads_) {
    std::string what = t.state == State::done         ? "ended"
                       : t.state == State::at_barrier ? "wait at the barrier of " + where(t.place)
                                                      : "wait at the warp operation of " + where(t.place);
    auto& [count, example] = groups[what];
    ++count;
    if (!example) example = &t;
  }
  std::string text;
  for (const auto& [what, group] : groups)
    text += (text.empty() ? "" : "; ") + std::to_string(group.first) + " threads " + what;
  const std::string message = name_of(*groups.begin()->second.second) + ": divergent barrier or warp operation: " + text;
  for (std::unique_ptr<Fiber>& f : fibers_) idle_.push_back(std::move(f));
  fibers_.clear();
  throw Violation(message);
}

// Ends the run: the thread is never taken up again.
void break_off(const char* what, const Place& place) {
  machine().report(what + (" at " + where(place)));
  machine().wait(State::at_barrier);
}

}  // namespace

Settings& settings() {
  static Settings s;
  return s;
}

Counts& counts() {
  static Counts c;
  return c;
}

const Indices& indices() { return machine().running().indices; }
int lane() {
  const uint3 t = indices().thread;
  const dim3 size = indices().block_size;
  return int((t.x + size.x * (t.y + size.y * t.z)) % warp);
}
void* dynamic_shared_memory() { return machine().dynamic_memory(); }
void* static_shared_memory(const void* key, size_t bytes, size_t alignment) {
  return machine().static_memory(key, bytes, alignment);
}

void sync_block(Place place) {
  machine().running().place = place;
  machine().wait(State::at_barrier);
}

void meet(uint32_t mask, void* data, Together together, Place place) {
  Thread& self = machine().running();
  if (!(mask >> lane() & 1)) machine().report("the calling lane is not in the mask of the warp operation at " + where(place));
  self.mask = mask, self.data = data, self.together = together, self.place = place;
  machine().wait(State::at_meeting);
}

void check_shared_row(const void* row, const char* misplaced, const Place& place) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0 || !machine().is_shared(row, 16)) break_off(misplaced, place);
}

void cp_async(void* to, const void* from, Place place) {
  check_shared_row(to, "cp_async to what is not 16 bytes of shared memory, on their boundary,", place);
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) break_off("cp_async from what is not on a boundary of 16 bytes", place);
  fill_bytes(to, 16, settings().pattern);
  machine().running().copies.push_back({to, from, machine().running().group});
}

void cp_async_commit() { ++machine().running().group; }

void cp_async_wait(int groups_left) {
  Thread& self = machine().running();
  std::erase_if(self.copies, [&](const Copy& copy) {
    if (copy.group >= self.group - groups_left) return false;
    copy.from ? void(std::memcpy(copy.to, copy.from, 16)) : void(std::memset(copy.to, 0, 16));
    return true;
  });
}

void launch(const char* name, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::function<void()> kernel) {
  enqueue(stream, [=, kernel = std::move(kernel)] { machine().launch(name, grid, block, shared_bytes, kernel); });
}

}  // namespace relume::sim
