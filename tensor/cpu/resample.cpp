#include "tensor/kernels/resample.h"

#include <cstring>
#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/reference/reference.h"

namespace relume::cpu {
namespace {

using kernels::Border;

struct Maps {  // [N, H, W, C]
  explicit Maps(const Tensor& t) : n(t.shape(0)), h(t.shape(1)), w(t.shape(2)), c(t.shape(3)) {
    RELUME_BUG(t.rank() == 4 && t.is_dense(), "resampling expects dense [N, H, W, C], got ", t);
  }
  int64_t n, h, w, c;
};

// Calls f(row) for every row of `count`, `elements` of work each.
template <class F> void for_rows(int64_t count, int64_t elements, F&& f) {
  parallel_for(count, std::max<int64_t>(1, grain / std::max<int64_t>(1, elements)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) f(row);
  });
}

// What only moves data treats it as words of its size.
template <class F> void visit_words(const char* slot, const Tensor& t, F&& f) {
  RELUME_CHECK(is_float(t.dtype()), slot, ": expects a float tensor, got ", t);
  size_of(t.dtype()) == 2 ? f.template operator()<uint16_t>() : f.template operator()<uint32_t>();
}
template <class T> T* words(const Tensor& t) { return static_cast<T*>(t.raw()); }

// What adds up, adds in f32: f.operator()<T>() for the 16 and 32-bit floats.
template <class F> void visit_sums(const char* slot, const Tensor& t, F&& f) {
  visit_float(slot, t, [&]<class T>() {
    if constexpr (!std::is_same_v<T, double>) f.template operator()<T>();
  });
}
template <class T> void accumulate(float* sum, const T* from, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) sum[i] += get(from[i]);
}
template <class T> void round_into(T* to, const std::vector<float>& sum) {
  const float* from = sum.data();
#pragma omp simd
  for (size_t i = 0; i < sum.size(); ++i) put(to[i], from[i]);
}

void upsample_nearest_forward(const Tensor& y, const Tensor& x, int factor) {
  if (x.dtype() == DType::f64) return reference::upsample_nearest_forward(y, x, factor);
  const Maps m(x);
  visit_words("upsample_nearest_forward", x, [&]<class T>() {
    const int64_t length = m.w * factor * m.c;
    for_rows(m.n * m.h, factor * length, [&](int64_t row) {
      T* first = words<T>(y) + row * factor * length;
      const T* from = words<T>(x) + row * m.w * m.c;
      for (int64_t j = 0; j < m.w; ++j)
        for (int b = 0; b < factor; ++b) std::copy_n(from + j * m.c, m.c, first + (j * factor + b) * m.c);
      for (int a = 1; a < factor; ++a) std::copy_n(first, length, first + a * length);
    });
  });
}

void upsample_nearest_backward(const Tensor& dx, const Tensor& dy, int factor) {
  if (dx.dtype() == DType::f64) return reference::upsample_nearest_backward(dx, dy, factor);
  const Maps m(dx);
  visit_sums("upsample_nearest_backward", dx, [&]<class T>() {
    const int64_t length = m.w * factor * m.c;
    for_rows(m.n * m.h, factor * length, [&](int64_t row) {
      std::vector<float> sum(static_cast<size_t>(m.w * m.c));
      for (int a = 0; a < factor; ++a) {
        const T* from = dy.data<T>() + (row * factor + a) * length;
        for (int64_t j = 0; j < m.w; ++j)
          for (int b = 0; b < factor; ++b) accumulate(&sum[size_t(j * m.c)], from + (j * factor + b) * m.c, m.c);
      }
      round_into(dx.data<T>() + row * m.w * m.c, sum);
    });
  });
}

// `packed` is [N, H, W, C f f], `spread` [N, H f, W f, C]; element c f f + a f + b of a packed pixel is channel c of the pixel
// in row a and column b of its f x f square.
template <bool to_packed> void shuffle(const char* slot, const Tensor& packed, const Tensor& spread, int64_t factor) {
  const Maps p(packed), s(spread);
  visit_words(slot, packed, [&]<class T>() {
    for_rows(p.n * p.h, p.w * p.c, [&](int64_t row) {
      for (int64_t j = 0; j < p.w; ++j)
        for (int64_t a = 0; a < factor; ++a) {
          T* inner = words<T>(packed) + (row * p.w + j) * p.c + a * factor;
          T* outer = words<T>(spread) + ((row * factor + a) * s.w + j * factor) * s.c;
          for (int64_t c = 0; c < s.c; ++c)
            for (int64_t b = 0; b < factor; ++b) {
              T &one = inner[c * factor * factor + b], &other = outer[b * s.c + c];
              to_packed ? one = other : other = one;
            }
        }
    });
  });
}
void pixel_unshuffle(const Tensor& y, const Tensor& x, int factor) {
  if (x.dtype() == DType::f64) return reference::pixel_unshuffle(y, x, factor);
  shuffle<true>("pixel_unshuffle", y, x, factor);
}
void pixel_shuffle(const Tensor& y, const Tensor& x, int factor) {
  if (x.dtype() == DType::f64) return reference::pixel_shuffle(y, x, factor);
  shuffle<false>("pixel_shuffle", x, y, factor);
}

// One axis of a padding: which inner position each outer one shows, -1 for none. [begin, end) is the part that is a plain copy.
struct PaddedAxis {
  PaddedAxis(int64_t outer, int64_t inner, int64_t offset, Border border) : source(static_cast<size_t>(outer)) {
    const int64_t before = offset, after = outer - inner - offset;
    RELUME_CHECK(border != Border::reflect || (before < inner && after < inner), "pad: a border of ", std::max(before, after),
                 " cannot be reflected from ", inner, " pixels; use a larger picture or another border");
    for (int64_t o = 0; o < outer; ++o) {
      int64_t i = o - offset;
      if (i < 0) i = border == Border::zero ? -1 : border == Border::reflect ? -i : 0;
      if (i >= inner) i = border == Border::zero ? -1 : border == Border::reflect ? 2 * (inner - 1) - i : inner - 1;
      source[size_t(o)] = i;
    }
    begin = std::clamp<int64_t>(offset, 0, outer);
    end = std::clamp<int64_t>(offset + inner, begin, outer);
  }
  int64_t operator[](int64_t outer) const { return source[size_t(outer)]; }
  std::vector<int64_t> source;
  int64_t begin, end;
};

void pad_forward(const Tensor& y, const Tensor& x, int64_t top, int64_t left, Border border) {
  if (x.dtype() == DType::f64) return reference::pad_forward(y, x, top, left, border);
  const Maps in(x), out(y);
  const PaddedAxis vertical(out.h, in.h, top, border), horizontal(out.w, in.w, left, border);
  visit_words("pad_forward", x, [&]<class T>() {
    for_rows(out.n * out.h, out.w * out.c, [&](int64_t row) {
      T* to = words<T>(y) + row * out.w * out.c;
      const int64_t i = vertical[row % out.h];
      if (i < 0) return void(std::fill_n(to, out.w * out.c, T(0)));
      const T* from = words<T>(x) + (row / out.h * in.h + i) * in.w * in.c;
      const auto copy_pixels = [&](int64_t begin, int64_t end) {
        for (int64_t o = begin; o < end; ++o) {
          if (const int64_t j = horizontal[o]; j < 0)
            std::fill_n(to + o * in.c, in.c, T(0));
          else
            std::copy_n(from + j * in.c, in.c, to + o * in.c);
        }
      };
      copy_pixels(0, horizontal.begin);
      std::copy_n(from + (horizontal.begin - left) * in.c, (horizontal.end - horizontal.begin) * in.c,
                  to + horizontal.begin * in.c);
      copy_pixels(horizontal.end, out.w);
    });
  });
}

void pad_backward(const Tensor& dx, const Tensor& dy, int64_t top, int64_t left, Border border) {
  if (dx.dtype() == DType::f64) return reference::pad_backward(dx, dy, top, left, border);
  const Maps in(dx), out(dy);
  const PaddedAxis vertical(out.h, in.h, top, border), horizontal(out.w, in.w, left, border);
  std::vector<std::vector<int64_t>> shown_in(static_cast<size_t>(in.h));  // the rows of y that show each row of x, in order
  for (int64_t o = 0; o < out.h; ++o)
    if (vertical[o] >= 0) shown_in[size_t(vertical[o])].push_back(o);
  visit_sums("pad_backward", dx, [&]<class T>() {
    for_rows(in.n * in.h, in.w * in.c, [&](int64_t row) {
      std::vector<float> sum(static_cast<size_t>(in.w * in.c));
      for (const int64_t o : shown_in[size_t(row % in.h)]) {
        const T* from = dy.data<T>() + (row / in.h * out.h + o) * out.w * out.c;
        const auto add_pixels = [&](int64_t begin, int64_t end) {
          for (int64_t p = begin; p < end; ++p)
            if (const int64_t j = horizontal[p]; j >= 0) accumulate(sum.data() + j * in.c, from + p * in.c, in.c);
        };
        add_pixels(0, horizontal.begin);
        accumulate(sum.data() + (horizontal.begin - left) * in.c, from + horizontal.begin * in.c,
                   (horizontal.end - horizontal.begin) * in.c);
        add_pixels(horizontal.end, out.w);
      }
      round_into(dx.data<T>() + row * in.w * in.c, sum);
    });
  });
}

}  // namespace

void register_resample_kernels() {
  kernels::upsample_nearest_forward.set(DeviceKind::cpu, upsample_nearest_forward);
  kernels::upsample_nearest_backward.set(DeviceKind::cpu, upsample_nearest_backward);
  kernels::pixel_unshuffle.set(DeviceKind::cpu, pixel_unshuffle);
  kernels::pixel_shuffle.set(DeviceKind::cpu, pixel_shuffle);
  kernels::pad_forward.set(DeviceKind::cpu, pad_forward);
  kernels::pad_backward.set(DeviceKind::cpu, pad_backward);
}

}  // namespace relume::cpu
