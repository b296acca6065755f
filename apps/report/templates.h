// Files of this folder that are part of the program.
#pragma once

namespace diffscm::apps {

// counterfactual_page.html with its style and script inside.
extern const char* const kCounterfactualPage;

}  // namespace diffscm::apps
