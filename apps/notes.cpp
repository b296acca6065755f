#include "apps/notes.h"

#include <set>

namespace diffscm::apps {

void say_notes(Common& common, const data::Dataset& dataset) {
  static std::set<std::string> said;
  for (const std::string& note : dataset.notes)
    if (said.insert(note).second) common.console.say("note: " + note);
}

}  // namespace diffscm::apps
