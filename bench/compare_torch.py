#!/usr/bin/env python3
"""Relume and PyTorch side by side: the paper's SwinIR, forward and training step, alternately in one run.

    python3 bench/compare_torch.py stage1 [--size 512] [--runs 9] [--threads 2] [--quick]

Ours is the program stage1_bench of the build folder; PyTorch runs in NCHW and channels_last, eager, and for the forward
also through torch.compile with frozen weights. All read the same weights and pictures, and must compute the same numbers.
Every contender is a process of its own that sleeps while another runs; each round runs all of them once, in turning order.
OMP_WAIT_POLICY is left as found, the same for all, and printed: whether spinning pays depends on how busy the machine is.

Speed-up: PyTorch's median over ours, for the PyTorch contender with the best median.
Working memory: peak resident memory of a fresh process less one copy of weights (with buffers) and optimiser state; the
peak is counted from the moment the network stands until two runs are done. What the process held before it made a network
(libraries, and PyTorch's interpreter) is part of that figure; the figures named `_above_start` take it off on both sides.
PyTorch's smallest eager figure counts; a compiled process also holds the compiler. The last line is one JSON object.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = "relume"
VALUE_TOLERANCE = 1e-4  # relative; two PyTorch layouts differ by 3e-7
TORCH_NEEDS = "torch, spandrel, safetensors"


def stop(message):
    sys.exit(f"compare_torch.py: {message}")


class Contender:
    """A child process that runs its network once for every line `run`."""

    def __init__(self, name, command, environment, threads):
        self.name, self.times, self.values = name, [], []
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors)
        self.facts = self._reply()
        if self.facts["threads"] != threads:
            stop(f"{name} runs {self.facts['threads']} threads, {threads} were asked for")

    def _reply(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            stop(f"{self.name} ended with status {self.process.returncode}:\n{self.errors.read()[-2000:]}")
        return json.loads(line)

    def _ask(self, word):
        with contextlib.suppress(BrokenPipeError):  # _reply() reports the child that has gone
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
        return self._reply()

    def run(self):
        reply = self._ask("run")
        self.times.append(reply["seconds"])
        self.values.append(reply["value"])
        time.sleep(0.05)  # its worker threads spin for some milliseconds before they sleep

    def memory(self):
        return self._ask("memory")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()


def find_torch_python(given):
    """The interpreter named by --python, else by RELUME_TORCH_PYTHON, else the running one; it must have PyTorch."""
    python = given or os.environ.get("RELUME_TORCH_PYTHON") or sys.executable
    try:
        subprocess.run([python, "-c", f"import {TORCH_NEEDS}"], check=True, capture_output=True, text=True)
    except OSError as error:
        stop(f"cannot start {python}: {error.strerror}")
    except subprocess.CalledProcessError as error:
        stop(f"{python} cannot import {TORCH_NEEDS} ({error.stderr.strip().splitlines()[-1]}); make one that can with\n"
             "  python3 -m venv torch-env && torch-env/bin/pip install torch torchvision spandrel safetensors\n"
             "and name it: --python torch-env/bin/python, or RELUME_TORCH_PYTHON")
    return python


class Stage1:
    """How to start the contenders of one mode (forward or train)."""

    def __init__(self, args, folder):
        self.args = args
        self.weights, self.pictures = folder / "weights.safetensors", folder / "pictures.safetensors"
        self.torch = [args.python, "-W", "ignore", str(HERE / "torch_stage1.py")]
        self.environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads), MKL_NUM_THREADS=str(args.threads))
        if subprocess.run(self.torch + self._common() + ["--write"], env=self.environment).returncode:
            stop("could not write the weights and pictures both sides read")

    def _common(self):
        return ["--size", str(self.args.size), "--threads", str(self.args.threads), "--weights", str(self.weights),
                "--pictures", str(self.pictures)]

    def commands(self, mode, compiled):
        """name -> command line; ours first."""
        commands = {} if self.args.torch_only else {OURS: [str(self.args.ours)]}
        commands["PyTorch NCHW"] = self.torch + ["--layout", "nchw"]
        commands["PyTorch channels_last"] = self.torch + ["--layout", "channels_last"]
        if compiled:
            commands["PyTorch compiled"] = self.torch + ["--layout", "channels_last", "--compile"]
        return {name: command + ["--mode", mode] + self._common() for name, command in commands.items()}

    def start(self, name, command):
        return Contender(name, command, self.environment, self.args.threads)


def check_values(contenders):
    """The same numbers from everybody, run by run: the first three (in training, two optimiser steps lie between them)."""
    reference = contenders[-1]
    for c in contenders:
        for i, (value, expected) in enumerate(zip(c.values[:3], reference.values[:3])):
            if not abs(value - expected) <= VALUE_TOLERANCE * abs(expected):
                stop(f"{c.name} computes {value!r} in run {i + 1}, {reference.name} {expected!r}: not the same work")


def spread(values, digits=3):
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f} .. {max(values):.{digits}f}]"


def time_mode(stage, mode, args):
    """Prints the table of times; returns the speed-up, None without ours."""
    with contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(stage.start(*item))
                      for item in stage.commands(mode, compiled=mode == "forward" and not args.no_compile).items()]
        for _ in range(args.warmup):
            for c in contenders:
                c.run()
        check_values(contenders)
        for c in contenders:
            c.times.clear()
        for i in range(args.runs):
            for k in range(len(contenders)):
                contenders[(i + k) % len(contenders)].run()
    ours = next((c for c in contenders if c.name == OURS), None)
    print(f"\n{mode}, {args.size}x{args.size}, batch 1, f32: seconds, median [min .. max] of {args.runs} rounds")
    for c in contenders:
        pairs = [t / o for t, o in zip(c.times, ours.times)] if ours and c is not ours else []
        print(f"  {c.name:<22} {spread(c.times):<26}" + (f" ours faster, by pairs: {spread(pairs, 2)}" if pairs else "")
              + f"  ({c.facts['version']})")
    if not ours:
        return None
    best = min((c for c in contenders if c is not ours), key=lambda c: statistics.median(c.times))
    return statistics.median(best.times) / statistics.median(ours.times)


def measure_memory(stage, mode, args):
    """Prints the table of memory; returns ours over PyTorch's: working, working above start, total (None without ours)."""
    print(f"\n{mode}: memory of a fresh process, MB\n  {'':<22} {'peak':>8} {'weights':>8} {'optimiser':>10} {'start':>8}"
          f" {'working':>8} {'above start':>12}")
    rows = {}
    for name, command in stage.commands(mode, compiled=False).items():
        with stage.start(name, command) as contender:
            contender.run()
            contender.run()
            m = contender.memory()
        working = m["peak_bytes"] - m["weights_bytes"] - m["optimizer_bytes"]
        rows[name] = (working, working - m["baseline_bytes"], m["peak_bytes"])
        cells = [m["peak_bytes"], m["weights_bytes"], m["optimizer_bytes"], m["baseline_bytes"], *rows[name][:2]]
        print(f"  {name:<22} " + " ".join(f"{c / 1e6:>{w}.0f}" for c, w in zip(cells, (8, 8, 10, 8, 8, 12))))
    ours = rows.pop(OURS, None)
    if not ours:
        return None, None, None
    ratios = [o / min(column) for o, column in zip(ours, zip(*rows.values()))]
    if ratios[2] > 1:
        print(f"  ours exceeds PyTorch's total by {100 * (ratios[2] - 1):.0f} %")
    return ratios


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    policy = os.environ.get("OMP_WAIT_POLICY", "unset")
    return f"{model}, {len(os.sched_getaffinity(0))} processors, Linux {platform.release()}; OMP_WAIT_POLICY {policy}"


def load():
    return "load " + " ".join(f"{x:.2f}" for x in os.getloadavg())


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", choices=("stage1",))
    parser.add_argument("--size", type=int, default=512, help="height and width, a multiple of 64")
    parser.add_argument("--runs", type=int, default=9, help="rounds that count")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="size 128, 3 rounds, no compiler: does it work at all")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile (a minute or two to compile)")
    parser.add_argument("--torch-only", action="store_true", help="PyTorch's figures alone; no ratios")
    parser.add_argument("--python", help="interpreter with PyTorch; else RELUME_TORCH_PYTHON, else the running one")
    parser.add_argument("--ours", type=Path, default=HERE.parent / "build" / "stage1_bench", help="our side's program")
    args = parser.parse_args()
    args.warmup = 3
    if args.quick:
        args.size, args.runs, args.no_compile = 128, 3, True
    if args.size < 64 or args.size % 64:
        parser.error(f"--size {args.size}: expected a positive multiple of 64")
    if args.runs < 1 or args.threads < 1:
        parser.error("--runs and --threads: expected 1 or more")
    if not args.torch_only and not os.access(args.ours, os.X_OK):
        parser.error(f"no program {args.ours}; build the target stage1_bench, or name it with --ours")
    args.python = find_torch_python(args.python)
    return args


def main():
    args = parse_arguments()
    sys.stdout.reconfigure(line_buffering=True)  # a run takes minutes: show each table when it is there, in a file too
    print(f"{machine()}; {args.threads} threads; {load()}")
    result = {}
    with tempfile.TemporaryDirectory(prefix="compare_torch.") as folder:
        stage = Stage1(args, Path(folder))
        for mode in ("forward", "train"):
            result[f"stage1_{mode}"] = time_mode(stage, mode, args)
        for mode in ("forward", "train"):
            keys = [f"stage1_{mode}_memory", f"stage1_{mode}_memory_above_start", f"stage1_{mode}_memory_total"]
            result.update(zip(keys, measure_memory(stage, mode, args)))
    print(f"\nafter: {load()}")
    result = {key: round(value, 3) for key, value in result.items() if value is not None}
    print(json.dumps(result | {"size": args.size, "threads": args.threads, "runs": args.runs}))


if __name__ == "__main__":
    main()
