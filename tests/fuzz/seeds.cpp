// Writes small files of every format that is read, a folder each, for the fuzzers to begin with.
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "engine/io/file.h"
#include "engine/io/idx.h"
#include "engine/io/npz.h"
#include "engine/io/safetensors.h"
#include "engine/io/torch_file.h"
#include "tests/engine/tar_testing.h"

namespace {

namespace fs = std::filesystem;
namespace io = diffscm::io;
using diffscm::Tensor;

void put(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  io::atomic_write(path, text);
}

void write_seeds(const fs::path& out) {
  // Pictures: those that Pillow wrote (bench/peers/golden_pictures.py), "file colour.jpg", ...
  for (const auto& [name, array] : io::read_npz(DIFFSCM_TESTS "/golden/pictures.npz")) {
    if (!name.starts_with("file ")) continue;
    const std::string file = name.substr(5), ending = fs::path(file).extension().string();
    put(out / (ending == ".jpg" ? "jpeg" : ending.substr(1)) / file,
        {reinterpret_cast<const char*>(array.bytes.data()), array.bytes.size()});
  }
  using diffscm::testing::TarFormat;
  for (const auto& [name, format] :
       {std::pair{"ustar", TarFormat::ustar}, std::pair{"gnu", TarFormat::gnu},
        std::pair{"pax", TarFormat::pax}})
    put(out / "tar" / name,
        diffscm::testing::make_tar({{"folder", "", AE_IFDIR},
                                    {"a.jpg", std::string(600, 'a')},
                                    {"a.cls", "3"},
                                    {std::string(90, 'x') + "/" + std::string(90, 'y'), "{}"}},
                                   format));
  const Tensor tensor = Tensor::from(std::vector<float>{1, -2, 3.5f, 0, 1e-30f, 7}, {2, 3});
  for (const char* folder : {"npz", "idx", "safetensors", "torch_file"})
    fs::create_directories(out / folder);
  io::write_npz(out / "npz/a.npz",
                {{"images", io::NpyArray::from(tensor)},
                 {"labels", io::NpyArray::from(std::vector<int64_t>{1, 2}, {2})}});
  io::write_idx(out / "idx/a", {{2, 2, 3}, std::vector<uint8_t>(12, 7)});
  io::write_safetensors(out / "safetensors/a", {{{"a", tensor}, {"b", tensor}}, {{"key", "text"}}});
  io::write_torch_file(out / "torch_file/ours.pt", {{"a", tensor}, {"b", tensor}});
  for (const char* name : {"torch_zip.pt", "torch_stream.pt"})
    fs::copy_file(fs::path(DIFFSCM_TESTS) / "golden" / name, out / "torch_file" / name,
                  fs::copy_options::overwrite_existing);
  for (const fs::path& path : io::list_folder(DIFFSCM_GRAPHS)) {
    const std::string ending = path.extension().string();
    if (ending != ".toml" && ending != ".bif") continue;
    fs::create_directories(out / ending.substr(1));
    fs::copy_file(path, out / ending.substr(1) / path.filename(),
                  fs::copy_options::overwrite_existing);
  }
  put(out / "dot/digraph", "digraph \"g\" { a -> b -> {c d} [x=<<i>y</i>>]; e [states=\"x,y\"]; }");
  put(out / "dot/dag",
      "dag { bb=\"0,0\" A [exposure,pos=\"1,2\"] A -> B <- C; B <-> C U [latent] }");
  put(out / "csv/a", "a,b\n1.5,x\n\"2\",\"y\"\r\n,\n-1e-3, x \n");
  put(out / "expression/a", "2*x + max(y, sin(x)^2) > 1 ? -x : sigmoid(`y`)/3e-2");
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fputs("fuzz_seeds FOLDER\n", stderr);
    return 2;
  }
  try {
    write_seeds(arguments[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fuzz_seeds: %s\n", error.what());
    return 1;
  }
}
