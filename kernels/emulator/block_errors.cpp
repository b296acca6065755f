// What is said of a block that cannot go on: which thread did what, and where the others are.
#include <fmt/format.h>

#include <map>

#include "kernels/emulator/block.h"
#include "kernels/emulator/collectives.h"
#include "kernels/emulator/source_line.h"
#include "kernels/error.h"

namespace diffscm::kernels::emulator {
namespace {

std::string text(emu::uint3 i) {
  return fmt::format("({},{},{})", i.x, i.y, i.z);
}

}  // namespace

std::string Block::message(const std::string& what, Site site, const std::string& details) const {
  std::string message = whereabouts();
  if (site.file != nullptr || site.pc != nullptr) message += ", at " + place(site);
  message += ": " + what;
  if (!details.empty()) message += "\n" + details;
  return message;
}

std::string Block::whereabouts() const {
  return fmt::format("kernel {}, block {}, thread {}", launch_->kernel, text(emu::blockIdx),
                     text(running_->index));
}

void Block::fail(const std::string& what, Site site, const std::string& details) {
  throw Error(message(what, site, details));
}

void Block::stop(const std::string& what, Site site, const std::string& details) {
  error_ = std::make_exception_ptr(Error(message(what, site, details)));
  switch_context(fiber_->context, outside_);
  __builtin_unreachable();  // run() starts the fiber afresh
}

void Block::deadlock(Thread& thread) {
  fail("deadlock: no thread of the block can go on", thread.site, waiting_threads());
}

// Where the block's threads are, those at one place together.
std::string Block::waiting_threads() {
  std::map<std::string, std::vector<unsigned>> places;
  for (unsigned rank = 0; rank < threads_; ++rank) {
    const Thread& thread = thread_[rank];
    const auto at = [&](const char* what) {
      return fmt::format("{} at {}", what, place_with_callers(thread.site));
    };
    switch (thread.state) {
      case Thread::State::unstarted:
        places["not started"].push_back(rank);
        break;
      case Thread::State::running:
        places["running"].push_back(rank);
        break;
      case Thread::State::ready:
        places["ready to go on"].push_back(rank);
        break;
      case Thread::State::at_barrier:
        places[at("in __syncthreads()")].push_back(rank);
        break;
      case Thread::State::at_warp_operation:
        places[at(name(warp_[rank / 32].operation[rank % 32]->kind))].push_back(rank);
        break;
      case Thread::State::at_copies: {
        const BulkCopies::Barrier* const barrier = bulk_copies.find(thread.copy_barrier);
        places[at("in wait_for_copies()") +
               (barrier == nullptr
                    ? ", whose barrier was overwritten"
                    : fmt::format(", which lacks {} arrivals and {} bytes",
                                  barrier->missing_arrivals, barrier->missing_bytes))]
            .push_back(rank);
        break;
      }
      case Thread::State::exited:
        places["exited"].push_back(rank);
        break;
    }
  }
  std::string lines;
  for (const auto& [place, ranks] : places) {
    lines += fmt::format("  {} thread{} {}:", ranks.size(), ranks.size() == 1 ? "" : "s", place);
    for (size_t i = 0; i < ranks.size();) {
      size_t end = i + 1;
      while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
      lines += i == 0 ? " " : ", ";
      lines += end - i == 1 ? fmt::format("{}", ranks[i])
                            : fmt::format("{}-{}", ranks[i], ranks[end - 1]);
      i = end;
    }
    lines += "\n";
  }
  if (!lines.empty()) lines.pop_back();
  return lines;
}

}  // namespace diffscm::kernels::emulator
