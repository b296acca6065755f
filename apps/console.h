// What people see while a command works: messages, a progress bar with rate and time left, Ctrl-C.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace diffscm::apps {

// After Ctrl-C, SIGTERM, SIGHUP, SIGUSR1 or SIGPIPE this is true, and long work stops at the next
// safe point. A second Ctrl-C or SIGTERM ends the program at once; the others come in twos from
// shells and closed pipes. A SIGHUP that nohup has switched off stays so.
void install_stop_signals();
bool stop_requested();
// Thrown by long work that stopped on request: exit code 130.
struct Stopped {};

// Opens /dev/null for those of stdin, stdout and stderr that the caller has closed, so that no file
// of ours takes their number and receives messages. Writes to such a stdout fail.
void reserve_standard_streams();
// To stderr. Whether anybody reads it does not matter: a closed terminal or a full disk must not
// end a training.
void write_stderr(std::string_view text);
// Why what was written to stdout has not all arrived; empty when it has.
std::string flush_stdout();

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
