// Embedding: a row of numbers for each id, weight [ids, channels] as published.
#pragma once

#include "autograd/gather.h"
#include "layers/module.h"

namespace relume {

struct EmbeddingShape {
  int64_t ids = 0, channels = 0;
};

class Embedding : public Module {
 public:
  Embedding(Module* parent, std::string name, EmbeddingShape s)
      : Module(parent, std::move(name)), weight(parameter("weight", {s.ids, s.channels})) {}

  // ids i64 [...] to f32 [..., channels].
  Tensor operator()(const Tensor& ids) const {
    return with_path([&] { return embedding(ids, weight); });
  }

  Tensor weight;
};

}  // namespace relume
