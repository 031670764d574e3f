#include "train/weight_average.h"

namespace relume {

WeightAverage::WeightAverage(std::vector<NamedTensor> parameters, double decay)
    : parameters_(std::move(parameters)), decay_(decay) {
  for (const NamedTensor& p : parameters_) averages_.push_back(p.tensor.clone());
}

void WeightAverage::InPlace::exchange() const {
  if (!average_) return;
  for (size_t i = 0; i < average_->averages_.size(); ++i) {
    const Tensor &weight = average_->parameters_[i].tensor, &average = average_->averages_[i], held = weight.clone();
    weight.copy_from(average);
    average.copy_from(held);
  }
}

}  // namespace relume
