#include "kernels/softgpu/machine_cost.h"

#include <cstdlib>

namespace diffscm::softgpu {
namespace {

struct Cost {
  std::string_view prefix;
  double instructions;
};

// The first prefix that fits counts; what none fits is one instruction.
constexpr Cost kCosts[] = {
    // Parameters are operands in constant memory, registers are renamed, addresses are 64 bits.
    {"ld.param", 0},
    {"ld.const", 0.5},
    {"mov.b32", 0.2},
    {"mov.b64", 0.2},
    {"mov.pred", 0.5},
    {"mov", 0.3},
    {"cvta", 0},
    {"cvt.u32.u64", 0},
    {"cvt.u64.u32", 0.3},
    {"cvt.s64.s32", 0.5},
    {"cvt.u32.u16", 0.5},
    {"cvt.u16.u32", 0},
    {"cvt.sat.f32.f32", 0},  // a modifier of the instruction before
    {"neg.f", 0},
    {"abs.f", 0},
    // 64-bit integers in halves. Shifts and products by an element's size join the addition (LEA,
    // IMAD.WIDE).
    {"add.s64", 1.3},
    {"add.u64", 1.3},
    {"sub.s64", 2},
    {"mul.lo.s64", 4},
    {"mad.lo.s64", 4},
    {"shl.b64", 0.5},
    {"shr.s64", 2},
    // The upper half is often known to be 0, and a shift by 32 only names another register; logic
    // has three operands (LOP3).
    {"shr.u64", 0.5},
    {"and.b64", 1},
    {"or.b64", 1},
    {"xor.b64", 1},
    {"xor.b32", 0.6},
    {"or.b32", 0.6},
    {"mul.hi.u32", 0.6},  // IMAD.WIDE gives both halves
    {"setp.eq.s64", 2},
    {"setp.ge.s64", 2},
    {"setp.lt.s64", 2},
    {"setp.le.s64", 2},
    {"setp.gt.s64", 2},
    {"setp.ne.s64", 2},
    {"selp.b64", 2},
    {"min.s64", 4},
    {"max.s64", 4},
    {"div.u64", 70},
    {"div.s64", 80},
    {"rem.u64", 70},
    {"rem.s64", 80},
    {"div.u32", 16},
    {"div.s32", 20},
    {"rem.u32", 17},
    {"rem.s32", 21},
    // Logic on predicates joins the comparison when it can.
    {"and.pred", 0.5},
    {"or.pred", 0.5},
    {"not.pred", 0.3},
    // Floating-point functions, on their fast paths.
    {"div.rn.f32", 9},
    {"div.approx.f32", 4},
    {"rcp.rn.f32", 6},
    {"sqrt.rn.f32", 7},
    {"ex2.approx.ftz", 1},
    {"rcp.approx.ftz", 1},
    {"ex2.approx", 3},
    {"div.rn.f64", 25},
    {"rcp.rn.f64", 18},
    {"sqrt.rn.f64", 20},
    {"membar", 2},
    {"mbarrier.try_wait", 2},  // and the branch to another try
    {"mbarrier.arrive", 2},
};

}  // namespace

double machine_instructions(std::string_view opcode) {
  for (const Cost& c : kCosts)
    if (opcode.starts_with(c.prefix)) return c.instructions;
  return 1;
}

double mma_instructions(std::string_view opcode) {
  constexpr std::string_view kWarpgroup = "wgmma.mma_async.sync.aligned.m64n";
  if (opcode.starts_with("mma.sync")) return 1;
  if (!opcode.starts_with(kWarpgroup)) return 0;
  return std::atoi(opcode.substr(kWarpgroup.size()).data()) / 8.0;
}

}  // namespace diffscm::softgpu
