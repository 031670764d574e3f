// Ends this process when another rank is lost, so that nobody waits for ever for one who cannot come.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "train/dist/communicator.h"

namespace relume {

// A thread on every rank. Each rank has a connection to rank 0, over which both sides give signs of life; rank 0 tells all who
// is lost. Lost is whose process ended without saying so, who is silent for too long (killed, stopped, cut off), and who lets
// the others wait in an operation for too long. What happens then: a message that names the rank, its process and machine, and
// exit code 1.
class Watchdog {
 public:
  // Gives what rank 0 has in `data` to all; every rank calls it.
  using Broadcast = std::function<void(void* data, size_t bytes)>;
  Watchdog(int rank, int size, const WatchdogOptions& options, const Broadcast& broadcast);
  // Says goodbye, unless an exception is on its way: then the others are to end too.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Stands around an operation in which ranks wait for each other.
  class Collective {
   public:
    Collective(Watchdog& watchdog, const char* name);
    ~Collective();
    Collective(const Collective&) = delete;
    Collective& operator=(const Collective&) = delete;

   private:
    Watchdog& watchdog_;
  };

  // What one rank is doing, as the others see it.
  struct Activity {
    std::atomic<uint64_t> entered{0};       // operations so far
    std::atomic<int64_t> waiting_since{0};  // milliseconds of a steady clock; 0: in none
    std::atomic<const char*> name{""};
  };
  Activity& activity() { return activity_; }  // for operations that no Collective stands around
  static int64_t now_ms();                    // of the clock of Activity

 private:
  class Thread;
  Activity activity_;
  std::unique_ptr<Thread> thread_;
};

}  // namespace relume
