// The diffscm command: parses, dispatches, turns errors into one line and an exit code.
//   0 success   1 the work failed   2 the command line is wrong   130 stopped on request
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>

#include "apps/command.h"
#include "apps/config.h"
#include "data/progress.h"
#include "kernels/error.h"

using namespace diffscm;
using namespace diffscm::apps;

namespace {

std::string joined(int argc, char** argv) {
  std::string line = "diffscm";
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool plain = !argument.empty() &&
                       argument.find_first_of(" \t\n'\"\\$`*?&|;<>()[]{}") == std::string::npos;
    line += plain ? " " + argument : " '" + argument + "'";
  }
  return line;
}

// One line, whatever a file or a flag put into the message.
int report(std::string message, int exit_code) {
  std::replace_if(
      message.begin(), message.end(), [](unsigned char c) { return c < ' ' || c == 127; }, ' ');
  write_stderr(fmt::format("diffscm: {}\n", message));
  return exit_code;
}

// Data sets that are made once take minutes then.
void show_progress_of_data(Console& console) {
  using Clock = std::chrono::steady_clock;
  data::set_progress_listener([&console, begin = Clock::now(), was = std::string()](
                                  const std::string& what, int64_t done, int64_t total) mutable {
    if (stop_requested()) throw Stopped();
    if (what != was) begin = Clock::now();
    was = what;
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    console.progress(what, static_cast<double>(done), static_cast<double>(total),
                     seconds / static_cast<double>(done) * static_cast<double>(total - done), "");
  });
}

int run(int argc, char** argv) {
  Common common;
  common.command_line = joined(argc, argv);
  CLI::App app{"diffscm: counterfactual images by diffusion causal models"};
  app.set_version_flag("--version", std::string("diffscm ") + DIFFSCM_VERSION);
  app.require_subcommand(1);
  add_commands(app, common);
  const std::function<void(CLI::App*)> add_common_to_leaves = [&](CLI::App* command) {
    const auto children = command->get_subcommands([](CLI::App*) { return true; });
    for (CLI::App* child : children) add_common_to_leaves(child);
    if (children.empty()) common.visit(FlagDeclarer(*command));
  };
  add_common_to_leaves(&app);
  // Everything that must hold before any work starts; the subcommand's own callback follows.
  app.parse_complete_callback([&] {
    common.console.set_quiet(common.quiet);
    as_usage([&] { set_threads(common.threads); });
    require(common.precision == "f32" || common.target() != Target::cpu,
            "--precision bf16 needs --device cuda or emu; the cpu target computes in f32");
    // `inspect --memory` may ask about a device that is elsewhere.
    if (!app.got_subcommand("inspect")) operators(common.target());
    install_stop_signals();
    show_progress_of_data(common.console);
  });

  ConfigFlags flags;
  try {
    flags = expand_config_flags({argv + 1, argv + argc});
    // In the order that CLI11 wants.
    app.parse(std::vector<std::string>(flags.arguments.rbegin(), flags.arguments.rend()));
    return 0;
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForAllHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForVersion& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    // What was not understood says more than what is therefore missing.
    const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
    std::string what = unknown.empty() ? e.what() : unknown.front();
    if (const size_t twice = what.find(": At Most 1 required"); twice != std::string::npos)
      what = what.substr(0, twice) + " is given more than once";
    const std::string problem =
        flags.source_of(what) + (unknown.empty() ? "" : "unknown argument ") + what;
    return report(problem + " (see diffscm --help)", 2);
  } catch (const Stopped&) {
    common.console.finish_progress();
    return report("stopped", 130);
  } catch (const UsageError& e) {
    return report(flags.source_of(e.what()) + e.what(), 2);
  } catch (const std::bad_alloc&) {  // of what is not a tensor
    common.console.finish_progress();
    return report(
        "out of memory on the host: give a smaller data set or --batch, or images in files, which "
        "are decoded as they are needed (--data FOLDER:memory=N)",
        1);
  } catch (const std::exception& e) {
    common.console.finish_progress();
    return report(e.what(), 1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  reserve_standard_streams();
  const int code = run(argc, argv);
  const std::string lost = flush_stdout();
  return lost.empty() || code != 0 ? code : report(lost, 1);
}
