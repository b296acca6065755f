#include "apps/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

namespace diffscm::apps {
namespace {

volatile std::sig_atomic_t g_stop = 0;

void on_signal(int signal) {
  if (g_stop) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  g_stop = 1;
}

}  // namespace

void install_stop_signal() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

bool stop_requested() {
  return g_stop != 0;
}

std::string duration(double seconds) {
  const long s = std::lround(std::max(0.0, seconds));
  if (s >= 3600) return fmt::format("{}h {:02}m", s / 3600, s / 60 % 60);
  if (s >= 60) return fmt::format("{}m {:02}s", s / 60, s % 60);
  return fmt::format("{}s", s);
}

void Console::say(const std::string& line) {
  if (quiet_) return;
  finish_progress();
  fmt::print(stderr, "{}\n", line);
}

void Console::progress(const std::string& what, double done, double total, double eta_seconds,
                       const std::string& note) {
  if (quiet_) return;
  const auto now = std::chrono::steady_clock::now();
  const bool terminal = isatty(STDERR_FILENO) != 0, complete = done >= total;
  const auto interval = terminal ? std::chrono::milliseconds(200) : std::chrono::seconds(10);
  if (!complete && now - last_ < interval) return;
  last_ = now;
  const double fraction = total > 0 ? std::clamp(done / total, 0.0, 1.0) : 1.0;
  const std::string eta = complete ? "done" : "eta " + duration(eta_seconds);
  if (!terminal) {
    fmt::print(stderr, "{} {:.0f}/{:.0f} ({:.0f}%) {} {}\n", what, done, total, 100 * fraction, eta,
               note);
    return;
  }
  constexpr int kWidth = 28;
  const int filled = static_cast<int>(fraction * kWidth);
  fmt::print(stderr, "\r\033[K{} [{:#<{}}{:.<{}}] {:3.0f}% {} {}", what, "", filled, "",
             kWidth - filled, 100 * fraction, eta, note);
  std::fflush(stderr);
  bar_open_ = true;
  if (complete) finish_progress();
}

void Console::finish_progress() {
  if (bar_open_) fmt::print(stderr, "\n");
  bar_open_ = false;
}

}  // namespace diffscm::apps
