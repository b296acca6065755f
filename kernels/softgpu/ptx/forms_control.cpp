// Branches, calls and exits (PTX ISA 9.7.12). The warp does the work (warp.cpp).
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

void branch(Warp& w, const Instruction& i) {
  w.branch(i);
}
void call(Warp& w, const Instruction& i) {
  w.call(i);
}
void return_(Warp& w, const Instruction&) {
  w.return_();
}
void exit(Warp& w, const Instruction&) {
  w.exit();
}
void trap(Warp& w, const Instruction&) {
  w.fault(std::countr_zero(w.active), "trap");
}
// Blocks of this device see each other's stores in order: there is nothing to wait for.
void fence(Warp&, const Instruction&) {}

}  // namespace

void converge(Warp& w, const Instruction&) {
  w.converge();
}

void add_control_forms(Forms& f) {
  const auto kind = InstructionClass::control;
  f.add("bra", {branch, kind, "= label"});
  f.add("bra.uni", {branch, kind, "= label"});
  f.add("call", {call, kind, "= call"});
  f.add("call.uni", {call, kind, "= call"});
  f.add("ret", {exit, kind, ""});  // of a kernel; of a function: return.function
  f.add("exit", {exit, kind, ""});
  f.add("return.function", {return_, kind, ""});
  f.add("trap", {trap, kind, ""});
  for (const std::string level : {"cta", "gl", "sys"}) f.add("membar." + level, {fence, kind, ""});
}

}  // namespace diffscm::softgpu
