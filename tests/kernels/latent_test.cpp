// The Gaussian latent against the double reference, its gradient against central differences.
#include "tests/kernels/support.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

TARGET_TEST(GaussianLatent, MatchesReference) {
  for (const auto& [n, latent] : {std::pair<int64_t, int64_t>{1, 1}, {5, 16}, {3, 33}, {130, 7}}) {
    const auto posterior = d.input(random_floats(n * 2 * latent, 1)),
               noise = d.input(random_floats(n * latent, 2)),
               dz = d.input(random_floats(n * latent, 3)), dkl = d.input(random_floats(n, 4));
    auto z = d.output(n * latent), kl = d.output(n), dposterior = d.output(n * 2 * latent);
    d.table.gaussian_latent({n, latent, posterior, noise, z, kl});
    d.table.gaussian_latent_backward({n, latent, posterior, noise, dz, dkl, dposterior});
    const std::string name = fmt::format("[{}, {}]", n, latent);
    const auto expected =
        reference::gaussian_latent(n, latent, posterior.doubles(), noise.doubles());
    expect_close(z, expected.z, 3e-7, name + " z");
    expect_close(kl, expected.kl, 3e-7, name + " kl");
    const Doubles p = posterior.doubles(), e = noise.doubles(), gz = dz.doubles(),
                  gk = dkl.doubles();
    const auto f = [&](const Doubles& v) {
      const auto r = reference::gaussian_latent(n, latent, v, e);
      return dot(r.z, gz) + dot(r.kl, gk);
    };
    const Floats gradient = dposterior.floats();
    for (size_t i = 0; i < gradient.size(); i += 1 + gradient.size() / 60) {
      Doubles above = p, below = p;
      above[i] += 1e-5;
      below[i] -= 1e-5;
      const double numeric = (f(above) - f(below)) / 2e-5;
      EXPECT_NEAR(gradient[i], numeric, 1e-5 * std::max(1.0, std::abs(numeric)))
          << name << " " << i;
    }
  }
}

TARGET_TEST(GaussianLatent, ThePriorHasNoDivergenceFromItself) {
  const auto posterior = d.input(Floats(8)), noise = d.input(random_floats(4, 1));
  auto z = d.output(4), kl = d.output(1);
  d.table.gaussian_latent({1, 4, posterior, noise, z, kl});
  EXPECT_EQ(kl.floats()[0], 0);
  EXPECT_EQ(z.floats(), noise.floats());
}

TARGET_TEST(GaussianLatent, RejectsBadArguments) {
  const auto x = d.input(Floats(8));
  auto y = d.output(8);
  EXPECT_NO_THROW(d.table.gaussian_latent({0, 4, nullptr, nullptr, nullptr, nullptr}));
  EXPECT_THROW(d.table.gaussian_latent({1, 0, x, x, y, y}), Error);
  EXPECT_THROW(d.table.gaussian_latent({1, 4, nullptr, x, y, y}), Error);
  EXPECT_THROW(d.table.gaussian_latent_backward({1, 4, x, x, x, nullptr, y}), Error);
}

}  // namespace
}  // namespace diffscm::kernels
