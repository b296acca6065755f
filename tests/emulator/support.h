// What the emulator's tests share.
#pragma once

#include <gtest/gtest.h>
#include <omp.h>

#include <string>

#include "kernels/emulator/order.h"
#include "kernels/emulator/race.h"
#include "kernels/emulator/sanitizer.h"
#include "kernels/error.h"

namespace diffscm::kernels::emu::test {

// The message of the Error that f throws; "" if it throws none.
template <class F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// Runs f in several thread orders and with several numbers of OS threads.
template <class F>
void in_every_order(const F& f) {
  const int threads_before = omp_get_max_threads();
  for (const char* order : {"forward", "reverse", "random:1", "random:2", "random:3"}) {
    for (const int threads : {1, 3}) {
      SCOPED_TRACE(std::string(order) + ", OS threads: " + std::to_string(threads));
      emulator::set_order(emulator::Order::parse(order));
      omp_set_num_threads(threads);
      f();
    }
  }
  emulator::set_order({});
  omp_set_num_threads(threads_before);
}

}  // namespace diffscm::kernels::emu::test

// "FILE:LINE" of the line `distance` lines below this one, as reports name it.
#define LINE_BELOW(distance)                                                  \
  std::string(__FILE__).substr(std::string(__FILE__).rfind("tests/")) + ":" + \
      std::to_string(__LINE__ + (distance))

#define EXPECT_REPORT(message, part) \
  EXPECT_NE((message).find(part), std::string::npos) << "reported: " << (message)
