// The shipped graphs of generated worlds say what the generators do.
#include "causal/model_folder.h"
#include "data/draws.h"
#include "data/faces.h"
#include "data/morpho/morpho.h"
#include "data/pendulum.h"
#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

ModelFile shipped(const char* file) {
  return load_model(std::filesystem::path(DIFFSCM_GRAPHS) / file, /*unfitted=*/true);
}

TEST(WorldGraphs, faces) {
  const auto loaded = shipped("faces.toml");
  const Graph& graph = loaded.model.graph();
  std::map<std::string, size_t> node_of_column;
  for (size_t i = 0; i < graph.size(); ++i) node_of_column[graph[i].column] = i;
  // The states of a column are those of the data set's attribute.
  for (const data::Attribute& attribute : data::face_attributes())
    EXPECT_EQ(graph[node_of_column.at(attribute.name)].attribute.states, attribute.states);
  // The same noise makes the same values: the tables agree, and the order of the states.
  std::array<int, 4> ones{};
  for (uint64_t image = 0; image < 3000; ++image) {
    const data::FaceNoise noise = data::sample_face_noise(2, image);
    const data::FaceParents p = data::face_parents(noise);
    const data::Assignment truth{
        {"Young", p.young}, {"Male", p.male}, {"No_Beard", p.shaven}, {"Bald", p.bald}};
    const std::map<std::string, double> u = {{"Young", noise.u_young},
                                             {"Male", noise.u_male},
                                             {"No_Beard", noise.u_shaven},
                                             {"Bald", noise.u_bald}};
    NodeValues values(graph.size());
    for (const auto& [column, value] : truth) values[node_of_column.at(column)] = Values({value});
    size_t k = 0;
    for (const auto& [column, value] : truth) {
      const size_t node = node_of_column.at(column);
      const Values made = loaded.model.mechanism(node).predict(
          Values({u.at(column)}), loaded.model.parent_values(node, values));
      ASSERT_EQ(made.numbers[0], value) << column << " of image " << image;
      ones[k++] += static_cast<int>(value);
    }
  }
  for (const int count : ones) EXPECT_GT(count, 0);
}

// To the last digit, which samples cannot show.
TEST(WorldGraphs, faces_tables) {
  const auto loaded = shipped("faces.toml");
  const Graph& graph = loaded.model.graph();
  const auto rows = [&](const char* node) {
    return graph[graph.find(node)].mechanism.parameters.at("rows");
  };
  EXPECT_EQ(rows("age")[0][0], data::kOld);
  EXPECT_EQ(rows("gender")[0][0], data::kFemale);
  for (const auto& [node, table] :
       {std::pair{"beard", data::kBearded}, {"baldness", data::kHaired}})
    for (const auto& row : rows(node))
      EXPECT_EQ(row[2], table[row[0] == "young"][row[1] == "male"]) << row;
}

TEST(WorldGraphs, morpho) {
  const auto loaded = shipped("morpho.toml");
  const Graph& graph = loaded.model.graph();
  const size_t thickness = graph.find("thickness"), intensity = graph.find("intensity");
  EXPECT_EQ(graph[thickness].attribute.low, data::morpho::kMinThickness);
  EXPECT_EQ(graph[thickness].attribute.high, data::morpho::kMaxThickness);
  EXPECT_EQ(graph[intensity].attribute.low, data::morpho::kMinIntensity);
  EXPECT_EQ(graph[intensity].attribute.high, data::morpho::kMaxIntensity);
  double total = 0;
  for (const auto& p : graph[graph.find("digit")].mechanism.parameters.at("rows")[0])
    total += p.get<double>();
  EXPECT_NEAR(total, 1, 1e-12);
  for (uint64_t image = 0; image < 500; ++image) {
    const data::morpho::Parents p = data::morpho::sample_parents(2, image);
    NodeValues values(graph.size());
    values[thickness] = Values({p.thickness});
    const auto made = [&](size_t node, double u) {
      return loaded.model.mechanism(node)
          .predict(Values({u}), loaded.model.parent_values(node, values))
          .numbers[0];
    };
    EXPECT_NEAR(made(thickness, p.thickness - 0.5), p.thickness, 1e-12);
    EXPECT_NEAR(made(intensity, p.u_intensity), p.intensity, 1e-9);
  }
}

TEST(WorldGraphs, pendulum) {
  const auto loaded = shipped("pendulum.toml");
  const Graph& graph = loaded.model.graph();
  for (const data::Attribute& attribute : data::pendulum_attributes())
    EXPECT_EQ(graph[graph.find(attribute.name)].attribute, attribute);
  for (uint64_t image = 0; image < 500; ++image) {
    const data::PendulumNoise noise = data::sample_pendulum_noise(2, image);
    const data::PendulumParents p = data::pendulum_parents(noise);
    const data::Assignment truth{{"pendulum", p.pendulum},
                                 {"light", p.light},
                                 {"shadow_length", p.shadow_length},
                                 {"shadow_position", p.shadow_position}};
    NodeValues values(graph.size());
    for (const auto& [node, value] : truth) values[graph.find(node)] = Values({value});
    const auto made = [&](const char* name, double u) {
      const size_t node = graph.find(name);
      return loaded.model.mechanism(node)
          .predict(Values({u}), loaded.model.parent_values(node, values))
          .numbers[0];
    };
    EXPECT_NEAR(made("shadow_length", noise.u_length), p.shadow_length, 1e-12);
    EXPECT_NEAR(made("shadow_position", noise.u_position), p.shadow_position, 1e-12);
    EXPECT_EQ(made("light", p.light), p.light);
  }
}

}  // namespace
}  // namespace diffscm::causal
