#!/bin/sh
# Compiler launcher:  ptxas_report.sh OBJECT COMPILER ARGUMENT ...
# Runs the command. For a .cu it keeps ptxas's report (registers, shared memory, spills) beside the
# object, as OBJECT.ptxas, for scripts/kernel_resources.sh; everything else is passed on.
object=$1
shift
case " $* " in
  *" -x cu "*) ;;
  *) exec "$@" ;;
esac
"$@" -Xptxas=-v 2> "$object.stderr"
status=$?
awk '/^ptxas info/ || /bytes stack frame/' "$object.stderr" > "$object.ptxas"
awk '!/^ptxas info/ && !/bytes stack frame/' "$object.stderr" >&2
rm -f "$object.stderr"
exit $status
