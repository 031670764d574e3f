// How blocks share the maps of a GroupNorm, and which maps stay in their shared memory between its phases.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace relume::cuda {

inline constexpr int norm_threads = 256;  // of a block

// [samples, pixels, channels]; the channels of a group are neighbours.
struct GroupedMap {
  int64_t samples, pixels;
  int channels, groups;
};

// How finely a map is cut.
struct Cut {
  int widest_strip;     // packs
  int64_t most_chunks;  // of a sample
  int fewest_rows;      // of pixels that a thread takes, where a map has as many
};

// Each block takes a chunk of a sample's pixels and a strip of its channels. Its threads stand side by side over the packs of
// the strip, and one above the other over the pixels.
struct GroupNormTiling {
  GroupNormTiling(const GroupedMap& map, int pack, const Cut& cut)
      : samples(map.samples), pixels(map.pixels), channels(map.channels), groups(map.groups), in_group(channels / groups) {
    const int packs = channels / pack;
    strips = (packs + cut.widest_strip - 1) / cut.widest_strip;
    width = (packs + strips - 1) / strips;
    height = norm_threads / width;
    strip_channels = width * pack;
    const int64_t fewest = int64_t(cut.fewest_rows) * height;
    pixels_each = std::min(pixels, std::max((pixels + cut.most_chunks - 1) / cut.most_chunks, fewest));
    chunks = (pixels + pixels_each - 1) / pixels_each;
  }
  dim3 grid() const { return dim3(unsigned(samples * chunks), unsigned(strips)); }
  int64_t blocks() const { return samples * chunks * strips; }
  // Packs of a block, with room for every thread's where the last row is not full.
  __host__ __device__ int64_t packs_each() const { return (pixels_each + height - 1) / height * (height * width); }
  // Chunks of a group in the strips that it touches, at most.
  __host__ __device__ int64_t parts() const { return chunks * strips_of_group(); }
  __host__ __device__ int strips_of_group() const {
    return strip_channels % in_group == 0 ? 1 : (in_group + strip_channels - 2) / strip_channels + 1;
  }
  __host__ __device__ int64_t pixels_of(int64_t chunk) const { return std::min(pixels_each, pixels - chunk * pixels_each); }
  // The channels of a group that lie in a strip: [begin, end).
  __host__ __device__ int begin_of(int group, int strip) const { return std::max(group * in_group, strip * strip_channels); }
  __host__ __device__ int end_of(int group, int strip) const {
    return std::min((group + 1) * in_group, (strip + 1) * strip_channels);
  }
  // The strip where a group begins, and the groups that a strip touches: [first, last].
  __host__ __device__ int first_strip(int group) const { return group * in_group / strip_channels; }
  __host__ __device__ int first_group(int strip) const { return strip * strip_channels / in_group; }
  __host__ __device__ int last_group(int strip) const {
    return (std::min(channels, (strip + 1) * strip_channels) - 1) / in_group;
  }

  int64_t samples, pixels;
  int channels, groups, in_group;
  int strips, width, height, strip_channels;  // width in packs
  int64_t pixels_each, chunks;
};

// Maps that are read again from memory: wide strips, because every chunk's sums are joined once.
inline GroupNormTiling streamed_tiling(const GroupedMap& map, int pack) {
  return {map, pack, {.widest_strip = 64, .most_chunks = 512, .fewest_rows = 4}};
}

// A strip of a map that stays is one line of the cache, 128 bytes: every block joins the sums of the groups that its strip
// touches, so that strips should touch few.
inline constexpr int kept_line = 128, most_kept_channels = kept_line / 2;

// How a map is shared that stays in shared memory: four blocks for each multiprocessor, or fewer and larger ones, that all run
// at once; blocks_at_once(bytes) says how many do, each with `fixed_bytes` and `bytes_of_pack` for a pack of its share. None
// where one for each multiprocessor cannot hold the map, or samples and strips are more than the blocks: the map is streamed.
// Map, types and card decide, and nothing else.
template <class F> std::optional<GroupNormTiling> kept_tiling(const GroupedMap& map, int pack, int channel_bytes,
                                                              size_t fixed_bytes, size_t bytes_of_pack, int multiprocessors,
                                                              F&& blocks_at_once) {
  const int widest = kept_line / (pack * channel_bytes);
  const int64_t strips = (map.channels / pack + widest - 1) / widest;
  for (int each = 4; each > 0; --each) {
    const int64_t most_chunks = int64_t(multiprocessors) * each / (map.samples * strips);
    if (most_chunks == 0) break;
    const GroupNormTiling t(map, pack, {.widest_strip = widest, .most_chunks = most_chunks, .fewest_rows = 2});
    if (t.blocks() <= blocks_at_once(fixed_bytes + size_t(t.packs_each()) * bytes_of_pack)) return t;
  }
  return {};
}

}  // namespace relume::cuda
