// Branches, calls and exits (PTX ISA 9.7.12), griddepcontrol (9.7.13). The warp does the work
// (warp.cpp).
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
  if (const uint32_t early = w.active & ~w.followed)
    w.fault(std::countr_zero(early),
            "the kernel may start before the one ahead of it is done, and ends without having "
            "waited for it: begin it with follow_previous_kernel()");
  w.exit();
}
void trap(Warp& w, const Instruction&) {
  w.fault(std::countr_zero(w.active), "trap");
}
// Kernels of this device run one after the other: only that it was said matters.
void wait_for_previous(Warp& w, const Instruction&) {
  w.followed |= w.active;
}
void launch_dependents(Warp&, const Instruction&) {}
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
  f.add("griddepcontrol.wait", {wait_for_previous, kind, ""});
  f.add("griddepcontrol.launch_dependents", {launch_dependents, kind, ""});
  for (const std::string level : {"cta", "gl", "sys"}) f.add("membar." + level, {fence, kind, ""});
}

}  // namespace diffscm::softgpu
