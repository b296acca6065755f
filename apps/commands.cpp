// The commands of diffscm.
#include "apps/command.h"

namespace diffscm::apps {

void add_commands(CLI::App& app, Common& common) {
  add_train(app, common);
  add_sample(app, common);
  add_abduct(app, common);
  add_counterfactual(app, common);
  add_likelihood(app, common);
  add_sweep(app, common);
  add_evaluate(app, common);
  add_scm(app, common);
  add_inspect(app, common);
  add_import(app, common);
  add_export(app, common);
  add_targets(app, common);
  add_profile(app, common);
  add_generate(app, common);
}

}  // namespace diffscm::apps
