// The commands of diffscm-demo: those that scripts/demo.sh gives.
#include "apps/command.h"

namespace diffscm::apps {

void add_commands(CLI::App& app, Common& common) {
  add_counterfactual(app, common);
  add_inspect(app, common);
}

}  // namespace diffscm::apps
