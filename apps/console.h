// What people see while a command works: messages, a progress bar with rate and time left, Ctrl-C.
#pragma once

#include <chrono>
#include <string>

namespace diffscm::apps {

// After the first Ctrl-C (or SIGTERM) this is true and long work stops at the next safe point; a
// second one ends the program at once.
void install_stop_signal();
bool stop_requested();
// Thrown by long work that stopped on request: exit code 130.
struct Stopped {};

std::string duration(double seconds);  // "1h 02m", "3m 05s", "12s"

// Writes to stderr, so that stdout stays clean for --json and pipes. `quiet` silences it.
class Console {
 public:
  void set_quiet(bool quiet) { quiet_ = quiet; }
  bool quiet() const { return quiet_; }
  // One line for people.
  void say(const std::string& line);
  // Redraws the bar on a terminal; elsewhere prints a plain line now and then. `note` follows the
  // bar.
  void progress(const std::string& what, double done, double total, double eta_seconds,
                const std::string& note);
  // Leaves the bar as it is and starts a new line.
  void finish_progress();

 private:
  bool quiet_ = false;
  bool bar_open_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace diffscm::apps
