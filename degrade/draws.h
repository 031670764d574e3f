// Random choices of a degradation. Every one goes through Draws under a name, so that it can be recorded, shown beside the
// picture, and replayed. Numbers come from Philox streams (design D5): they depend on the key alone, not on threads or batches.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tensor/core/philox.h"
#include "tensor/core/tensor.h"

namespace relume {

// A field of random numbers kept as the seed it grows from.
struct FieldSeed {
  uint64_t seed = 0;
  bool operator==(const FieldSeed&) const = default;
};

// The random numbers of a noise: the seed they grow from, or the numbers themselves (replays of other programs' draws).
using NoiseField = std::variant<FieldSeed, Tensor>;

// The key of the Philox stream that a field's numbers come from, whatever their distribution.
inline RandomKey field_key(FieldSeed field) { return {.seed = field.seed, .purpose = "degrade.field"}; }

// What was drawn, in order. A value is a number (uniform), the chosen option (choice), or the seed of a field.
struct DrawRecord {
  struct Entry {
    std::string name;
    std::variant<double, std::string, FieldSeed> value;
    bool operator==(const Entry&) const = default;
  };
  std::vector<Entry> entries;
  bool operator==(const DrawRecord&) const = default;
};

class Draws {
 public:
  virtual ~Draws() = default;
  // A number in [low, high); exactly low when both are equal.
  virtual double uniform(double low, double high, std::string_view name) = 0;
  // The index of one option, with probability proportional to its weight.
  virtual size_t choice(std::span<const std::string> options, std::span<const double> weights, std::string_view name) = 0;
  // The numbers of a noise; its operation knows their distribution and shape.
  virtual NoiseField field(std::string_view name) = 0;
};

// Fresh numbers from the stream of `key`, recorded as they are drawn.
class SeededDraws final : public Draws {
 public:
  explicit SeededDraws(const RandomKey& key) : stream_(key) {}
  double uniform(double low, double high, std::string_view name) override;
  size_t choice(std::span<const std::string> options, std::span<const double> weights, std::string_view name) override;
  NoiseField field(std::string_view name) override;
  const DrawRecord& record() const { return record_; }

 private:
  RandomStream stream_;
  DrawRecord record_;
};

// The numbers of a record. A draw that does not fit it (another name or kind, a number out of range, an unknown option, past
// the end) is an InputError: the record was made by another recipe. The record must outlive it.
class ReplayedDraws final : public Draws {
 public:
  explicit ReplayedDraws(const DrawRecord& record) : record_(record) {}
  double uniform(double low, double high, std::string_view name) override;
  size_t choice(std::span<const std::string> options, std::span<const double> weights, std::string_view name) override;
  NoiseField field(std::string_view name) override;
  // Throws an InputError when draws are left over.
  void finish() const;

 private:
  const DrawRecord::Entry& take(std::string_view name);
  [[noreturn]] void refuse(std::string_view name, const std::string& expected) const;
  const DrawRecord& record_;
  size_t next_ = 0;
};

}  // namespace relume
