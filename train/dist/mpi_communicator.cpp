#include "train/dist/mpi_communicator.h"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <limits>

#include "base/error.h"
#include "train/dist/watchdog.h"

namespace relume {
namespace {

void check(int result, const char* call) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw Error(std::string(call) + ": " + std::string(text, size_t(length)));
}

// MPI has no 16-bit floats: they travel as pairs of bytes and are added here.
template <class T> void add_narrow(void* in, void* in_out, int* count, MPI_Datatype*) {
  const T* from = static_cast<const T*>(in);
  T* to = static_cast<T*>(in_out);
  for (int i = 0; i < *count; ++i) to[i] = T(float(from[i]) + float(to[i]));
}

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(const WatchdogOptions& options) {
    int provided = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
    check(MPI_Type_contiguous(2, MPI_BYTE, &narrow_), "MPI_Type_contiguous");
    check(MPI_Type_commit(&narrow_), "MPI_Type_commit");
    check(MPI_Op_create(add_narrow<Float16>, 1, &add_f16_), "MPI_Op_create");
    check(MPI_Op_create(add_narrow<BFloat16>, 1, &add_bf16_), "MPI_Op_create");
    watchdog_ = std::make_unique<Watchdog>(rank_, size_, options, [](void* data, size_t bytes) {
      check(MPI_Bcast(data, int(bytes), MPI_BYTE, 0, MPI_COMM_WORLD), "MPI_Bcast");
    });
  }
  ~MpiCommunicator() override {
    const bool failed = std::uncaught_exceptions() > 0;
    watchdog_.reset();
    if (failed) return;  // MPI_Finalize() would wait for the others
    MPI_Op_free(&add_f16_), MPI_Op_free(&add_bf16_), MPI_Type_free(&narrow_);
    MPI_Finalize();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void broadcast(const Tensor& x, int root) override {
    RELUME_CHECK(root >= 0 && root < size_, "broadcast from rank ", root, ": there are ", size_);
    const Watchdog::Collective collective(*watchdog_, "broadcast");
    each_piece("broadcast", x.numel(),
               [&](int64_t begin, int count) { return MPI_Bcast(at(x, begin), count, type_of(x), root, MPI_COMM_WORLD); });
  }
  void all_reduce(const Tensor& x) override {
    const Watchdog::Collective collective(*watchdog_, "all-reduce");
    each_piece("all_reduce", x.numel(), [&](int64_t begin, int count) {
      return MPI_Allreduce(MPI_IN_PLACE, at(x, begin), count, type_of(x), sum_of(x), MPI_COMM_WORLD);
    });
  }
  void reduce_scatter(const Tensor& part, const Tensor& x) override {
    check_parts("reduce_scatter", part, x);
    const Watchdog::Collective collective(*watchdog_, "reduce-scatter");
    check(MPI_Reduce_scatter_block(at(x, 0), at(part, 0), one_piece(part), type_of(x), sum_of(x), MPI_COMM_WORLD),
          "MPI_Reduce_scatter_block");
  }
  void all_gather(const Tensor& x, const Tensor& part) override {
    check_parts("all_gather", part, x);
    const Watchdog::Collective collective(*watchdog_, "all-gather");
    check(MPI_Allgather(at(part, 0), one_piece(part), type_of(x), at(x, 0), one_piece(part), type_of(x), MPI_COMM_WORLD),
          "MPI_Allgather");
  }
  void barrier() override {
    const Watchdog::Collective collective(*watchdog_, "barrier");
    check(MPI_Barrier(MPI_COMM_WORLD), "MPI_Barrier");
  }

 private:
  static constexpr int64_t most = std::numeric_limits<int>::max() / 2;  // MPI counts in int

  static void* at(const Tensor& t, int64_t element) {
    RELUME_CHECK(t.is_dense() && t.device() == Device{}, "communication over MPI: expects a dense tensor on the cpu, got ", t);
    return static_cast<char*>(t.raw()) + element * size_of(t.dtype());
  }
  template <class F> void each_piece(const char* name, int64_t count, F&& f) {
    for (int64_t begin = 0; begin < count; begin += most) check(f(begin, int(std::min(most, count - begin))), name);
  }
  static int one_piece(const Tensor& part) {
    RELUME_CHECK(part.numel() <= most, "communication over MPI: a part of ", part.numel(), " elements; at most ", most);
    return int(part.numel());
  }
  void check_parts(const char* name, const Tensor& part, const Tensor& x) const {
    RELUME_CHECK(part.dtype() == x.dtype() && part.numel() * size_ == x.numel(), name, ": ", part, " is not one of ", size_,
                 " equal parts of ", x);
  }
  MPI_Datatype type_of(const Tensor& t) const {
    switch (t.dtype()) {
      case DType::f32: return MPI_FLOAT;
      case DType::f64: return MPI_DOUBLE;
      case DType::i32: return MPI_INT32_T;
      case DType::i64: return MPI_INT64_T;
      case DType::f16:
      case DType::bf16: return narrow_;
      default: RELUME_CHECK(false, "communication over MPI: expects f32, f64, f16, bf16, i32 or i64, got ", t);
    }
  }
  MPI_Op sum_of(const Tensor& t) const {
    return t.dtype() == DType::f16 ? add_f16_ : t.dtype() == DType::bf16 ? add_bf16_ : MPI_SUM;
  }

  int rank_ = 0, size_ = 1;
  MPI_Datatype narrow_ = MPI_DATATYPE_NULL;
  MPI_Op add_f16_ = MPI_OP_NULL, add_bf16_ = MPI_OP_NULL;
  std::unique_ptr<Watchdog> watchdog_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(const WatchdogOptions& options) {
  return std::make_unique<MpiCommunicator>(options);
}

}  // namespace relume
