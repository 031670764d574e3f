#include "train/dist/watchdog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <optional>
#include <random>
#include <vector>

#include "base/error.h"

namespace relume {
namespace {

using std::chrono::milliseconds;

constexpr size_t name_bytes = 64;

// Where rank 0 listens, and a word that its visitors must know.
struct Meeting {
  char host[name_bytes] = {};
  uint16_t port = 0;
  uint64_t token = 0;
};

enum class Kind : uint32_t { hello, alive, lost, goodbye };
struct Message {
  Kind kind = Kind::alive;
  int32_t rank = 0;  // of the sender; in `lost` of the lost one
  uint64_t token = 0;
  uint64_t entered = 0;     // operations
  int64_t waiting_ms = -1;  // in the present one; -1: in none
  int32_t process = 0;
  char host[name_bytes] = {};
  char reason[128] = {};
};

template <size_t n> void put_text(char (&to)[n], const std::string& text) {
  std::memset(to, 0, n);
  std::memcpy(to, text.data(), std::min(text.size(), n - 1));
}

std::string host_name() {
  char name[name_bytes] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

// A connection that carries whole messages; it never blocks for longer than a moment.
class Connection {
 public:
  explicit Connection(int descriptor) : descriptor_(descriptor) {
    const int on = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  }
  ~Connection() { close(descriptor_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int descriptor() const { return descriptor_; }
  bool closed() const { return closed_; }
  // What does not fit into the socket's buffer is dropped with the connection: the other side has not read for minutes.
  void send(const Message& m) {
    if (!closed_ && ::send(descriptor_, &m, sizeof m, MSG_NOSIGNAL) != ssize_t(sizeof m)) closed_ = true;
  }
  std::optional<Message> receive() {
    while (!closed_ && filled_ < sizeof(Message)) {
      const ssize_t got = recv(descriptor_, buffer_ + filled_, sizeof(Message) - filled_, 0);
      if (got > 0)
        filled_ += size_t(got);
      else if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return {};
      else
        closed_ = true;
    }
    if (filled_ < sizeof(Message)) return {};
    Message m;
    std::memcpy(&m, buffer_, sizeof m);
    filled_ = 0;
    return m;
  }

 private:
  int descriptor_;
  bool closed_ = false;
  char buffer_[sizeof(Message)] = {};
  size_t filled_ = 0;
};

int listen_anywhere(uint16_t& port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_ANY)}, .sin_zero = {}};
  socklen_t length = sizeof address;
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(listener, 1024) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0)
    throw Error(std::string("watchdog: cannot listen: ") + std::strerror(errno));
  port = ntohs(address.sin_port);
  return listener;
}

int connect_to(const Meeting& meeting) {
  const std::string host = host_name() == meeting.host ? "127.0.0.1" : meeting.host;
  addrinfo wanted{}, *found = nullptr;
  wanted.ai_family = AF_INET, wanted.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host.c_str(), std::to_string(meeting.port).c_str(), &wanted, &found) != 0 || !found)
    throw Error("watchdog: the machine of rank 0, " + host + ", has no address here");
  const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = s >= 0 && connect(s, found->ai_addr, found->ai_addrlen) == 0;
  freeaddrinfo(found);
  if (!connected) throw Error("watchdog: cannot reach rank 0 at " + host + ": " + std::strerror(errno));
  return s;
}

}  // namespace

// ---- The thread ------------------------------------------------------------------------------------------------------------

class Watchdog::Thread {
 public:
  Thread(int rank, int size, const WatchdogOptions& options, const Broadcast& broadcast, const Activity& activity)
      : rank_(rank), size_(size), options_(options), activity_(activity), peers_(rank == 0 ? size_t(size) : 1) {
    if (rank_ == 0) {
      listener_ = listen_anywhere(meeting_.port);
      put_text(meeting_.host, host_name());
      std::random_device random;
      meeting_.token = uint64_t(random()) << 32 | random();
    }
    broadcast(&meeting_, sizeof meeting_);
    const int64_t start = now_ms();
    for (Peer& p : peers_) p.seen = start;
    if (rank_ != 0) {
      peers_[0].connection = std::make_unique<Connection>(connect_to(meeting_));
      peers_[0].connection->send(message(Kind::hello));
    }
    thread_ = std::thread([this] { watch(); });
  }
  ~Thread() {
    ending_ = true;
    thread_.join();
    if (std::uncaught_exceptions() == 0) part();
    if (listener_ >= 0) close(listener_);
  }

 private:
  struct Peer {
    std::unique_ptr<Connection> connection;
    int64_t seen = 0;   // the last sign of life
    bool gone = false;  // said goodbye
    Message last;
  };

  Message message(Kind kind) const {
    const int64_t since = activity_.waiting_since;
    Message m{.kind = kind,
              .rank = rank_,
              .token = meeting_.token,
              .entered = activity_.entered,
              .waiting_ms = since == 0 ? -1 : now_ms() - since,
              .process = int32_t(getpid())};
    put_text(m.host, host_name());
    return m;
  }

  void watch() {
    int64_t sent = 0;
    while (!ending_) {
      wait_for_news();
      receive();
      if (now_ms() - sent >= options_.heartbeat.count()) {
        for (const Peer& p : peers_)
          if (p.connection && !p.gone) p.connection->send(message(Kind::alive));
        sent = now_ms();
      }
      for (size_t i = rank_ == 0 ? 1 : 0; i < peers_.size(); ++i) judge(i);
      if (rank_ == 0) judge_waiting();
    }
  }

  // Both sides wait for the other's goodbye: to close a connection with something unread in it would destroy what was said
  // last.
  void part() {
    for (const Peer& p : peers_)
      if (p.connection) p.connection->send(message(Kind::goodbye));
    const int64_t start = now_ms();
    const auto parted = [](const Peer& p) { return !p.connection || p.gone || p.connection->closed(); };
    while (!std::ranges::all_of(peers_, parted) && now_ms() - start < options_.silence.count()) wait_for_news(), receive();
  }

  void wait_for_news() {
    std::vector<pollfd> sockets;
    if (listener_ >= 0) sockets.push_back({listener_, POLLIN, 0});
    for (const Connection* c : visitors()) sockets.push_back({c->descriptor(), POLLIN, 0});
    for (const Peer& p : peers_)
      if (p.connection && !p.connection->closed()) sockets.push_back({p.connection->descriptor(), POLLIN, 0});
    poll(sockets.data(), nfds_t(sockets.size()), int(std::clamp<int64_t>(options_.heartbeat.count() / 4, 10, 100)));
    if (listener_ >= 0 && sockets[0].revents & POLLIN)
      if (const int s = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC); s >= 0)
        visitors_.push_back(std::make_unique<Connection>(s));
  }

  void receive() {
    std::erase_if(visitors_, [&](std::unique_ptr<Connection>& visitor) {
      const std::optional<Message> m = visitor->receive();
      if (!m) return visitor->closed();
      if (m->kind == Kind::hello && m->token == meeting_.token && m->rank > 0 && m->rank < size_) {
        Peer& p = peers_[size_t(m->rank)];
        p.connection = std::move(visitor), p.seen = now_ms(), p.last = *m;
      }
      return true;  // whoever does not know the word is sent away
    });
    for (Peer& p : peers_)
      while (p.connection) {
        const std::optional<Message> m = p.connection->receive();
        if (!m) break;
        if (m->kind == Kind::lost) end(m->rank, *m, m->reason);
        p.seen = now_ms(), p.last = *m;
        if (m->kind == Kind::goodbye) p.gone = true;
      }
  }

  void judge(size_t i) {
    const Peer& p = peers_[i];
    if (p.gone) return;
    const int64_t silent = now_ms() - p.seen;
    if (p.connection && p.connection->closed())
      lost(int(i), p.last, "its process ended");
    else if (silent > options_.silence.count())
      lost(int(i), p.last, "no sign of life for " + seconds(silent));
  }

  // Somebody waits for too long: lost is who has entered the fewest operations.
  void judge_waiting() {
    Message own = message(Kind::alive);
    const Message *behind = &own, *waiting = &own;
    for (const Peer& p : peers_) {
      if (!p.connection || p.gone) continue;
      if (p.last.entered < behind->entered) behind = &p.last;
      if (p.last.waiting_ms > waiting->waiting_ms) waiting = &p.last;
    }
    if (waiting->waiting_ms > options_.collective.count() && behind->entered < waiting->entered)
      lost(behind->rank, *behind,
           "rank " + std::to_string(waiting->rank) + " has waited for it for " + seconds(waiting->waiting_ms));
  }

  static std::string seconds(int64_t ms) { return std::to_string((ms + 500) / 1000) + " s"; }

  [[noreturn]] void lost(int rank, const Message& who, const std::string& reason) {
    Message m = who;
    m.kind = Kind::lost, m.rank = rank;
    put_text(m.reason, reason);
    if (rank_ == 0)
      for (const Peer& p : peers_)
        if (p.connection && !p.gone) p.connection->send(m);
    end(rank, m, reason);
  }

  [[noreturn]] void end(int rank, const Message& who, const std::string& reason) {
    std::string text = "relume: rank " + std::to_string(rank);
    if (who.process > 0) text += " (process " + std::to_string(who.process) + " on " + who.host + ")";
    text += " is lost: " + reason + "; rank " + std::to_string(rank_) +
            " ends too. Go on from the last saved state with --resume auto\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    _exit(1);
  }

  std::vector<const Connection*> visitors() const {
    std::vector<const Connection*> all;
    for (const auto& v : visitors_) all.push_back(v.get());
    return all;
  }

  int rank_, size_;
  WatchdogOptions options_;
  const Activity& activity_;
  Meeting meeting_;
  int listener_ = -1;
  std::vector<Peer> peers_;                            // rank 0: of every rank; others: rank 0 alone
  std::vector<std::unique_ptr<Connection>> visitors_;  // that have not said who they are
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

Watchdog::Watchdog(int rank, int size, const WatchdogOptions& options, const Broadcast& broadcast)
    : thread_(std::make_unique<Thread>(rank, size, options, broadcast, activity_)) {}
Watchdog::~Watchdog() = default;

int64_t Watchdog::now_ms() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Watchdog::Collective::Collective(Watchdog& watchdog, const char* name) : watchdog_(watchdog) {
  watchdog_.activity_.name = name;
  watchdog_.activity_.waiting_since = now_ms();
  ++watchdog_.activity_.entered;
}
Watchdog::Collective::~Collective() { watchdog_.activity_.waiting_since = 0; }

}  // namespace relume
