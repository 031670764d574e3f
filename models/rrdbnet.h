// RRDBNet of BSRGAN (Wang et al. 2018, arXiv 1809.00219; Zhang et al. 2021, arXiv 2103.14006), the cleaner of DiffBIR v2 for
// super-resolution, "BSRNet" (spec/diffbir.md 2.3).
//
//   picture --> conv_first --> RRDB x nb --> trunk_conv, + --> [doubled, upconv] once or twice --> HRconv --> conv_last
//   RRDB:        x + 0.2 * three dense blocks in series
//   dense block: x + 0.2 * conv5, each convolution sees the block's input and all results before it
//
// Parameter names are those of the published checkpoint, which has 16,697,987 parameters. It computes in the type of what it is
// given.
#pragma once

#include <memory>

#include "configs/reader.h"
#include "layers/conv2d.h"

namespace relume {

// Defaults: the published network. Names and meaning of the published constructor.
struct RRDBNetConfig {
  int in_nc = 3, out_nc = 3;
  int nf = 64;  // channels of the feature map
  int nb = 23;  // RRDBs
  int gc = 32;  // channels that a convolution of a dense block adds
  int sf = 4;   // output size / input size

  template <class V> void fields(V&& v) {
    v("in_nc", in_nc, Range{1, 1024}, "channels of the pictures");
    v("out_nc", out_nc, Range{1, 1024}, "channels of the restored pictures");
    v("nf", nf, Range{1, 4096}, "channels of the feature map");
    v("nb", nb, Range{1, 256}, "residual blocks of dense blocks");
    v("gc", gc, Range{1, 4096}, "channels that a convolution of a dense block adds");
    v("sf", sf, Range{2, 4}, "enlargement, 2 or 4");
  }
  void validate() const;  // InputError
};

class DenseBlock : public Module {
 public:
  DenseBlock(Module* parent, std::string name, int64_t channels, int64_t growth);
  Tensor operator()(const Tensor& x) const;  // [N, H, W, channels]

 private:
  Conv2d conv1_, conv2_, conv3_, conv4_, conv5_;
};

class RRDB : public Module {
 public:
  RRDB(Module* parent, std::string name, int64_t channels, int64_t growth);
  Tensor operator()(const Tensor& x) const;  // [N, H, W, channels]

 private:
  DenseBlock rdb1_, rdb2_, rdb3_;
};

class RRDBNet : public Module {
 public:
  explicit RRDBNet(const RRDBNetConfig& config, Device device = {});

  // Pictures [N, H, W, in_nc] in [0, 1] to [N, sf*H, sf*W, out_nc], about [0, 1], not clamped.
  Tensor operator()(const Tensor& x) const;

  const RRDBNetConfig& config() const { return config_; }
  void initialise(uint64_t seed) const;  // spec 2.3, "Init"

 private:
  RRDBNetConfig config_;
  Conv2d conv_first_;
  ModuleList<RRDB> trunk_;
  Conv2d trunk_conv_, upconv1_;
  std::unique_ptr<Conv2d> upconv2_;  // of sf 4
  std::unique_ptr<Conv2d> hr_conv_, conv_last_;
};

}  // namespace relume
