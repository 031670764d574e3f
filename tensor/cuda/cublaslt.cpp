#include "tensor/cuda/cublaslt.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "tensor/cuda/context.h"
#include "tensor/cuda/matmul_tuning.h"

namespace relume::cuda {
namespace {

constexpr uint64_t most_workspace = 32 << 20;  // what NVIDIA advises for Hopper
constexpr size_t most_alignment = 256;         // more changes nothing for the library

std::atomic<int64_t> asked{0};

// All that the choice of an algorithm depends on. No bias and nothing added have an alignment of 0.
struct Key {
  int64_t rows, columns, depth;
  int64_t out_pitch, left_pitch, right_pitch, added_pitch;
  size_t out_alignment, left_alignment, right_alignment, added_alignment, bias_alignment;
  DType type, out_type;
  bool left_transposed, right_transposed, tf32;
  auto operator<=>(const Key&) const = default;
};

struct Algorithm {
  cublasLtMatmulAlgo_t algorithm;
  size_t workspace;
};

struct DeviceState {
  cublasLtHandle_t handle = nullptr;
  std::mutex mutex;
  std::map<Key, Algorithm> algorithms;
  std::map<std::filesystem::path, TunedAlgorithms> tuned;  // by file
  int64_t tunings_set = 0;                                 // when these were chosen
};

// Never destroyed: at the end of the process the driver may be gone before us.
DeviceState& state_of(Device device) {
  static std::mutex mutex;
  static auto* const states = new std::map<int, DeviceState>;
  const std::lock_guard lock(mutex);
  DeviceState& state = (*states)[device.index];
  if (!state.handle) {
    stream(device);  // a handle belongs to the device that is selected
    check(cublasLtCreate(&state.handle), "cublasLtCreate");
  }
  return state;
}

cudaDataType_t data_type(DType type) {
  switch (type) {
    case DType::f32: return CUDA_R_32F;
    case DType::f16: return CUDA_R_16F;
    case DType::bf16: return CUDA_R_16BF;
    default: RELUME_BUG(false, "a matrix of ", type, " for cuBLASLt");
  }
}

MatrixLayout layout_of(const Tensor& t) { return matrix_layout(t.dtype(), t.rows(), t.shape(-1), t.pitch()); }

// The power of two on whose multiples the tensor begins; 0 for an undefined one.
size_t alignment_of(const Tensor& t) {
  if (!t) return 0;
  const auto address = reinterpret_cast<uintptr_t>(t.raw());
  return std::min<size_t>(address & -address, most_alignment);
}

int64_t rows_of(const Factor& f) { return f.transposed ? f.tensor.shape(-1) : f.tensor.rows(); }
int64_t columns_of(const Factor& f) { return f.transposed ? f.tensor.rows() : f.tensor.shape(-1); }

std::string text_of(const char* name, const Key& k) {
  return detail::concat(name, ": the product [", k.rows, ", ", k.depth, "] x [", k.depth, ", ", k.columns, "] of ", k.type,
                        " in ", k.out_type, k.tf32 ? ", in TF32" : "");
}

template <class T> void set(const MatmulPreference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)),
        "cublasLtMatmulPreferenceSetAttribute");
}
template <class T> void set(const MatmulOperation& operation, cublasLtMatmulDescAttributes_t attribute, T value) {
  check(cublasLtMatmulDescSetAttribute(operation.get(), attribute, &value, sizeof(value)), "cublasLtMatmulDescSetAttribute");
}

MatmulPreference preference_for(const Key& key) {
  cublasLtMatmulPreference_t created = nullptr;
  check(cublasLtMatmulPreferenceCreate(&created), "cublasLtMatmulPreferenceCreate");
  MatmulPreference preference(created);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_workspace);
  // Parts of a sum may be added in f32 alone, and in an order that is always the same.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, uint32_t(key.right_alignment));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, uint32_t(key.left_alignment));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
      uint32_t(key.added_alignment > 0 ? key.added_alignment : key.out_alignment));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, uint32_t(key.out_alignment));
  return preference;
}

// The library's descriptors of a product.
struct Descriptors {
  MatmulOperation operation;
  MatrixLayout a, b, c, d;
};

// What cuBLASLt recommends, `wanted` algorithms at most, the best first.
std::vector<Algorithm> recommended(const char* name, cublasLtHandle_t handle, const Key& key, const Descriptors& use,
                                   int wanted) {
  ++asked;
  const MatmulPreference preference = preference_for(key);
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<size_t>(wanted));
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, use.operation.get(), use.a.get(), use.b.get(), use.c.get(), use.d.get(),
                                     preference.get(), wanted, found.data(), &count);
  if (status != CUBLAS_STATUS_SUCCESS && status != CUBLAS_STATUS_NOT_SUPPORTED)
    check(status, text_of(name, key) + ": cublasLtMatmulAlgoGetHeuristic");
  std::vector<Algorithm> usable;
  for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < count; ++i)
    if (found[size_t(i)].state == CUBLAS_STATUS_SUCCESS)
      usable.push_back({found[size_t(i)].algo, found[size_t(i)].workspaceSize});
  if (usable.empty())
    throw Error(text_of(name, key) +
                ": cuBLASLt has no algorithm for it on this device; update CUDA's libraries, or compute on the cpu");
  return usable;
}

// A product as the library is asked for it: d = a b + beta c.
struct Product {
  const Descriptors& use;
  const void *a, *b, *c;
  void* d;
  float beta;

  cublasStatus_t run(cublasLtHandle_t handle, const Algorithm& chosen, Device device) const {
    std::optional<Storage> workspace;
    if (chosen.workspace > 0) workspace.emplace(device, int64_t(chosen.workspace), MemoryUse::scratch);
    const float alpha = 1;
    return cublasLtMatmul(handle, use.operation.get(), &alpha, a, use.a.get(), b, use.b.get(), &beta, c, use.c.get(), d,
                          use.d.get(), &chosen.algorithm, workspace ? workspace->data() : nullptr, chosen.workspace,
                          stream(device));
  }
};

// ---- Tuning -----------------------------------------------------------------------------------------------------------------

class Timer {
 public:
  Timer() {
    for (cudaEvent_t& e : events_) check(cudaEventCreateWithFlags(&e, cudaEventDefault), "cudaEventCreateWithFlags");
  }
  ~Timer() {
    for (const cudaEvent_t e : events_) cudaEventDestroy(e);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  template <class F> float milliseconds(cudaStream_t on, F&& f) {
    check(cudaEventRecord(events_[0], on), "cudaEventRecord");
    f();
    check(cudaEventRecord(events_[1], on), "cudaEventRecord");
    wait_for(events_[1]);
    float time = 0;
    check(cudaEventElapsedTime(&time, events_[0], events_[1]), "cudaEventElapsedTime");
    return time;
  }

 private:
  cudaEvent_t events_[2] = {};
};

// The fastest of them; one that fails is none. The product goes where it belongs, unless it would be added to itself.
Algorithm fastest(const char* name, cublasLtHandle_t handle, const Key& key, const Product& product, const Tensor& out,
                  const std::vector<Algorithm>& candidates) {
  constexpr int runs = 3;
  const Device device = out.device();
  std::optional<Storage> aside;
  Product trial = product;
  if (product.beta != 0 && product.c == product.d)
    trial.d = aside.emplace(device, (out.rows() * out.pitch()) * size_of(out.dtype()), MemoryUse::scratch).data();
  Timer timer;
  const Algorithm* best = nullptr;
  float best_time = 0;
  for (const Algorithm& candidate : candidates) {
    if (trial.run(handle, candidate, device) != CUBLAS_STATUS_SUCCESS) continue;  // this run is not timed
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    const float time = timer.milliseconds(stream(device), [&] {
      for (int i = 0; i < runs; ++i) status = trial.run(handle, candidate, device);
    });
    check(status, text_of(name, key) + ": cublasLtMatmul");
    if (!best || time < best_time) best = &candidate, best_time = time;
  }
  if (!best) throw Error(text_of(name, key) + ": none of cuBLASLt's algorithms for it runs on this device");
  return *best;
}

// All of a key, as text.
std::string description(const Key& k) {
  return detail::concat(k.rows, "x", k.depth, "x", k.columns, " pitches ", k.left_pitch, " ", k.right_pitch, " ", k.added_pitch,
                        " ", k.out_pitch, " alignments ", k.left_alignment, " ", k.right_alignment, " ", k.added_alignment, " ",
                        k.bias_alignment, " ", k.out_alignment, k.left_transposed ? " left^T" : "",
                        k.right_transposed ? " right^T" : "", k.tf32 ? " tf32" : "", " to ", k.out_type);
}

TunedAlgorithms& tuned_file(DeviceState& state, Device device, DType type, const std::filesystem::path& folder) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device.index), "cudaGetDeviceProperties");
  std::string name = detail::concat("matmul ", properties.name, " cublas ", cublasLtGetVersion(), " ", type, ".json");
  for (char& c : name)
    if (c == ' ' || c == '/') c = '_';
  return state.tuned.try_emplace(folder / name, folder / name).first->second;
}

// What was kept, where the library still takes it.
std::optional<Algorithm> kept(cublasLtHandle_t handle, const Descriptors& use, const std::optional<std::string>& bytes) {
  Algorithm algorithm{};
  if (!bytes || bytes->size() != sizeof(algorithm.algorithm)) return {};
  std::memcpy(&algorithm.algorithm, bytes->data(), bytes->size());
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t status = cublasLtMatmulAlgoCheck(handle, use.operation.get(), use.a.get(), use.b.get(), use.c.get(),
                                                        use.d.get(), &algorithm.algorithm, &result);
  if (status != CUBLAS_STATUS_SUCCESS || result.workspaceSize > most_workspace) return {};
  algorithm.workspace = result.workspaceSize;
  return algorithm;
}

Algorithm tuned(const char* name, DeviceState& state, const Key& key, const Product& product, const Tensor& out,
                const MatmulTuning& tuning) {
  TunedAlgorithms& file = tuned_file(state, out.device(), key.type, tuning.folder);
  const std::string problem = description(key);
  if (const auto found = kept(state.handle, product.use, file.find(problem))) return *found;
  const Algorithm best =
      fastest(name, state.handle, key, product, out, recommended(name, state.handle, key, product.use, tuning.candidates));
  file.keep(problem, {reinterpret_cast<const char*>(&best.algorithm), sizeof(best.algorithm)});
  return best;
}

Algorithm algorithm_for(const char* name, DeviceState& state, const Key& key, const Product& product, const Tensor& out) {
  const std::lock_guard lock(state.mutex);
  if (const int64_t now = matmul_tunings_set(); now != state.tunings_set)
    state.algorithms.clear(), state.tuned.clear(), state.tunings_set = now;
  const auto known = state.algorithms.find(key);
  if (known != state.algorithms.end()) return known->second;
  const MatmulTuning tuning = matmul_tuning();
  return state.algorithms[key] = tuning.candidates > 0 ? tuned(name, state, key, product, out, tuning)
                                                       : recommended(name, state.handle, key, product.use, 1).front();
}

}  // namespace

void multiply(const char* name, const Tensor& out, const Factor& left, const Factor& right, const Tensor& bias,
              const Tensor& added) {
  if (out.numel() == 0) return;
  const Tensor &l = left.tensor, &r = right.tensor, &c = added ? added : out;
  const Key key{.rows = out.rows(),
                .columns = out.shape(-1),
                .depth = columns_of(left),
                .out_pitch = out.pitch(),
                .left_pitch = l.pitch(),
                .right_pitch = r.pitch(),
                .added_pitch = c.pitch(),
                .out_alignment = alignment_of(out),
                .left_alignment = alignment_of(l),
                .right_alignment = alignment_of(r),
                .added_alignment = alignment_of(added),
                .bias_alignment = alignment_of(bias),
                .type = l.dtype(),
                .out_type = out.dtype(),
                .left_transposed = left.transposed,
                .right_transposed = right.transposed,
                .tf32 = rounds_to_tf32(l.dtype())};
  RELUME_BUG(
      rows_of(left) == key.rows && columns_of(right) == key.columns && rows_of(right) == key.depth && r.dtype() == key.type,
      name, ": ", out, " from ", l, " and ", r);
  const Descriptors use{matmul_operation(right.transposed, left.transposed, bias ? bias.raw() : nullptr, key.tf32),
                        layout_of(r), layout_of(l), layout_of(c), layout_of(out)};
  const Product product{use, r.raw(), l.raw(), c.raw(), out.raw(), added ? 1.f : 0.f};
  DeviceState& state = state_of(out.device());
  const cublasStatus_t status = product.run(state.handle, algorithm_for(name, state, key, product, out), out.device());
  if (status != CUBLAS_STATUS_SUCCESS) check(status, text_of(name, key) + ": cublasLtMatmul");
}

int64_t heuristics_asked() { return asked; }

void check(cublasStatus_t result, const std::string& call) {
  if (result == CUBLAS_STATUS_SUCCESS) return;
  throw Error(call + ": " + cublasLtGetStatusName(result) + ": " + cublasLtGetStatusString(result));
}

cublasLtHandle_t cublaslt_handle(Device device) { return state_of(device).handle; }

MatrixLayout matrix_layout(DType type, int64_t rows, int64_t columns, int64_t pitch) {
  cublasLtMatrixLayout_t created = nullptr;
  check(cublasLtMatrixLayoutCreate(&created, data_type(type), uint64_t(columns), uint64_t(rows), pitch),
        "cublasLtMatrixLayoutCreate");
  return MatrixLayout(created);
}

MatmulOperation matmul_operation(bool transpose_a, bool transpose_b, const void* bias, bool tf32) {
  cublasLtMatmulDesc_t created = nullptr;
  const cublasComputeType_t compute = tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  check(cublasLtMatmulDescCreate(&created, compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
  MatmulOperation operation(created);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (bias) {
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  return operation;
}

}  // namespace relume::cuda
