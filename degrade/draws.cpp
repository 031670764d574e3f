#include "degrade/draws.h"

#include <algorithm>

#include "base/error.h"

namespace relume {

double SeededDraws::uniform(double low, double high, std::string_view name) {
  const double value = stream_.uniform(low, high);
  record_.entries.push_back({std::string(name), value});
  return value;
}

size_t SeededDraws::choice(std::span<const std::string> options, std::span<const double> weights, std::string_view name) {
  RELUME_CHECK(!options.empty() && options.size() == weights.size(), name, ": ", options.size(), " options with ",
               weights.size(), " weights");
  double total = 0;
  for (const double w : weights) total += w;
  double left = stream_.uniform() * total;
  size_t chosen = 0, last = options.size() - 1;
  while (last > 0 && weights[last] <= 0) --last;  // rounding must not reach an option of weight zero
  while (chosen < last && left >= weights[chosen]) left -= weights[chosen++];
  record_.entries.push_back({std::string(name), options[chosen]});
  return chosen;
}

NoiseField SeededDraws::field(std::string_view name) {
  const uint64_t high = stream_.bits(), low = stream_.bits();
  const FieldSeed seed{high << 32 | low};
  record_.entries.push_back({std::string(name), seed});
  return seed;
}

const DrawRecord::Entry& ReplayedDraws::take(std::string_view name) {
  RELUME_CHECK(next_ < record_.entries.size(), "replay: the recipe draws '", name, "' after the ", record_.entries.size(),
               " draws of the record; replay with the recipe it was made by");
  const DrawRecord::Entry& entry = record_.entries[next_++];
  if (entry.name != name) refuse(name, "a draw of this name");
  return entry;
}

void ReplayedDraws::refuse(std::string_view name, const std::string& expected) const {
  throw InputError(detail::concat("replay: draw ", next_, " of the record (", record_.entries[next_ - 1].name,
                                  ") does not fit '", name, "', expected ", expected,
                                  "; replay with the recipe it was made by"));
}

double ReplayedDraws::uniform(double low, double high, std::string_view name) {
  const double* value = std::get_if<double>(&take(name).value);
  if (!value || !(*value >= std::min(low, high) && *value <= std::max(low, high)))
    refuse(name, detail::concat("a number from ", low, " to ", high));
  return *value;
}

size_t ReplayedDraws::choice(std::span<const std::string> options, std::span<const double>, std::string_view name) {
  const std::string* value = std::get_if<std::string>(&take(name).value);
  const auto at = value ? std::find(options.begin(), options.end(), *value) : options.end();
  if (at == options.end()) refuse(name, "one of the options of the recipe");
  return size_t(at - options.begin());
}

NoiseField ReplayedDraws::field(std::string_view name) {
  const FieldSeed* seed = std::get_if<FieldSeed>(&take(name).value);
  if (!seed) refuse(name, "the seed of a field");
  return *seed;
}

void ReplayedDraws::finish() const {
  RELUME_CHECK(next_ == record_.entries.size(), "replay: ", record_.entries.size() - next_, " draws of the record, from '",
               record_.entries[next_].name, "' on, are not drawn by the recipe; replay with the recipe it was made by");
}

}  // namespace relume
