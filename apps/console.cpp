#include "apps/console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>

namespace diffscm::apps {
namespace {

volatile std::sig_atomic_t g_stop = 0;

volatile std::sig_atomic_t g_insisted = 0;

void on_stop(int) {
  g_stop = 1;
}

void on_insistent_stop(int signal) {
  if (g_insisted) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  g_insisted = 1;
  g_stop = 1;
}

}  // namespace

void install_stop_signals() {
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, on_insistent_stop);
  for (const int signal : {SIGUSR1, SIGPIPE}) std::signal(signal, on_stop);
  if (std::signal(SIGHUP, on_stop) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}

bool stop_requested() {
  return g_stop != 0;
}

void reserve_standard_streams() {
  for (const int descriptor : {0, 1, 2}) {
    if (::fcntl(descriptor, F_GETFD) != -1) continue;
    // The lowest free number is the one that is missing.
    [[maybe_unused]] const int opened = ::open("/dev/null", descriptor == 1 ? O_RDONLY : O_RDWR);
  }
}

void write_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

std::string flush_stdout() {
  errno = 0;
  std::cout.flush();
  const bool arrived = std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good();
  const int reason = errno;
  if (arrived) return {};
  return fmt::format("cannot write to stdout: {}",
                     reason == 0 ? "not everything arrived" : std::strerror(reason));
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
  write_stderr(line + "\n");
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
    write_stderr(fmt::format("{} {:.0f}/{:.0f} ({:.0f}%) {} {}\n", what, done, total,
                             100 * fraction, eta, note));
    return;
  }
  constexpr int kWidth = 28;
  const int filled = static_cast<int>(fraction * kWidth);
  write_stderr(fmt::format("\r\033[K{} [{:#<{}}{:.<{}}] {:3.0f}% {} {}", what, "", filled, "",
                           kWidth - filled, 100 * fraction, eta, note));
  bar_open_ = true;
  if (complete) finish_progress();
}

void Console::finish_progress() {
  if (bar_open_) write_stderr("\n");
  bar_open_ = false;
}

}  // namespace diffscm::apps
