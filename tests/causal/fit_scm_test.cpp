#include "causal/fit_scm.h"

#include <cmath>

#include "causal/model_folder.h"
#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

// a -> b -> c, c binary; nothing is said about mechanisms.
Graph graph() {
  Node c = number("c", {"b"});
  c.kind = NodeKind::binary;
  c.attribute.states = {"no", "yes"};
  return Graph({number("a"), number("b", {"a"}), c});
}

NodeValues data(int64_t rows = 200) {
  NodeValues values(3);
  for (int64_t i = 0; i < rows; ++i) {
    RandomStream r({.seed = 5}, static_cast<uint64_t>(i));
    const double a = r.normal(), b = a + 0.3 * r.normal();
    values[0].numbers.push_back(a);
    values[1].numbers.push_back(b);
    values[2].numbers.push_back(b + 0.1 * r.normal() > 0);
  }
  return values;
}

Graph quick() {
  Graph g = with_mechanisms(graph(), MechanismSpec{"conditional-affine", {}});
  std::vector<Node> nodes(g.nodes().begin(), g.nodes().end());
  for (Node& node : nodes)
    if (node.mechanism.name != "empirical")
      node.mechanism.parameters = {{"steps", 300}, {"hidden", {8}}};
  return Graph(std::move(nodes));
}

TEST(FitScm, NodesGetMechanismsThatFitThem) {
  const Graph g = with_mechanisms(graph());
  EXPECT_EQ(g[0].mechanism.name, "empirical");
  EXPECT_EQ(g[1].mechanism.name, "diffusion");
  EXPECT_EQ(g[2].mechanism.name, "categorical-network");
  const Graph tables = with_mechanisms(Graph({binary("x", {}, {}), binary("y", {"x"}, {})}),
                                       MechanismSpec{"spline", {}});
  EXPECT_EQ(tables[0].mechanism.name, "empirical");
  EXPECT_EQ(tables[1].mechanism.name, "table");
  Node said = number("b", {"a"});
  said.mechanism.name = "spline";
  EXPECT_EQ(with_mechanisms(Graph({number("a"), said}))[1].mechanism.name, "spline");
}

TEST(FitScm, AStoppedFitGoesOnAndEndsTheSame) {
  struct Stop {};
  const testing::TemporaryFolder whole, stopped;
  std::vector<std::string> order;
  fit_scm(quick(), data(), whole.path(), {.seed = 1, .progress = [&](const ScmFitProgress& p) {
                                            if (p.finished) order.push_back(p.name);
                                            EXPECT_EQ(p.nodes, 3u);
                                          }});
  EXPECT_EQ(order, (std::vector<std::string>{"a", "b", "c"}));
  bool stopping = false;
  EXPECT_THROW(fit_scm(quick(), data(), stopped.path(),
                       {.seed = 1,
                        .progress =
                            [&](const ScmFitProgress& p) {
                              if (stopping) throw Stop{};
                              stopping = p.name == "c" && p.done > 0.5;
                            },
                        .stop = [&] { return stopping; }}),
               Stop);
  EXPECT_THROW(load_model(stopped.path()), Error);
  order.clear();
  double begun = 1;  // where in the middle of its node the fit goes on
  fit_scm(quick(), data(), stopped.path(), {.seed = 1, .progress = [&](const ScmFitProgress& p) {
                                              if (p.finished) order.push_back(p.name);
                                              if (p.done > 0) begun = std::min(begun, p.done);
                                            }});
  EXPECT_EQ(order, (std::vector<std::string>{"c"}));
  EXPECT_GT(begun, 0.5);
  EXPECT_FALSE(std::filesystem::exists(stopped.path() / "training"));
  for (const char* node : {"a", "b", "c"})
    EXPECT_EQ(testing::get(mechanism_path(stopped.path(), node)),
              testing::get(mechanism_path(whole.path(), node)))
        << node;
  const ModelFile model = load_model(whole.path());
  const NodeValues drawn = model.model.sample(first_rows(0, 500)).value;
  double agree = 0;
  for (size_t i = 0; i < 500; ++i) agree += (drawn[1].numbers[i] > 0) == (drawn[2].numbers[i] == 1);
  EXPECT_GT(agree, 400);
}

TEST(FitScm, AnAnswerThatIsNotFiniteIsRefused) {
  Node b = number("b", {"a"});
  b.mechanism = {"diffusion", {{"steps", 2}, {"hidden", {4}}}};
  const testing::TemporaryFolder folder;
  const NodeValues seen = data();
  fit_scm(with_mechanisms(Graph({number("a"), b})), {seen[0], seen[1]}, folder.path(), {.seed = 1});
  const StructuralCausalModel scm = load_model(folder.path()).model;
  const NodeValues far{Values(std::vector{0.0}), Values(std::vector{1e300})};
  const Rows one = first_rows(0, 1);
  EXPECT_EQ(scm.counterfactual(far, {}, one).counterfactual[1].numbers, far[1].numbers);
  expect_error(
      [&] {
        scm.counterfactual(far, {{0, set_to(scm.graph()[0], 1)}}, one);
      },
      R"(node "b": its mechanism (diffusion) makes no finite number)");
  // Nobody needs it where do() sets the node.
  const Intervention both{{0, set_to(scm.graph()[0], 1)}, {1, set_to(scm.graph()[1], 2)}};
  EXPECT_EQ(scm.counterfactual(far, both, one).counterfactual[1].numbers, std::vector{2.0});
}

// What training leaves behind is removed with its folder, and nothing else.
TEST(FitScm, ANodeMayBeCalledLikeAFolder) {
  const testing::TemporaryFolder folder;
  Node b = number("..", {"a"}), c = number(".", {"a"});
  for (Node* node : {&b, &c}) node->mechanism = {"additive-noise", {{"steps", 2}, {"hidden", {2}}}};
  fit_scm(with_mechanisms(Graph({number("a"), b, c})), data(), folder.path(), {});
  EXPECT_EQ(load_model(folder.path()).model.graph().size(), 3u);
}

TEST(FitScm, SaysWhichLatentNodeIsInTheWay) {
  Node latent = number("h");
  latent.column = "";
  const testing::TemporaryFolder folder;
  expect_error(
      [&] {
        fit_scm(with_mechanisms(Graph({latent, number("b", {"h"})})), data(), folder.path(), {});
      },
      "node \"h\" is latent");
  latent.mechanism = {"equation", {{"value", "u"}, {"noise", {{"u", "normal(0, 1)"}}}}};
  expect_error(
      [&] {
        fit_scm(with_mechanisms(Graph({latent, number("b", {"h"})})), data(), folder.path(), {});
      },
      "its parent \"h\" is latent");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace diffscm::causal
