# The threads of a kernel that runs on target emu, inside gdb (debug build):
#   (gdb) source scripts/emu_gdb.py
#   (gdb) emu-threads        what each thread of the block is doing
#   (gdb) emu-bt RANK [N]    the stack of a thread that waits; RANK = x + width (y + height z)
import gdb

SPACE = "diffscm::kernels::emulator::"
STATES = ["not started", "running", "ready to go on", "in __syncthreads()", "in a warp operation", "exited"]


def block():
    value = gdb.parse_and_eval("'" + SPACE + "(anonymous namespace)::running_block'")
    if int(value) == 0:
        raise gdb.GdbError("no kernel is running on this OS thread")
    return value.dereference()


def threads(of):
    first = of["thread_"]["_M_impl"]["_M_start"]
    return [(first + rank).dereference() for rank in range(int(of["threads_"]))]


def ranges(ranks):
    groups = []
    for rank in ranks:
        if groups and groups[-1][1] == rank - 1:
            groups[-1][1] = rank
        else:
            groups.append([rank, rank])
    return ", ".join("%d" % a if a == b else "%d-%d" % (a, b) for a, b in groups)


def place(thread, state):
    site = thread["site"]
    if state not in (3, 4) or int(site["file"]) == 0:
        return STATES[state]
    return "%s at %s:%d" % (STATES[state], site["file"].string(), int(site["line"]))


class Threads(gdb.Command):
    """What each thread of the emulated block is doing."""

    def __init__(self):
        super().__init__("emu-threads", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        groups = {}
        for rank, thread in enumerate(threads(block())):
            groups.setdefault(place(thread, int(thread["state"])), []).append(rank)
        for what, ranks in groups.items():
            print("%5d  %s: %s" % (len(ranks), what, ranges(ranks)))


class Backtrace(gdb.Command):
    """emu-bt RANK [N]: the stack (N frames) of a waiting thread of the emulated block."""

    def __init__(self):
        super().__init__("emu-bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        thread = threads(block())[int(argument.split()[0])]
        if int(thread["state"]) not in (2, 3, 4):
            raise gdb.GdbError("thread %s is %s: only one that waits has a stack to show"
                               % (argument.split()[0], STATES[int(thread["state"])]))
        # diffscm_emu_switch left six registers there (r15 r14 r13 r12 rbx rbp), then the address
        # at which it goes on.
        stack = thread["fiber"].dereference()["context"]["stack_pointer"].cast(
            gdb.lookup_type("unsigned long").pointer())
        selected = gdb.selected_frame().level()
        gdb.execute("frame 0", to_string=True)  # registers of other frames lie in memory
        saved = {name: int(gdb.parse_and_eval("$" + name)) for name in ("rsp", "rbp", "rip")}
        try:
            gdb.execute("set $rbp = %d" % int(stack[5]))
            gdb.execute("set $rip = %d" % int(stack[6]))
            gdb.execute("set $rsp = %d" % (int(stack) + 56))
            gdb.execute("backtrace " + " ".join(argument.split()[1:]))
        finally:
            for name, value in saved.items():
                gdb.execute("set $%s = %d" % (name, value))
            gdb.execute("frame %d" % selected, to_string=True)


Threads()
Backtrace()
