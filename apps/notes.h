// What a person should know about how a data set was read.
#pragma once

#include "apps/command.h"
#include "data/dataset.h"

namespace diffscm::apps {

// Says the data set's notes, each once however many splits and commands read the same source.
void say_notes(Common& common, const data::Dataset& dataset);

}  // namespace diffscm::apps
