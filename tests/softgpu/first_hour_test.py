#!/usr/bin/env python3
"""Runs a page of docs/ as a reader would: first_hour_test.py PAGE SOURCE BUILD SCRATCH NVCC.

Every ```sh block is given to bash, in order, in a folder that looks like the project's, and must succeed. Every line of a
```text block must occur in what the block before it printed, spaces aside."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

page, source, build, scratch, nvcc = map(pathlib.Path, sys.argv[1:])
shutil.rmtree(scratch, ignore_errors=True)
scratch.mkdir(parents=True)
for name in ("docs", "weights", "graphs"):
    (scratch / name).symlink_to(source / name)
(scratch / "build").symlink_to(build)
environment = dict(os.environ, PATH=f"{nvcc.parent}{os.pathsep}{os.environ['PATH']}")
for name in ("DIFFSCM_SOFTGPU", "DIFFSCM_SOFTGPU_PROFILE", "DIFFSCM_CONV"):
    environment.pop(name, None)

printed, commands = "", 0
for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.S | re.M):
    if language == "sh":
        run = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=scratch, env=environment, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        printed = run.stdout
        commands += 1
        print(f"--- {text}{printed}", flush=True)
        if run.returncode != 0:
            sys.exit(f"{page}: exit code {run.returncode} of:\n{text}")
    elif language == "text":
        lines = " \n ".join(" ".join(line.split()) for line in printed.splitlines())
        for line in text.splitlines():
            if " ".join(line.split()) not in lines:
                sys.exit(f"{page}: promises, and it is not printed: {line}")
if commands == 0:
    sys.exit(f"{page}: no commands")
