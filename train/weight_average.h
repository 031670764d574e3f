// A running average of the weights (EMA): average = decay * average + (1 - decay) * weight after every step, by which the
// optimiser moves it (adamw.h).
#pragma once

#include <vector>

#include "layers/module.h"

namespace relume {

class WeightAverage {
 public:
  // Begins with the weights as they are.
  WeightAverage(std::vector<NamedTensor> parameters, double decay);

  double decay() const { return decay_; }
  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  const std::vector<Tensor>& averages() const { return averages_; }  // of parameters(), in memory layout

  // The averages stand in the network, and the weights in their place, while one lives.
  class InPlace {
   public:
    explicit InPlace(const WeightAverage* average) : average_(average) { exchange(); }  // null: nothing happens
    ~InPlace() { exchange(); }
    InPlace(const InPlace&) = delete;
    InPlace& operator=(const InPlace&) = delete;

   private:
    void exchange() const;
    const WeightAverage* average_;
  };

 private:
  std::vector<NamedTensor> parameters_;
  std::vector<Tensor> averages_;
  double decay_;
};

}  // namespace relume
