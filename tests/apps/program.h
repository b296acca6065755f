// Runs the built program as a user does: a process with arguments, an exit code and two streams.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/io_testing.h"

namespace diffscm::testing {

struct Result {
  int code = -1;  // of the exit; 1000 + n when signal n ended it
  std::string out, err;
};

// Where the two streams go: empty, into files that Result reads; "closed", nowhere; else that file.
struct Streams {
  std::string out = {}, err = {};
};

class Program {
 public:
  // Starts it with stdout and stderr in files of `scratch`, or as `streams` say.
  Program(const std::filesystem::path& scratch, std::vector<std::string> arguments,
          const Streams& streams = {})
      : out_(scratch / "stdout"), err_(scratch / "stderr") {
    arguments.insert(arguments.begin(), DIFFSCM_PROGRAM);
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      // Not as whoever runs the tests has them.
      for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE})
        ::signal(number, SIG_DFL);
      redirect(1, out_, streams.out);
      redirect(2, err_, streams.err);
      ::setenv("OMP_NUM_THREADS", "1", 1);
      ::setenv("DIFFSCM_OFFLINE", "1", 1);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  ~Program() {
    if (pid_ > 0) {
      signal(SIGKILL);
      wait();
    }
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal(int number) const { ::kill(pid_, number); }
  // Until `condition` holds; false when the program ended or two minutes passed before.
  bool run_until(const std::function<bool()>& condition) {
    const auto start = std::chrono::steady_clock::now();
    while (!condition()) {
      siginfo_t info{};
      ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
      if (info.si_pid != 0) return false;
      if (std::chrono::steady_clock::now() - start > std::chrono::minutes(2)) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }
  Result wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status), get(out_),
            get(err_)};
  }

 private:
  static void redirect(int descriptor, const std::filesystem::path& file, const std::string& to) {
    const int opened = ::open(file.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    if (to == "closed")
      ::close(descriptor);
    else
      ::dup2(to.empty() ? opened : ::open(to.c_str(), O_WRONLY | O_CLOEXEC), descriptor);
  }

  std::filesystem::path out_, err_;
  pid_t pid_ = -1;
};

}  // namespace diffscm::testing
