// Doubles in a mechanism's file, to the bit: tensors there are f32 or i64.
#pragma once

#include <bit>
#include <vector>

#include "engine/tensor.h"

namespace diffscm::causal {

inline Tensor exact_tensor(std::span<const double> numbers) {
  std::vector<int64_t> bits;
  for (const double x : numbers) bits.push_back(std::bit_cast<int64_t>(x));
  return Tensor::from(bits, {std::ssize(bits)});
}

// Throws Error unless it is a tensor that exact_tensor() makes.
inline std::vector<double> exact_numbers(const Tensor& tensor) {
  require(tensor.rank() == 1 && tensor.dtype() == Dtype::i64, "exact numbers are i64 [N], not {}",
          to_string(tensor.shape()));
  std::vector<double> numbers;
  for (int64_t i = 0; i < tensor.numel(); ++i)
    numbers.push_back(std::bit_cast<double>(tensor.data_i64()[i]));
  return numbers;
}

}  // namespace diffscm::causal
