#!/usr/bin/env python3
"""Relume and PyTorch side by side, alternately in one run.

    python3 bench/compare_torch.py stage1 [--size 512] [--runs 9] [--threads 2] [--quick]
    python3 bench/compare_torch.py stage1 --device cuda [--precision f32|tf32|bf16]
    python3 bench/compare_torch.py stage2 [--size 512] [--runs 9] [--threads 2] [--networks FILE] [--device cuda ...]
    python3 bench/compare_torch.py degrade [--size 512] [--runs 9] [--threads 2] [--quick]

stage1, the paper's SwinIR, forward and training step. Ours is the program stage1_bench of the build folder; PyTorch runs in
NCHW and channels_last, eager, and for the forward also through torch.compile with frozen weights. All read the same weights
and pictures, and must compute the same numbers. A forward takes a picture from the CPU and leaves its result there. With
--device cuda both compute on the GPU, memory is what tensors take of the device's, and PyTorch's training step is compiled too,
block by block.
--precision says how they compute there; in bf16 PyTorch trains with autocast and restores with weights of that type.

stage2, the networks of stage two, full size, with random weights (`relume init`; --networks names a file that is there): one
denoising step with guidance, both texts in one batch, by U-Net and control network; the autoencoder's encoder and decoder. The
other side is diffusers, in NCHW and channels_last, eager, on a GPU the U-Net and the control network compiled too. Our keys and
values of the texts are made once, before: as in a course; diffusers makes them in every step. What a GPU reads and makes lies
there.

degrade, the recipes that make training pairs, one thread each. Ours is degrade_bench; the other side is OpenCV with NumPy for
the wide recipe and PyTorch, on batches of several sizes, for the second-order one. Both read the same pictures and draw from
the same distributions, numbers of their own: the mean error of what they make must agree within a factor. Then, on --threads
threads, our whole loader fed with JPEG files beside the decoding alone.

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
VALUE_TOLERANCE = {"f32": 1e-4, "tf32": 2e-3, "bf16": 2e-2, "f16": 1e-2}  # relative; in f32 two PyTorch layouts differ by 3e-7
TORCH_NEEDS = {"stage1": "torch, spandrel, safetensors", "stage2": "torch, diffusers, safetensors", "degrade": "torch, numpy, cv2, safetensors"}
PROGRAMS = {"stage1": "stage1_bench", "stage2": "stage2_bench", "degrade": "degrade_bench"}
ERROR_FACTOR = 1.5  # between the mean errors of two sides' degraded pictures, over all rounds


def stop(message):
    sys.exit(f"compare_torch.py: {message}")


class Contender:
    """A child process that runs its network once for every line `run`, when it is ready()."""

    def __init__(self, name, command, environment, threads):
        self.name, self.threads, self.times, self.values = name, threads, [], []
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors)

    def ready(self):
        self.facts = self._reply()
        if self.facts["threads"] != self.threads:
            stop(f"{self.name} runs {self.facts['threads']} threads, {self.threads} were asked for")

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


def find_torch_python(given, needs):
    """The interpreter named by --python, else by RELUME_TORCH_PYTHON, else the running one; it must have `needs`."""
    python = given or os.environ.get("RELUME_TORCH_PYTHON") or sys.executable
    try:
        subprocess.run([python, "-c", f"import {needs}"], check=True, capture_output=True, text=True)
    except OSError as error:
        stop(f"cannot start {python}: {error.strerror}")
    except subprocess.CalledProcessError as error:
        stop(f"{python} cannot import {needs} ({error.stderr.strip().splitlines()[-1]}); make one that can with\n"
             "  python3 -m venv torch-env && torch-env/bin/pip install torch torchvision spandrel diffusers safetensors "
             "opencv-python-headless\n"
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
                "--pictures", str(self.pictures), "--device", self.args.device, "--precision", self.args.precision]

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


class Stage2:
    """How to start the contenders of one mode (unet_control_step, vae_encode, vae_decode)."""

    def __init__(self, args, folder):
        self.args, self.weights, self.inputs = args, args.networks or folder / "networks.safetensors", folder / "inputs.safetensors"
        self.torch = [args.python, "-W", "ignore", str(HERE / "torch_stage2.py")]
        self.environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads), MKL_NUM_THREADS=str(args.threads))
        if subprocess.run(self.torch + self._common() + ["--size", str(args.size), "--write"], env=self.environment).returncode:
            stop("could not write the inputs both sides read")
        init = [str(args.ours.parent / "relume"), "init", str(self.weights), "--seed", "1"]
        environment = dict(self.environment, RELUME_SOURCE_DIR=str(HERE.parent))
        if not args.networks and subprocess.run(init, env=environment, stdout=subprocess.DEVNULL).returncode:
            stop("could not write the networks; build the target relume, or name a file of them with --networks")

    def _common(self):
        return ["--threads", str(self.args.threads), "--weights", str(self.weights), "--inputs", str(self.inputs),
                "--device", self.args.device, "--precision", self.args.precision]

    def commands(self, mode, compiled):
        """name -> command line; ours first."""
        commands = {} if self.args.torch_only else {OURS: [str(self.args.ours)]}
        commands["PyTorch NCHW"] = self.torch + ["--layout", "nchw"]
        commands["PyTorch channels_last"] = self.torch + ["--layout", "channels_last"]
        if compiled and mode == "unet_control_step":
            commands["PyTorch compiled"] = self.torch + ["--layout", "channels_last", "--compile"]
        return {name: command + ["--mode", mode] + self._common() for name, command in commands.items()}

    def start(self, name, command):
        return Contender(name, command, self.environment, self.args.threads)


def check_values(contenders, tolerance):
    """The same numbers from everybody, run by run: the first three (in training, two optimiser steps lie between them)."""
    reference = contenders[-1]
    for c in contenders:
        for i, (value, expected) in enumerate(zip(c.values[:3], reference.values[:3])):
            if not abs(value - expected) <= tolerance * abs(expected):
                stop(f"{c.name} computes {value!r} in run {i + 1}, {reference.name} {expected!r}: not the same work")


def alternate(contenders, args, check):
    """Warms all up, checks their values, then runs every round in turning order; leaves the rounds' times."""
    for c in contenders:
        c.ready()  # until here they start side by side
    for _ in range(args.warmup):
        for c in contenders:
            c.run()
    check(contenders)
    for c in contenders:
        c.times.clear()
    for i in range(args.runs):
        for k in range(len(contenders)):
            contenders[(i + k) % len(contenders)].run()


def spread(values, digits=3):
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f} .. {max(values):.{digits}f}]"


def compiles(mode, args):
    """Whether torch.compile takes part: in the forward, and on a GPU in the training step too."""
    return not args.no_compile and (mode == "forward" or args.device != "cpu")


def time_mode(stage, mode, args):
    """Prints the table of times; returns the speed-up, None without ours."""
    with contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(stage.start(*item))
                      for item in stage.commands(mode, compiled=compiles(mode, args)).items()]
        alternate(contenders, args, lambda c: check_values(c, VALUE_TOLERANCE[args.precision]))
    ours = next((c for c in contenders if c.name == OURS), None)
    print(f"\n{mode}, {args.size}x{args.size}, batch 1, {args.precision}, {args.device}: seconds, "
          f"median [min .. max] of {args.runs} rounds")
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
    rows, measured = {}, {}
    with contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(stage.start(*item)) for item in stage.commands(mode, compiled=False).items()]
        for c in contenders:
            c.ready()
        for c in contenders:
            c.run()
            c.run()
            measured[c.name] = c.memory()
    for name, m in measured.items():
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


class Degrade:
    """How to start the contenders of the recipes and of the loader."""

    def __init__(self, args, folder):
        self.args, self.pictures, self.photos = args, folder / "pictures.safetensors", folder / "photos"
        self.photos.mkdir()
        self.torch = [args.python, "-W", "ignore", str(HERE / "torch_degrade.py"), "--pictures", str(self.pictures)]
        if subprocess.run(self.torch + ["--write", str(self.photos), "--size", str(args.size)]).returncode:
            stop("could not write the pictures both sides read")

    def _ours(self, mode, recipe, pictures, threads):
        recipe = HERE.parent / "configs" / "degrade" / recipe
        return [str(self.args.ours), "--mode", mode, "--recipe", str(recipe), "--pictures", str(pictures), "--size", str(self.args.size), "--count", str(self.args.count), "--threads", str(threads)]

    def recipe_commands(self, recipe):
        """name -> command line; ours first."""
        preset = "wide_general.yaml" if recipe == "wide" else "second_order.yaml"
        commands = {} if self.args.torch_only else {OURS: self._ours("recipe", preset, self.pictures, 1)}
        count = self.torch + ["--recipe", recipe, "--count", str(self.args.count)]
        if recipe == "wide":
            return commands | {"OpenCV": count}
        return commands | {f"PyTorch, batch {b}": count + ["--batch", str(b)] for b in self.args.batches}

    def loader_commands(self):
        return {name: self._ours(name, "wide_general.yaml", self.photos, self.args.threads) for name in ("loader", "decode")}

    def start(self, name, command, threads):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        return Contender(name, command, environment, threads)


def check_errors(contenders):
    """Draws differ from side to side: the errors of what was degraded so far agree in the mean."""
    errors = [statistics.mean(c.values) for c in contenders]
    for c, error in zip(contenders, errors):
        if not errors[-1] / ERROR_FACTOR <= error <= errors[-1] * ERROR_FACTOR:
            stop(f"{c.name} degrades with a mean squared error of {error:.5f}, {contenders[-1].name} {errors[-1]:.5f}: "
                 "not the same work")


def time_alternately(degrade, title, commands, threads, args, check):
    """Prints the table of pictures per second; returns the contenders' medians of that, by name."""
    with contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(degrade.start(name, command, threads)) for name, command in commands.items()]
        alternate(contenders, args, lambda _: None)
        check(contenders)
    print(f"\n{title}, {args.size}x{args.size}: pictures per second, median [min .. max] of {args.runs} rounds of {args.count}")
    for c in contenders:
        print(f"  {c.name:<22} {spread([args.count / t for t in c.times], 1):<28} ({c.facts['version']})")
    return {c.name: args.count / statistics.median(c.times) for c in contenders}


def compare_degrade(args, folder):
    degrade = Degrade(args, folder)
    result = {}
    for recipe in ("wide", "second_order"):
        title = f"{recipe} recipe, one thread"
        rates = time_alternately(degrade, title, degrade.recipe_commands(recipe), 1, args, check_errors)
        ours = rates.pop(OURS, None)
        result[f"degrade_{recipe}_torch_per_second"] = max(rates.values())
        if ours:
            result[f"degrade_{recipe}_per_second"] = ours
            result[f"degrade_{recipe}"] = ours / max(rates.values())
    if not args.torch_only:
        rates = time_alternately(degrade, f"JPEG files, wide recipe, {args.threads} threads", degrade.loader_commands(),
                                 args.threads, args, lambda _: None)
        result |= {"loader_per_second": rates["loader"], "decode_per_second": rates["decode"],
                   "loader_of_decode": rates["loader"] / rates["decode"]}
    return result


def compare_stage1(args, folder):
    stage = Stage1(args, folder)
    result = {}
    for mode in ("forward", "train"):
        result[f"stage1_{mode}"] = time_mode(stage, mode, args)
    for mode in ("forward", "train"):
        keys = [f"stage1_{mode}_memory", f"stage1_{mode}_memory_above_start", f"stage1_{mode}_memory_total"]
        result.update(zip(keys, measure_memory(stage, mode, args)))
    return result


def compare_stage2(args, folder):
    stage = Stage2(args, folder)
    result = {}
    for mode in ("unet_control_step", "vae_encode", "vae_decode"):
        result[mode] = time_mode(stage, mode, args)
    for mode in ("unet_control_step", "vae_encode", "vae_decode"):
        result.update(zip([f"{mode}_memory", f"{mode}_memory_above_start", f"{mode}_memory_total"], measure_memory(stage, mode, args)))
    return result


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    policy = os.environ.get("OMP_WAIT_POLICY", "unset")
    return f"{model}, {len(os.sched_getaffinity(0))} processors, Linux {platform.release()}; OMP_WAIT_POLICY {policy}"


def load():
    return "load " + " ".join(f"{x:.2f}" for x in os.getloadavg())


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", choices=tuple(PROGRAMS))
    parser.add_argument("--size", type=int, default=512, help="height and width, a multiple of 64")
    parser.add_argument("--runs", type=int, default=9, help="rounds that count")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="stage1, stage2: where both sides compute, cpu or cuda")
    parser.add_argument("--precision", choices=tuple(VALUE_TOLERANCE), default="f32",
                        help="stage1, stage2: how both sides compute; all but f32 on a GPU alone")
    parser.add_argument("--quick", action="store_true", help="size 128, 3 rounds, few pictures: does it work at all")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile (a minute or two to compile)")
    parser.add_argument("--torch-only", action="store_true", help="PyTorch's figures alone; no ratios")
    parser.add_argument("--python", help="interpreter with PyTorch; else RELUME_TORCH_PYTHON, else the running one")
    parser.add_argument("--ours", type=Path, help="our side's program; else that of the folder build")
    parser.add_argument("--networks", type=Path, help="stage2: a file of all networks that `relume init` wrote")
    parser.add_argument("--count", type=int, default=32, help="degrade: pictures of a round, a multiple of every batch")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16], help="degrade: PyTorch's batches")
    args = parser.parse_args()
    args.warmup = 1 if args.work == "degrade" else 8 if args.device != "cpu" else 2 if args.work == "stage2" else 3  # ours captures a graph in its fifth call
    args.ours = args.ours or HERE.parent / "build" / PROGRAMS[args.work]
    if args.quick:
        args.size, args.runs, args.no_compile, args.count, args.batches = 128, 3, True, 16, [1, 4]
    if args.size < 64 or args.size % 64:
        parser.error(f"--size {args.size}: expected a positive multiple of 64")
    if args.runs < 1 or args.threads < 1:
        parser.error("--runs and --threads: expected 1 or more")
    if not args.torch_only and not os.access(args.ours, os.X_OK):
        parser.error(f"no program {args.ours}; build the target {PROGRAMS[args.work]}, or name it with --ours")
    if args.count < 1 or any(b < 1 or args.count % b for b in args.batches):
        parser.error(f"--count {args.count}: expected a multiple of every batch")
    args.python = find_torch_python(args.python, TORCH_NEEDS[args.work])
    return args


def main():
    args = parse_arguments()
    sys.stdout.reconfigure(line_buffering=True)  # a run takes minutes: show each table when it is there, in a file too
    print(f"{machine()}; {args.threads} threads; {load()}")
    compare = {"stage1": compare_stage1, "stage2": compare_stage2, "degrade": compare_degrade}[args.work]
    with tempfile.TemporaryDirectory(prefix="compare_torch.") as folder:
        result = compare(args, Path(folder))
    print(f"\nafter: {load()}")
    result = {key: round(value, 3) for key, value in result.items() if value is not None}
    print(json.dumps(result | {"device": args.device, "precision": args.precision, "size": args.size, "threads": args.threads, "runs": args.runs}))


if __name__ == "__main__":
    main()
