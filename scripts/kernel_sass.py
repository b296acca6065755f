#!/usr/bin/env python3
"""What ptxas made of the hot kernels: loads and stores by width, instructions per tensor-core instruction in the innermost
loops, registers and the blocks that they leave room for on a multiprocessor. The compiler's own report (kernel_resources.sh)
shows none of this, and the source promises it.

  scripts/kernel_sass.py [--check] [--kernel PATTERN] [--arch 90] [BUILD]

--check: compares with the table LIMITS below and fails where a kernel is past them or gone, and where any kernel does not
begin with the wait for the one ahead of it (kernels/cuda/device/follow.h). Needs a build with nvcc and nvdisasm: on the PATH, or where NVDISASM says (PyPI has it as nvidia-cuda-nvdisasm). Exit code 77 without it."""
import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
MEMORY = ("LDG", "STG", "LDS", "STS", "LDL", "STL", "LDSM", "LDGSTS")

# griddepcontrol.wait, and what may not stand before it in a kernel that may start before the one ahead of it is done.
WAIT = "ACQBULK"
AFTER_WAIT = {"LD", "ST", "LDG", "STG", "LDGSTS", "ATOM", "ATOMG", "RED", "REDG", "UBLKCP", "EXIT"}

# Their double-precision sine reads a table of CUDA's own.
MAY_READ_CONSTANT = {"embed_timesteps", "time_projections_kernel"}

# Of sm_90, by the beginning of a kernel's name: what must hold of every kernel that begins so. A new rung of a hot operator
# belongs here.
#   has        accesses that the source asks for and the compiler may lose: 16 bytes at a time, and asynchronous copies
#   at_most    how many of an access there may be: {"LDS16": 0} says that nothing reads shared memory two bytes at a time (a slab's
#              forward may: the first pixel of each channel)
#   per_mma    instructions for each HMMA (HGMMA, which is worth 16 or 24 of them), in the innermost loop that has most of them;
#              whether all warps execute them is not known (of the weight gradient's, a third are for one warp or for the tiles
#              of the first columns)
#   blocks     that fit a multiprocessor, by registers and threads; a launch's shared memory may leave room for fewer
TILED = {"LDS128", "STG128", "LDSM", "LDGSTS"}
IN_VECTORS = {"LDG128", "STG128"}
LIMITS = {
    "conv2d_mma_strip_kernel<StripTile<256, 32,": {"has": TILED | {"LDG128"}, "per_mma": 3.9, "blocks": 4},
    "conv2d_mma_strip_kernel<StripTile<128, 64, 64, 32, false, false, false": {"has": TILED | {"LDG128"}, "per_mma": 3.1, "blocks": 4},
    "conv2d_mma_strip_kernel<StripTile<128, 64, 64, 32, false, true": {"has": TILED | {"LDG128"}, "per_mma": 4.2, "blocks": 4},
    "conv2d_mma_strip_kernel<StripTile<128, 64, 64, 32, true": {"has": TILED | {"LDG128"}, "per_mma": 3.1, "blocks": 4},
    "conv2d_mma_strip_kernel<StripTile<128, 64, 64, 32, false, false, true": {"has": TILED | {"LDG128"}, "per_mma": 3.9, "blocks": 4},
    "conv2d_mma_strip_kernel<StripTile<256, 64, 64, 32, false, false, false": {"has": TILED | {"LDG128"}, "per_mma": 3.0, "blocks": 2},
    "conv2d_mma_strip_kernel<StripTile<256, 64, 64, 32, true": {"has": TILED | {"LDG128"}, "per_mma": 3.1, "blocks": 2},
    "conv2d_mma_strip_kernel<StripTile<256, 64, 64, 32, false, false, true": {"has": TILED | {"LDG128"}, "per_mma": 3.7, "blocks": 2},
    "conv2d_mma_strip_kernel<StripTile<144, 64, 48, 32,": {"has": TILED | {"LDG128"}, "per_mma": 3.8, "blocks": 2},
    "conv2d_mma_strip_kernel<StripTile<64, 32, 16, 32, false, false, false": {"has": TILED | {"LDG128"}, "per_mma": 6.5, "blocks": 5},
    "conv2d_mma_strip_kernel<StripTile<64, 32, 16, 32, false, true": {"has": TILED | {"LDG128"}, "per_mma": 9.7, "blocks": 5},
    "conv2d_mma_strip_kernel<StripTile<64, 32, 16, 32, true": {"has": TILED | {"LDG128"}, "per_mma": 6.3, "blocks": 5},
    "conv2d_mma_strip_kernel<StripTile<64, 32, 16, 32, false, false, true": {"has": TILED | {"LDG128"}, "per_mma": 9.7, "blocks": 5},
    "conv2d_mma_kernel<MmaTile<128, 128,": {"has": TILED | {"LDG128"}, "per_mma": 7.5, "blocks": 2},
    "conv2d_mma_kernel<MmaTile<128, 64,": {"has": TILED | {"LDG128"}, "per_mma": 9.6, "blocks": 4},
    "conv2d_mma_kernel<MmaTile<128, 32,": {"has": TILED | {"LDG128"}, "per_mma": 17, "blocks": 5},
    "conv2d_mma_kernel<MmaTile<64, 32,": {"has": TILED | {"LDG128"}, "per_mma": 25, "blocks": 8},
    "conv2d_wgmma_kernel<WgmmaTile<128,": {"has": {"LDS128", "STG128", "LDG128", "LDGSTS"}, "per_mma": 43, "blocks": 1},
    "conv2d_wgmma_kernel<WgmmaTile<192,": {"has": {"LDS128", "STG128", "LDG128", "LDGSTS"}, "per_mma": 43, "blocks": 1},
    "conv2d_backward_weight_mma_kernel<MmaTile<128, 128,": {"has": TILED, "per_mma": 11.6, "blocks": 2},
    "conv2d_backward_weight_mma_kernel<MmaTile<64, 128,": {"has": TILED, "per_mma": 10.2, "blocks": 4},
    "conv2d_backward_weight_mma_kernel<MmaTile<32, 96,": {"has": TILED, "per_mma": 20, "blocks": 7},
    "conv2d_backward_weight_wgmma_kernel": {"has": {"LDGSTS", "LDSM", "LDS128", "STG128"}, "per_mma": 11.5, "blocks": 1},
    "matmul_mma_kernel<MmaTile<128, 128,": {"has": TILED | {"LDG128"}, "per_mma": 5.5, "blocks": 2},
    "matmul_mma_kernel<MmaTile<64, 64,": {"has": TILED | {"LDG128"}, "per_mma": 8.5, "blocks": 6},
    "attention_tensor<64>": {"has": TILED, "per_mma": 5.5, "blocks": 3},
    "attention_backward_tensor<64,": {"has": TILED, "per_mma": 4.8, "blocks": 2},
    "group_norm_slab<bf16, 8,": {"has": {"LDGSTS", "LDS128", "STG128"}, "at_most": {"LDS16": 6, "STG16": 0}, "blocks": 4},
    "group_norm_slab<float, 4,": {"has": {"LDGSTS", "LDS128", "STG128"}, "blocks": 4},
    "group_norm_apply<bf16, 8,": {"has": IN_VECTORS, "at_most": {"LDG16": 0, "STG16": 0}, "blocks": 2},
    "channel_moments<bf16, 8>": {"has": {"LDG128"}, "at_most": {"LDG16": 0}, "blocks": 2},
    "norm_coefficients": {"has": {"LDG128", "STS128"}, "blocks": 4},
    "group_norm_backward_slab<bf16, 8,": {"has": {"LDGSTS", "LDS128", "STG128"}, "at_most": {"LDS16": 0, "STG16": 0}, "blocks": 2},
    "group_norm_backward_slab<float, 4,": {"has": {"LDGSTS", "LDS128", "STG128"}, "blocks": 2},
    "adamw_step<4>": {"has": IN_VECTORS, "blocks": 4},
    "ddim_update_step<4,": {"has": IN_VECTORS, "blocks": 5},
    "sum_columns<8, bf16>": {"has": {"LDG128", "LDS128"}, "at_most": {"LDG16": 0}, "blocks": 8},
    "squared_error<4>": {"has": IN_VECTORS, "blocks": 5},
    # Of its many loops with mma this is one over a single tile, which has two wgmma a round.
    "whole_network_kernel": {"has": {"LDS128", "LDG128", "STG128", "LDSM"}, "per_mma": 13, "blocks": 1},
    "pool_pixels<8, bf16>": {"has": IN_VECTORS, "blocks": 6},
}


def width(opcode):
    """Bits of an access: LDG.E.128.CONSTANT -> 128."""
    for name, bits in (("128", 128), ("64", 64), ("U16", 16), ("S16", 16), ("U8", 8), ("S8", 8)):
        if name in opcode.split(".")[1:]:
            return bits
    return 32


class Kernel:
    def __init__(self, name):
        self.name, self.registers, self.threads, self.bounded = name, 0, 1, False
        self.opcodes, self.labels, self.jumps = [], {}, []

    def accesses(self):
        """{"LDG128": how many instructions} of the whole kernel."""
        count = collections.Counter()
        for opcode in self.opcodes:
            base = opcode.split(".")[0]
            if base in ("LDSM", "LDGSTS"):
                count[base] += 1
            elif base in MEMORY:
                count[f"{base}{width(opcode)}"] += 1
        return count

    def per_mma(self):
        """Instructions for each HMMA in the innermost loop with most of them; None without tensor cores."""
        loops = [(self.labels[to], at + 1) for at, to in self.jumps if self.labels.get(to, at + 1) <= at]
        best = None
        for begin, end in loops:
            if any((a, b) != (begin, end) and begin <= a and b <= end and self.mma(a, b) for a, b in loops):
                continue
            mma = self.mma(begin, end)
            if mma and (best is None or mma > best[0]):
                best = mma, (end - begin) / mma
        return best and best[1]

    def early_faults(self):
        """What is wrong with a kernel that may start early, in words."""
        bases = [opcode.split(".")[0] for opcode in self.opcodes]
        if WAIT not in bases:
            return ["no follow_previous_kernel()"]
        found = [f"{base} before {WAIT}" for base in sorted(AFTER_WAIT.intersection(bases[: bases.index(WAIT)]))]
        if self.name.split("<")[0] not in MAY_READ_CONSTANT and any(opcode.startswith("LDG") and "CONSTANT" in opcode.split(".") for opcode in self.opcodes):
            found.append("LDG.CONSTANT, which does not see what was written a moment before: drop __restrict__ or __ldg")
        return found

    def mma(self, begin, end):
        return sum(opcode.startswith(("HMMA", "HGMMA")) for opcode in self.opcodes[begin:end])

    def blocks(self):
        """That fit a multiprocessor of 65536 registers, given out to warps in units of 256, and 2048 threads."""
        if not self.bounded:
            return 0
        warps = -(-self.threads // 32)
        by_registers = 65536 // (-(-self.registers * 32 // 256) * 256) // warps
        return min(by_registers, 2048 // self.threads, 32)


def demangled(names):
    text = subprocess.run(["c++filt"], input="\n".join(names), text=True, capture_output=True, check=True).stdout
    short = [re.sub(r"diffscm::kernels::(cuda::)?|\(anonymous namespace\)::|^void ", "", line) for line in text.splitlines()]
    return {name: re.sub(r"\((?!anonymous).*", "", line) for name, line in zip(names, short)}


def read_sass(text):
    """The kernels of one disassembly, by mangled name."""
    kernels, registers, kernel, attribute = {}, {}, None, None
    about = None  # the kernel that a section of attributes is about
    for line in text.splitlines():
        section = re.match(r"\s*\.section\s+\.(text|nv\.info)(?:\.([^,\s]+))?,", line)
        if section:
            about = kernel = None
            if section[2]:
                about = kernels.setdefault(section[2], Kernel(section[2]))
                kernel = about if section[1] == "text" else None
            continue
        named = re.search(r"nvinfo : EIATTR_(\w+)", line)
        if named:
            attribute = named[1]
            continue
        word = re.search(r"\.word\s+(?:index@\(([^)]+)\)|0x([0-9a-f]+))", line)
        if word and attribute == "REGCOUNT":
            if word[1]:
                last = word[1]
            else:
                registers[last] = int(word[2], 16)
        elif word and word[2] and attribute == "MAX_THREADS" and about:
            about.threads *= int(word[2], 16)
            about.bounded = True
        if kernel is None:
            continue
        label = re.match(r"\s*(\.L_x_\d+):", line)
        if label:
            kernel.labels[label[1]] = len(kernel.opcodes)
        instruction = re.search(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);", line)
        if instruction:
            target = re.search(r"`\((\.L_x_\d+)\)", instruction[2])
            if instruction[1].startswith("BRA") and target:
                kernel.jumps.append((len(kernel.opcodes), target[1]))
            kernel.opcodes.append(instruction[1])
    kernels = {name: k for name, k in kernels.items() if k.opcodes}
    for name, k in kernels.items():
        k.registers = registers.get(name, 0)
    return kernels


def disassembled(objects, arch, tool, nvdisasm):
    kernels = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in objects:
            cubin = os.path.join(folder, "cubin")
            subprocess.run([tool, path, arch, cubin], check=True)
            text = subprocess.run([nvdisasm, cubin], capture_output=True, text=True, check=True).stdout
            kernels.update(read_sass(text))
    short = demangled(kernels)
    for name, k in kernels.items():
        k.name = short[name]
    return sorted(kernels.values(), key=lambda k: k.name)


def faults(kernel, limit):
    """What of `limit` does not hold, in words."""
    count, found = kernel.accesses(), []
    for access in limit.get("has", ()):
        if not count[access]:
            found.append(f"no {access}")
    for access, most in limit.get("at_most", {}).items():
        if count[access] > most:
            found.append(f"{count[access]} {access}, at most {most}")
    if "per_mma" in limit:
        per = kernel.per_mma()
        if per is None or per > limit["per_mma"]:
            found.append(f"{'no loop with HMMA' if per is None else f'{per:.2f} instructions per HMMA'}, at most {limit['per_mma']}")
    if kernel.blocks() < limit.get("blocks", 0):
        found.append(f"{kernel.blocks()} blocks per multiprocessor, at least {limit['blocks']}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", default="build")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--kernel", default="", help="only kernels whose name has this pattern")
    parser.add_argument("--arch", default="90")
    o = parser.parse_args()
    nvdisasm = os.environ.get("NVDISASM") or shutil.which("nvdisasm")
    if not nvdisasm:
        print("kernel_sass: skipped: no nvdisasm on the PATH, and NVDISASM does not name one")
        sys.exit(SKIPPED)
    build = pathlib.Path(o.build)
    tool = build / "bin" / "softgpu_cubin"
    objects = sorted(build.glob("kernels/cuda/CMakeFiles/*.dir/*.cu.o"))
    if not objects or not tool.exists():
        sys.exit(f"kernel_sass: {build} has no objects of nvcc's or no bin/softgpu_cubin: build it with nvcc first")
    if o.check:
        if o.arch != "90":
            sys.exit("kernel_sass: --check is of --arch 90")
    print(f"{'regs':>4} {'threads':>7} {'blocks':>6} {'instr':>6} {'per HMMA':>8}  kernel: accesses by bits")
    wrong, count, seen = 0, 0, set()
    for k in disassembled(objects, o.arch, tool, nvdisasm):
        limits = [beginning for beginning in LIMITS if k.name.startswith(beginning)]
        if not re.search(o.kernel, k.name):
            continue
        found = k.early_faults() + sorted({f for beginning in limits for f in faults(k, LIMITS[beginning])}) if o.check else []
        count += 1
        if o.check and not limits and not found:
            continue
        per = k.per_mma()
        accesses = " ".join(f"{name}:{n}" for name, n in sorted(k.accesses().items()))
        print(f"{k.registers:4} {k.threads if k.bounded else '':>7} {k.blocks():6} {len(k.opcodes):6} {f'{per:.2f}' if per else '':>8}  {k.name}: {accesses}")
        seen.update(limits)
        for fault in found:
            print(f"     <- {fault}")
            wrong += 1
    if o.check:
        for beginning in sorted(LIMITS.keys() - seen):
            print(f"     <- no kernel begins with '{beginning}'")
            wrong += 1
        print(f"{count} kernels, {len(LIMITS)} rows of limits, {wrong} faults")
        sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
