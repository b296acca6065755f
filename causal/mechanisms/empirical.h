// A root whose values are drawn from the data.
#pragma once

#include "causal/mechanism.h"

namespace diffscm::causal {

std::unique_ptr<Mechanism> make_empirical(const Role& role);

}  // namespace diffscm::causal
