// mov, also between a register and the parts of a vector, and conversions of addresses between a
// state space and the generic one (PTX ISA 9.7.9.5, 9.7.9.20).
//
// A generic address is a host address. Shared memory and a lane's local memory are addressed from
// 0 within their spaces, and lie somewhere in host memory.
#include "kernels/softgpu/block.h"
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

constexpr auto kSame = [](auto a) { return a; };

// {low, high} from one register of twice their size, and back.
template <class Whole, class Part>
struct Unpack {
  DIFFSCM_LANES_INLINE static void leaf(Warp& w, const Instruction& i) {
    const Slot* parts = w.vector(i);
    const auto* whole = w.at<Word<Whole>>(i.operand[0]);
    auto* low = w.at<Word<Part>>(parts[0]);
    auto* high = w.at<Word<Part>>(parts[1]);
    for (int l = 0; l < kLanes; ++l) {
      if (!(w.active >> l & 1)) continue;
      const Word<Whole> v = whole[l];
      low[l] = static_cast<Part>(v);
      high[l] = static_cast<Part>(v >> 8 * sizeof(Part));
    }
  }
};
template <class Whole, class Part>
struct Pack {
  DIFFSCM_LANES_INLINE static void leaf(Warp& w, const Instruction& i) {
    const Slot* parts = w.vector(i);
    auto* whole = w.at<Word<Whole>>(i.operand[0]);
    const auto* low = w.at<Word<Part>>(parts[0]);
    const auto* high = w.at<Word<Part>>(parts[1]);
    for (int l = 0; l < kLanes; ++l)
      if (w.active >> l & 1)
        whole[l] = Word<Whole>(Part(low[l])) | Word<Whole>(Part(high[l])) << 8 * sizeof(Part);
  }
};

enum class From { shared, local };
template <From from, bool to_generic>
void convert_address(Warp& w, const Instruction& i) {
  auto* d = w.at<uint64_t>(i.operand[0]);
  const auto* a = w.at<uint64_t>(i.operand[1]);
  each_lane(w.active, [&](int l) {
    const auto base =
        reinterpret_cast<uint64_t>(from == From::shared ? w.block->shared() : w.block->local(w, l));
    d[l] = to_generic ? a[l] + base : a[l] - base;
  });
}

}  // namespace

void add_move_forms(Forms& f) {
  const auto kind = InstructionClass::integer;
  for (const std::string type : {"b16", "u16", "s16"})
    f.add("mov." + type, {lanewise<kSame, uint32_t, uint32_t>(), kind, "2 = 2"});
  for (const std::string type : {"b32", "u32", "s32", "f32"})
    f.add("mov." + type, {lanewise<kSame, uint32_t, uint32_t>(), kind, "4 = 4"});
  for (const std::string type : {"b64", "u64", "s64", "f64"})
    f.add("mov." + type, {lanewise<kSame, uint64_t, uint64_t>(), kind, "8 = 8"});
  f.add("mov.b32", {Cloned<Unpack<uint32_t, uint16_t>::leaf>::chosen(), kind, "v2x2 = 4"});
  f.add("mov.b32", {Cloned<Pack<uint32_t, uint16_t>::leaf>::chosen(), kind, "4 = v2x2"});
  f.add("mov.b64", {Cloned<Unpack<uint64_t, uint32_t>::leaf>::chosen(), kind, "v2x4 = 8"});
  f.add("mov.b64", {Cloned<Pack<uint64_t, uint32_t>::leaf>::chosen(), kind, "8 = v2x4"});

  f.add("cvta.global.u64", {lanewise<kSame, uint64_t, uint64_t>(), kind, "8 = 8"});
  f.add("cvta.to.global.u64", {lanewise<kSame, uint64_t, uint64_t>(), kind, "8 = 8"});
  f.add("cvta.local.u64", {convert_address<From::local, true>, kind, "8 = 8"});
  f.add("cvta.to.local.u64", {convert_address<From::local, false>, kind, "8 = 8"});
  f.add("cvta.shared.u64", {convert_address<From::shared, true>, kind, "8 = 8"});
  f.add("cvta.to.shared.u64", {convert_address<From::shared, false>, kind, "8 = 8"});
}

}  // namespace diffscm::softgpu
