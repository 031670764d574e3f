#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <sstream>
#include <vector>

#include "tests/cuda_sim/fake_runtime.h"
#include "tests/cuda_sim/fiber.h"
#include "tests/cuda_sim/sim.h"

namespace relume::sim {
namespace {

constexpr size_t stack_bytes = 256 << 10;
constexpr int warp = 32;

enum class State : uint8_t { ready, at_barrier, at_meeting, at_grid_barrier, done };

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
  const uint32_t* counter = nullptr;  // of the grid's barrier
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
  size_t bytes() const { return bytes_; }
  void fill(uint32_t pattern) const { fill_bytes(memory_, bytes_, pattern); }

 private:
  size_t bytes_;
  void* memory_ = nullptr;
};

// The shared memory and the threads of a block, until it ends.
struct Block {
  std::vector<Thread> threads;
  std::unique_ptr<SharedBlock> dynamic;
  std::map<const void*, std::unique_ptr<SharedBlock>> statics;
  bool all(State state) const {
    return std::ranges::all_of(threads, [&](const Thread& t) { return t.state == state; });
  }
};

std::vector<const Thread*> threads_of(std::span<const Block> blocks) {
  std::vector<const Thread*> threads;
  for (const Block& block : blocks)
    for (const Thread& t : block.threads) threads.push_back(&t);
  return threads;
}

// What is launched.
struct Grid {
  const char* name;
  dim3 blocks, threads;
  size_t shared_bytes;
  size_t count() const { return size_t(blocks.x) * blocks.y * blocks.z; }
  size_t threads_of_block() const { return size_t(threads.x) * threads.y * threads.z; }
};

class Machine {
 public:
  void launch(const Grid& grid, const std::function<void()>& kernel);
  void launch_cooperative(const Grid& grid, const std::function<void()>& kernel);
  Thread& running() { return *running_; }
  bool is_cooperative() const { return cooperative_; }
  void* dynamic_memory() { return block_->dynamic->data(); }
  void* static_memory(const void* key, size_t bytes, size_t alignment);
  bool is_shared(const void* from, size_t bytes) const;
  void wait(State state) {
    running_->state = state;
    running_->fiber->pause();
  }
  // Notes what the running thread did wrong. It must pause then, with nothing left to destroy: it is never taken up again.
  void report(const std::string& what);

 private:
  void check(const Grid& grid);
  void begin(Block& block, const Grid& grid, size_t number) const;
  void run_block(Block& block, const std::function<void()>& kernel);
  bool release_grid(std::vector<Block>& blocks);
  void run_thread(Thread& thread, const std::function<void()>& kernel);
  bool release(std::vector<Thread>& threads) const;
  bool release_barrier(std::vector<Thread>& threads) const;
  bool release_meeting(std::vector<Thread>& threads, size_t first) const;
  [[noreturn]] void stuck(const std::vector<const Thread*>& threads);
  [[noreturn]] void give_up(const std::string& why);
  std::vector<size_t> ordered(size_t count, uint32_t salt) const;
  std::string name_of(const Thread& t) const;

  const char* name_ = "";
  bool cooperative_ = false;
  std::vector<std::unique_ptr<Fiber>> fibers_, idle_;
  Block* block_ = nullptr;  // of the running thread
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
  std::unique_ptr<SharedBlock>& memory = block_->statics[key];
  if (!memory) {
    memory = std::make_unique<SharedBlock>(bytes, alignment);
    memory->fill(settings().pattern);
  }
  return memory->data();
}

bool Machine::is_shared(const void* from, size_t bytes) const {
  return block_->dynamic->has(from, bytes) ||
         std::ranges::any_of(block_->statics, [&](const auto& s) { return s.second->has(from, bytes); });
}

void Machine::check(const Grid& grid) {
  const std::string name = name_ = grid.name;
  const size_t threads = grid.threads_of_block();
  if (threads == 0 || threads > 1024 || grid.threads.z > 64) throw Violation(name + ": blocks of 1 to 1024 threads");
  if (grid.count() == 0 || grid.blocks.x > 0x7fffffffu || grid.blocks.y > 65535 || grid.blocks.z > 65535)
    throw Violation(name + ": the grid is empty or too large");
  if (const int most = shared_bytes_per_block(); grid.shared_bytes > size_t(most))
    throw Violation(name + ": more than " + std::to_string(most >> 10) + " KB of shared memory");
}

// Shared memory of an earlier block is used again, filled anew.
void Machine::begin(Block& block, const Grid& grid, size_t number) const {
  const auto position = [](size_t n, dim3 size) {
    return uint3{unsigned(n % size.x), unsigned(n / size.x % size.y), unsigned(n / size.x / size.y)};
  };
  block.threads.assign(grid.threads_of_block(), Thread());
  for (size_t t = 0; t < block.threads.size(); ++t)
    block.threads[t].indices = {position(t, grid.threads), position(number, grid.blocks), grid.threads, grid.blocks};
  if (!block.dynamic) block.dynamic = std::make_unique<SharedBlock>(grid.shared_bytes, 16);
  block.dynamic->fill(settings().pattern);
  for (const auto& [key, memory] : block.statics) memory->fill(settings().pattern);
}

void Machine::launch(const Grid& grid, const std::function<void()>& kernel) {
  check(grid);
  const DeviceMemoryOpen open;
  cooperative_ = false;
  ++counts().launches;
  Block block;
  for (const size_t b : ordered(grid.count(), 1)) {
    begin(block, grid, b);
    ++counts().blocks;
    run_block(block, kernel);
  }
}

void Machine::launch_cooperative(const Grid& grid, const std::function<void()>& kernel) {
  check(grid);
  const size_t threads = grid.threads_of_block();
  const auto check_room = [&](size_t shared_bytes) {
    const size_t most = size_t(blocks_at_once(threads, shared_bytes));
    if (grid.count() <= most) return;
    throw Violation(std::string(grid.name) + ": a cooperative launch of " + std::to_string(grid.count()) +
                    " blocks, of which " + std::to_string(most) + " run at once");
  };
  check_room(grid.shared_bytes);
  const DeviceMemoryOpen open;
  cooperative_ = true;
  ++counts().launches;
  counts().blocks += int64_t(grid.count());
  std::vector<Block> blocks(grid.count());
  for (size_t b = 0; b < blocks.size(); ++b) begin(blocks[b], grid, b);
  const std::vector<size_t> order = ordered(blocks.size(), 1);
  do {
    for (const size_t b : order) run_block(blocks[b], kernel);
  } while (release_grid(blocks));
  for (const Block& block : blocks)
    if (!block.all(State::done)) stuck(threads_of(blocks));
  size_t shared_bytes = grid.shared_bytes;
  for (const auto& [key, memory] : blocks[0].statics) shared_bytes += memory->bytes();
  check_room(shared_bytes);
}

// Until all threads have ended, or wait for the other blocks.
void Machine::run_block(Block& block, const std::function<void()>& kernel) {
  block_ = &block;
  const std::vector<size_t> order = ordered(block.threads.size(), 2);
  for (;;) {
    for (const size_t t : order)
      if (block.threads[t].state == State::ready) run_thread(block.threads[t], kernel);
    if (block.all(State::done) || block.all(State::at_grid_barrier)) return;
    if (!release(block.threads)) stuck(threads_of(std::span(&block, 1)));
  }
}

bool Machine::release_grid(std::vector<Block>& blocks) {
  const Thread& first = blocks[0].threads[0];
  for (const Block& block : blocks)
    for (const Thread& t : block.threads)
      if (t.state != State::at_grid_barrier || !same_place(t.place, first.place) || t.counter != first.counter) return false;
  if ((*first.counter & 0x7fffffffu) != 0)
    give_up(name_of(first) + ": the counter of the barrier of " + where(first.place) + " did not begin with 0");
  for (Block& block : blocks)
    for (Thread& t : block.threads) t.state = State::ready;
  return true;
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
  if (!broken_.empty()) give_up(std::exchange(broken_, {}));
  if (!thread.fiber->finished()) return;
  thread.state = State::done;
  const auto own = std::ranges::find_if(fibers_, [&](const auto& f) { return f.get() == thread.fiber; });
  idle_.push_back(std::move(*own));
  *own = std::move(fibers_.back());
  fibers_.pop_back();
  thread.fiber = nullptr;
}

bool Machine::release(std::vector<Thread>& threads) const {
  bool any = false;
  for (size_t first = 0; first < threads.size(); first += warp) any |= release_meeting(threads, first);
  return any || release_barrier(threads);
}

bool Machine::release_barrier(std::vector<Thread>& threads) const {
  for (const Thread& t : threads)
    if (t.state != State::at_barrier || !same_place(t.place, threads[0].place)) return false;
  for (Thread& t : threads) t.state = State::ready;
  return true;
}

// Lets the lanes of one warp go whose meetings are complete.
bool Machine::release_meeting(std::vector<Thread>& threads, size_t first) const {
  bool any = false;
  const size_t lanes = std::min<size_t>(warp, threads.size() - first);
  for (size_t l = 0; l < lanes; ++l) {
    const Thread& leader = threads[first + l];
    if (leader.state != State::at_meeting) continue;
    void* data[warp] = {};
    bool complete = true;
    for (size_t m = 0; m < warp; ++m) {
      if (!(leader.mask >> m & 1)) continue;
      const Thread* member = m < lanes ? &threads[first + m] : nullptr;
      if (member && member->state == State::at_meeting && member->mask == leader.mask && member->together == leader.together &&
          same_place(member->place, leader.place))
        data[m] = member->data;
      else
        complete = false;
    }
    if (!complete) continue;
    leader.together(data, leader.mask);
    for (size_t m = 0; m < lanes; ++m)
      if (data[m]) threads[first + m].state = State::ready;
    any = true;
  }
  return any;
}

// Nobody can go on: says who waits where.
void Machine::stuck(const std::vector<const Thread*>& threads) {
  std::map<std::string, std::pair<int, const Thread*>> groups;
  for (const Thread* t : threads) {
    std::string what = t->state == State::done              ? "ended"
                       : t->state == State::at_barrier      ? "wait at the barrier of " + where(t->place)
                       : t->state == State::at_grid_barrier ? "wait at the grid's barrier of " + where(t->place)
                                                            : "wait at the warp operation of " + where(t->place);
    auto& [count, example] = groups[what];
    ++count;
    if (!example) example = t;
  }
  std::string text;
  for (const auto& [what, group] : groups)
    text += (text.empty() ? "" : "; ") + std::to_string(group.first) + " threads " + what;
  give_up(name_of(*groups.begin()->second.second) + ": divergent barrier or warp operation: " + text);
}

// Drops the threads that have not ended.
void Machine::give_up(const std::string& why) {
  for (std::unique_ptr<Fiber>& f : fibers_) idle_.push_back(std::move(f));
  fibers_.clear();
  throw Violation(why);
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

void sync_grid(const uint32_t* counter, Place place) {
  if (!machine().is_cooperative()) break_off("the grid's barrier in a launch that is not cooperative,", place);
  machine().running().place = place, machine().running().counter = counter;
  machine().wait(State::at_grid_barrier);
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
  enqueue(stream, [=, kernel = std::move(kernel)] { machine().launch({name, grid, block, shared_bytes}, kernel); });
}

void launch_cooperative(const char* name, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                        std::function<void()> kernel) {
  enqueue(stream, [=, kernel = std::move(kernel)] { machine().launch_cooperative({name, grid, block, shared_bytes}, kernel); });
}

}  // namespace relume::sim
