// Pickles as torch.save and Lightning write them (protocols 0 to 5), read by a machine that executes nothing: it knows the
// opcodes that build plain values and the few globals that stand for tensors (data/checkpoint/pickle_globals.h), and refuses
// everything else by name. After CPython's pickletools.py, which documents every opcode, and torch/serialization.py.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tensor/core/dtype.h"

namespace relume {

enum class PickleKind : uint8_t {
  none,
  boolean,
  integer,       // of up to 64 bits
  wide_integer,  // a larger one
  floating,
  text,
  bytes,
  list,
  tuple,
  dict,
  tensor,
  // Met only while a pickle is read:
  global,
  storage,
  numpy_dtype,
};

struct PickleValue {
  PickleKind kind = PickleKind::none;
  union {
    int64_t number = 0;  // boolean, integer; list, tuple, dict: index into items; tensor: index into tensors
    double real;         // floating
  };
  std::string_view text;  // text, bytes; wide_integer: little-endian two's complement. Lies in the pickle or in the document
};

// What PyTorch calls an element type, "float32"; without dtype when no tensor of this library holds it.
struct TorchType {
  const char* name;
  int64_t bytes;
  std::optional<DType> dtype;
};

// A block of memory that tensors share, kept outside of the pickle under `key`.
struct TorchStorage {
  std::string_view key;
  const TorchType* type;
  int64_t numel;
};

// A tensor as PyTorch describes it: elements `offset + sum(index * stride)` of [begin, begin + length) of a storage, all
// counted in elements of the storage's type but for `offset` and strides, which count in elements of the tensor's. Nothing is
// checked yet.
struct TorchTensor {
  size_t storage = 0;
  const TorchType* type = nullptr;
  int64_t begin = 0, length = 0, offset = 0;
  std::vector<int64_t> sizes, strides;
};

// Everything a pickle built. Values refer to each other by index, so that shared and circular ones cost nothing.
struct PickleDocument {
  PickleValue root;
  std::vector<std::vector<PickleValue>> items;  // of a list or tuple; of a dict key, value, key, value, ... (a later key wins)
  std::vector<TorchStorage> storages;           // each key once
  std::unordered_map<std::string_view, size_t> storage_index;  // by key
  std::vector<TorchTensor> tensors;
  std::deque<std::string> owned;  // texts that do not stand in the pickle as they are
  size_t bytes = 0;               // length of the pickle, STOP included
  size_t charged = 0;             // what it has cost so far, see charge()

  // Counts what a value costs in memory; InputError past 2^21 values, so that a small file cannot ask for much.
  void charge(size_t values);
  const std::vector<PickleValue>& items_of(const PickleValue& v) const { return items[size_t(v.number)]; }
};

// Reads the pickle at the beginning of `bytes`, which the document refers to. InputErrors begin with `where` and name the byte,
// the opcode or global, and the rule. Time and memory are proportional to the pickle's length, memory at most about 300 MB.
PickleDocument read_pickle(std::string_view bytes, const std::string& where);

// "a text", "a list of 3", "3.5": for messages, on one line.
std::string describe(const PickleDocument& document, const PickleValue& value);

}  // namespace relume
