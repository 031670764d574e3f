#include "tensor/kernels/resample.h"

#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"

namespace relume::cuda {
namespace {

using kernels::Border;

struct Maps {  // [N, H, W, C]
  explicit Maps(const Tensor& t) : n(t.shape(0)), h(t.shape(1)), w(t.shape(2)), c(t.shape(3)) {
    RELUME_BUG(t.rank() == 4 && t.is_dense(), "resampling expects dense [N, H, W, C], got ", t);
  }
  int64_t pixels() const { return n * h * w; }
  int64_t n, h, w, c;
};

// What only moves data treats it as words of its size.
template <class F> void visit_words(const char* slot, const Tensor& t, F&& f) {
  RELUME_CHECK(is_float(t.dtype()) && t.dtype() != DType::f64, slot, ": on ", t.device(), " expects f32, f16 or bf16, got ", t);
  size_of(t.dtype()) == 2 ? f.template operator()<uint16_t>() : f.template operator()<uint32_t>();
}

// out[pixel] = in[source(pixel)], N channels at a time; zero where the source is -1.
template <class T, int N, class Source>
static __global__ void move_pixels(int64_t pixels, int64_t packs, T* out, const T* in, Source source) {
  for_each_item(pixels * packs, [&](int64_t i) {
    const int64_t pixel = i / packs, from = source(pixel);
    Pack<T, N> value{};
    if (from >= 0) value = *reinterpret_cast<const Pack<T, N>*>(in + (from * packs + (i - pixel * packs)) * N);
    *reinterpret_cast<Pack<T, N>*>(out + i * N) = value;
  });
}

// out[pixel] = the sum of in[from] over what source.each(pixel, f) names, in that order.
template <class T, int N, class Source>
static __global__ void sum_pixels(int64_t pixels, int64_t packs, T* out, const T* in, Source source) {
  for_each_item(pixels * packs, [&](int64_t i) {
    const int64_t pixel = i / packs, pack = i - pixel * packs;
    float sum[N] = {};
    source.each(pixel, [&](int64_t from) {
      const auto value = *reinterpret_cast<const Pack<T, N>*>(in + (from * packs + pack) * N);
      for (int k = 0; k < N; ++k) sum[k] += get(value.at[k]);
    });
    Pack<T, N> value;
    for (int k = 0; k < N; ++k) put(value.at[k], sum[k]);
    *reinterpret_cast<Pack<T, N>*>(out + i * N) = value;
  });
}

// Calls f(N) with the number of channels that move at once, as a constant.
template <class T, class F> void with_packs(const Tensor& out, const Tensor& in, F&& f) {
  constexpr int N = 16 / int(sizeof(T));
  const bool aligned = reinterpret_cast<uintptr_t>(out.raw()) % 16 == 0 && reinterpret_cast<uintptr_t>(in.raw()) % 16 == 0;
  (aligned && out.shape(3) % N == 0) ? f(std::integral_constant<int, N>{}) : f(std::integral_constant<int, 1>{});
}

template <class Source> void move(const char* name, const Tensor& out, const Tensor& in, Source source) {
  const Maps m(out);
  if (out.numel() == 0) return;
  visit_words(name, out, [&]<class T>() {
    with_packs<T>(out, in, [&](auto width) {
      constexpr int n = decltype(width)::value;
      launch(name, move_pixels<T, n, Source>, loop_grid(out.numel() / n, out.device()), loop_threads, 0, stream(out.device()),
             m.pixels(), m.c / n, static_cast<T*>(out.raw()), static_cast<const T*>(in.raw()), source);
    });
  });
}
template <class Source> void sum(const char* name, const Tensor& out, const Tensor& in, Source source) {
  const Maps m(out);
  if (out.numel() == 0) return;
  visit_float(name, out, [&]<class T>() {
    with_packs<T>(out, in, [&](auto width) {
      constexpr int n = decltype(width)::value;
      launch(name, sum_pixels<T, n, Source>, loop_grid(out.numel() / n, out.device()), loop_threads, 0, stream(out.device()),
             m.pixels(), m.c / n, out.data<T>(), in.data<T>(), source);
    });
  });
}

// ---- Nearest neighbour -----------------------------------------------------------------------------------------------------

struct Enlarged {
  int64_t height, width;  // of the small map
  int factor;
  __device__ int64_t operator()(int64_t pixel) const {  // of the large one
    const int64_t large = width * factor, row = pixel / large, column = pixel - row * large;
    return row / factor * width + column / factor;
  }
  template <class F> __device__ void each(int64_t pixel, F&& f) const {  // of the small one
    const int64_t row = pixel / width, column = pixel - row * width;
    for (int a = 0; a < factor; ++a)
      for (int b = 0; b < factor; ++b) f((row * factor + a) * width * factor + column * factor + b);
  }
};
void upsample_nearest_forward(const Tensor& y, const Tensor& x, int factor) {
  move("upsample_nearest_forward", y, x, Enlarged{x.shape(1), x.shape(2), factor});
}
void upsample_nearest_backward(const Tensor& dx, const Tensor& dy, int factor) {
  sum("upsample_nearest_backward", dx, dy, Enlarged{dx.shape(1), dx.shape(2), factor});
}

// ---- Pixel shuffle ---------------------------------------------------------------------------------------------------------

// `packed` is [N, H, W, C f f], `spread` [N, H f, W f, C]; element c f f + a f + b of a packed pixel is channel c of the pixel
// in row a and column b of its f x f square. Threads go through the written side in order.
template <bool to_packed, class T>
static __global__ void shuffle_pixels(int64_t count, int64_t width, int64_t channels, int factor, T* packed, T* spread) {
  for_each_item(count, [&](int64_t i) {
    int64_t row, column, c, a, b;  // of the packed map, and inside its pixel
    if (to_packed) {
      const int64_t inner = channels * factor * factor, pixel = i / inner, element = i - pixel * inner;
      row = pixel / width, column = pixel - row * width;
      c = element / (factor * factor), a = element / factor % factor, b = element % factor;
    } else {
      const int64_t pixel = i / channels, large = width * factor, y = pixel / large, x = pixel - y * large;
      c = i - pixel * channels;
      row = y / factor, a = y - row * factor, column = x / factor, b = x - column * factor;
    }
    T& one = packed[((row * width + column) * channels + c) * factor * factor + a * factor + b];
    T& other = spread[((row * factor + a) * width * factor + column * factor + b) * channels + c];
    to_packed ? one = other : other = one;
  });
}
template <bool to_packed> void shuffle(const char* name, const Tensor& packed, const Tensor& spread, int factor) {
  const Maps p(packed), s(spread);
  if (packed.numel() == 0) return;
  visit_words(name, packed, [&]<class T>() {
    launch(name, shuffle_pixels<to_packed, T>, loop_grid(packed.numel(), packed.device()), loop_threads, 0,
           stream(packed.device()), packed.numel(), p.w, s.c, factor, static_cast<T*>(packed.raw()),
           static_cast<T*>(spread.raw()));
  });
}
void pixel_unshuffle(const Tensor& y, const Tensor& x, int factor) { shuffle<true>("pixel_unshuffle", y, x, factor); }
void pixel_shuffle(const Tensor& y, const Tensor& x, int factor) { shuffle<false>("pixel_shuffle", x, y, factor); }

// ---- Padding ---------------------------------------------------------------------------------------------------------------

// One axis: `inner` positions begin at `offset` of `outer` ones.
struct PaddedAxis {
  int64_t outer, inner, offset;
  Border border;
  __device__ int64_t source(int64_t o) const {  // which inner position an outer one shows, -1 for none
    const int64_t i = o - offset;
    if (i >= 0 && i < inner) return i;
    if (border == Border::zero) return -1;
    if (border == Border::replicate) return i < 0 ? 0 : inner - 1;
    return i < 0 ? -i : 2 * (inner - 1) - i;
  }
  template <class F> __device__ void one(int64_t o, F&& f) const {
    if (o >= 0 && o < outer) f(o);
  }
  template <class F> __device__ void each(int64_t i, F&& f) const {  // the outer positions that show i, in order
    if (border == Border::zero) return one(offset + i, f);
    if (border == Border::replicate) {
      const int64_t first = i == 0 ? 0 : std::max<int64_t>(0, offset + i),
                    end = i == inner - 1 ? outer : std::min(outer, offset + i + 1);
      for (int64_t o = first; o < end; ++o) f(o);
      return;
    }
    if (i > 0) one(offset - i, f);
    one(offset + i, f);
    if (i < inner - 1) one(offset + 2 * (inner - 1) - i, f);
  }
};
struct Padded {
  PaddedAxis rows, columns;
  __device__ int64_t operator()(int64_t pixel) const {  // of the padded map
    const int64_t line = pixel / columns.outer, n = line / rows.outer;
    const int64_t i = rows.source(line - n * rows.outer), j = columns.source(pixel - line * columns.outer);
    return i < 0 || j < 0 ? -1 : (n * rows.inner + i) * columns.inner + j;
  }
  template <class F> __device__ void each(int64_t pixel, F&& f) const {  // of the inner map
    const int64_t line = pixel / columns.inner, n = line / rows.inner, j = pixel - line * columns.inner;
    rows.each(line - n * rows.inner,
              [&](int64_t y) { columns.each(j, [&](int64_t x) { f((n * rows.outer + y) * columns.outer + x); }); });
  }
};
Padded padded(const Tensor& outer, const Tensor& inner, int64_t top, int64_t left, Border border) {
  return {{outer.shape(1), inner.shape(1), top, border}, {outer.shape(2), inner.shape(2), left, border}};
}
void pad_forward(const Tensor& y, const Tensor& x, int64_t top, int64_t left, Border border) {
  move("pad_forward", y, x, padded(y, x, top, left, border));
}
void pad_backward(const Tensor& dx, const Tensor& dy, int64_t top, int64_t left, Border border) {
  sum("pad_backward", dx, dy, padded(dy, dx, top, left, border));
}

}  // namespace

void register_resample_kernels() {
  kernels::upsample_nearest_forward.set(DeviceKind::cuda, upsample_nearest_forward);
  kernels::upsample_nearest_backward.set(DeviceKind::cuda, upsample_nearest_backward);
  kernels::pixel_unshuffle.set(DeviceKind::cuda, pixel_unshuffle);
  kernels::pixel_shuffle.set(DeviceKind::cuda, pixel_shuffle);
  kernels::pad_forward.set(DeviceKind::cuda, pad_forward);
  kernels::pad_backward.set(DeviceKind::cuda, pad_backward);
}

}  // namespace relume::cuda
