// PyTorch's .pt and .pth files: what torch.save writes, a zip archive since 1.6 and before that a
// row of pickles, read without Python. Nothing in a file is executed (engine/io/pickle.h).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/io/stored_floats.h"
#include "engine/tensor.h"

namespace diffscm::io {

// How a tensor lies in the storage, a run of numbers of one type, that it may share with others.
struct TorchView {
  std::string storage;
  Shape shape;
  std::vector<int64_t> strides;  // in elements, as the offset
  int64_t offset = 0;
};

class TorchFile {
 public:
  // Reads the structure, and the numbers of no tensor. Throws Error naming the file and the
  // problem.
  explicit TorchFile(const std::filesystem::path& path);
  ~TorchFile();

  using StateDict = std::map<std::string, TorchView>;
  // The dictionaries that hold tensors, by the keys that lead there: "" is the file's outermost,
  // "ema.model" the one under "model" under "ema".
  const std::map<std::string, StateDict>& state_dicts() const { return state_dicts_; }

  // The tensors of one of them, contiguous, on the cpu target: floating point (double, float, half,
  // bfloat16) as f32, integers and bool as i64. Memory: the tensors, which take together at most
  // the file's size and 64 MB in the types of the file, and one storage.
  std::map<std::string, Tensor> read(const std::string& state_dict) const;

 private:
  struct Storages;
  std::unique_ptr<Storages> storages_;
  std::map<std::string, StateDict> state_dicts_;
};

// A zip archive that torch.load(weights_only=True) opens as an OrderedDict of the tensors, each
// with a storage of its own. Atomic; the same tensors give the same bytes. f32, stored as `floats`
// says (engine/io/stored_floats.h), and i64.
void write_torch_file(const std::filesystem::path& path,
                      const std::map<std::string, Tensor>& tensors,
                      StoredFloats floats = StoredFloats::f32);

}  // namespace diffscm::io
