#include "data/mnist.h"

#include "tests/data/environment.h"
#include "tests/data/idx_testing.h"
#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;
using diffscm::testing::Variable;
using Index = std::vector<int64_t>;

TEST(Mnist, known_facts) {
  const Variable offline("DIFFSCM_OFFLINE", "1");
  Dataset train, test;
  try {
    train = load_dataset("mnist", Split::train);
  } catch (const Error& error) {
    if (!std::string(error.what()).starts_with("MNIST is not on this machine")) throw;
    GTEST_SKIP() << error.what();
  }
  test = load_dataset("mnist", Split::test);
  EXPECT_EQ(train.size(), 60000);
  EXPECT_EQ(test.size(), 10000);
  EXPECT_EQ(train.classes, 10);
  EXPECT_EQ(train.label_attribute().name, "digit");
  EXPECT_EQ(train.plausible_targets(2), (Index{3, 7}));
  const Index five = {0, 1, 2, 3, 4};
  EXPECT_EQ(train.labels_of(five), (Index{5, 0, 4, 1, 9}));
  EXPECT_EQ(test.labels_of(five), (Index{7, 2, 1, 0, 4}));
  double sum = 0;
  for (const float v : train.pixels) sum += (v + 1.0) / 2;
  EXPECT_NEAR(sum / static_cast<double>(train.pixels.size()), 0.1306604762738429, 1e-6);
  // Not transposed: the stroke of the first test image, a seven, begins with a bar along row 7.
  const std::vector<float> seven = test.images(Index{0}).to_vector();
  const auto row = [&](int r) {
    return std::count_if(seven.begin() + r * 28, seven.begin() + (r + 1) * 28,
                         [](float v) { return v > 0; });
  };
  EXPECT_GE(row(8), 10);
  EXPECT_LE(row(20), 5);
}

TEST(Mnist, the_environment_comes_first) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "mnist");
  put_idx(folder / "mnist/train-images-idx3-ubyte", folder / "mnist/train-labels-idx1-ubyte",
          std::string("\x00\x03", 2));
  put_idx(folder / "mnist/t10k-images-idx3-ubyte", folder / "mnist/t10k-labels-idx1-ubyte", "\x04");
  const Variable data("DIFFSCM_DATA", folder.path());
  const Dataset set = load_dataset("mnist", Split::train);
  EXPECT_EQ(set.size(), 2);
  EXPECT_EQ(set.labels, (Index{0, 3}));
  EXPECT_EQ(set.classes, 10);
}

TEST(Mnist, its_absence_names_all_the_choices) {
  const TemporaryFolder folder;
  const Variable offline("DIFFSCM_OFFLINE", "1"), cache("XDG_CACHE_HOME", folder / "cache");
  const Variable data("DIFFSCM_DATA", folder.path());
  for (const std::string& part :
       std::vector<std::string>{"DIFFSCM_OFFLINE", "DIFFSCM_DATA", "--data FOLDER", "--data digits",
                                folder.path(), folder / "cache"})
    expect_error([] { load_dataset("mnist", Split::test); }, part);
}

TEST(Mnist, a_wrong_variable_is_the_cause) {
  const TemporaryFolder folder;
  const Variable data("DIFFSCM_DATA", folder / "absent");
  expect_error([] { load_dataset("mnist", Split::train); }, "the variable DIFFSCM_DATA names");
}

TEST(Mnist, a_missing_test_set_is_known_in_training) {
  const TemporaryFolder folder;
  put_idx(folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte", "\x03");
  const Variable offline("DIFFSCM_OFFLINE", "1"), cache("XDG_CACHE_HOME", folder / "cache");
  const Variable data("DIFFSCM_DATA", folder.path());
  expect_error([] { load_dataset("mnist", Split::train); }, "MNIST is not on this machine");
}

}  // namespace
}  // namespace diffscm::data
