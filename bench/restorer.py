#!/usr/bin/env python3
"""How well a stage-one network restores photographs it never saw, beside the best single Gaussian filter.

    python3 bench/restorer.py [--checkpoint FILE] [--recipe CONFIG] [--pictures LIST] [--draws 3] [--output DIR]

Every picture of the list gives its middle (at most --size pixels square) as the truth. It is spoilt by `relume degrade` with
the degradation of a training's configuration, once for each of --draws seeds, and restored by `relume restore`. The opponent
may look at the truth: of each spoilt picture it takes the Gaussian blur whose sigma gives the highest PSNR. Scores are those of
`relume metrics` on 8-bit pictures. DIR gets scores.json, a table (scores.md, also printed) and pictures.jpg: degraded, best
Gaussian, restored, truth of a few pictures. --log FILE of the training adds curves.svg (needs matplotlib).

Needs numpy and Pillow; calls ./relume.
"""

import argparse
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SIGMAS = np.geomspace(0.2, 5, 40)
SIDES = ("degraded", "gaussian", "restored")


def stop(message):
    sys.exit(f"restorer.py: {message}")


def relume(*arguments):
    run = subprocess.run([ROOT / "relume", *map(str, arguments)], capture_output=True, text=True)
    if run.returncode:
        stop(f"relume {' '.join(map(str, arguments))} ended with {run.returncode}:\n{run.stderr[-2000:]}")


def section(text, key):
    """What stands under one key of a configuration, moved to the left margin."""
    found = re.search(rf"^{key}:\n((?: .*\n|\n)+)", text, re.M)
    if not found:
        stop(f"the configuration has no section '{key}'")
    return "".join(line[2:] if line.strip() else line for line in found[1].splitlines(keepends=True))


def load(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def middle(path, size):
    picture = load(path)
    height, width = (min(side, size) for side in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top:top + height, left:left + width]


def gaussian(picture, sigma):
    radius = math.ceil(4 * sigma)
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    line /= line.sum()
    blurred = picture.astype(np.float64)
    for axis in (0, 1):
        padded = np.pad(blurred, [(radius, radius) if a == axis else (0, 0) for a in range(3)], mode="reflect")
        parts = (np.take(padded, range(i, i + blurred.shape[axis]), axis) * w for i, w in enumerate(line))
        blurred = sum(parts)
    return np.clip(np.rint(blurred), 0, 255).astype(np.uint8)


def squared_error(a, b):
    return float(np.mean((a.astype(np.float64) - b) ** 2))


def best_gaussian(truth, degraded):
    return min((gaussian(degraded, s) for s in SIGMAS), key=lambda result: squared_error(truth, result))


def scores_of(folder, truth):
    relume("metrics", folder, truth, "--json", folder.with_suffix(".json"))
    report = json.loads(folder.with_suffix(".json").read_text())
    return {p["name"]: p for p in report["pictures"]}


def one_draw(output, truth, recipe, seed, checkpoint):
    """Spoils, filters and restores every picture once; {side: {name: scores}}."""
    folders = {side: output / f"{side}_{seed}" for side in SIDES}
    relume("degrade", truth, folders["degraded"], "--recipe", recipe, "--seed", seed)
    weights = ["--checkpoint", checkpoint] if checkpoint else []
    relume("restore", folders["degraded"], folders["restored"], *weights)
    folders["gaussian"].mkdir()
    for file in sorted(truth.iterdir()):
        Image.fromarray(best_gaussian(load(file), load(folders["degraded"] / file.name))).save(folders["gaussian"] / file.name)
    return {side: scores_of(folder, truth) for side, folder in folders.items()}


def table(draws, names):
    def mean(side, score, chosen):
        return float(np.mean([d[side][n][score] for d in draws for n in chosen]))

    lines = ["| photograph | degraded | best Gaussian | restored | gain over it |", "|---|---|---|---|---|"]
    for row in [[n] for n in names] + [names]:
        psnr = [mean(side, "psnr_rgb", row) for side in SIDES]
        label = row[0] if len(row) == 1 and len(names) > 1 else "**mean**"
        lines.append(f"| {label} | {psnr[0]:.2f} | {psnr[1]:.2f} | {psnr[2]:.2f} | {psnr[2] - psnr[1]:+.2f} |")
    ssim = [mean(side, "ssim_rgb", names) for side in SIDES]
    lines.append(f"| mean SSIM | {ssim[0]:.3f} | {ssim[1]:.3f} | {ssim[2]:.3f} | {ssim[2] - ssim[1]:+.3f} |")
    return "\n".join(lines)


def sheet(output, truth, names, seed, side=256):
    rows = []
    for name in names[:5]:
        columns = [load(folder / f"{name}.png") for folder in [output / f"{s}_{seed}" for s in SIDES] + [truth]]
        top, left = ((n - min(side, n)) // 2 for n in columns[3].shape[:2])
        rows.append(np.concatenate([c[top:top + side, left:left + side] for c in columns], axis=1))
    width = min(r.shape[1] for r in rows)
    Image.fromarray(np.concatenate([r[:, :width] for r in rows])).save(output / "pictures.jpg", quality=90)


def curves(log, target):
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    loss = [(r["step"], r["loss"]) for r in lines if "loss" in r]
    psnr = [(r["step"], r["validation_psnr"]) for r in lines if "validation_psnr" in r]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.semilogy(*zip(*loss), linewidth=0.8)
    left.set(xlabel="step", ylabel="loss (mean squared error)")
    right.plot(*zip(*psnr), marker=".")
    right.set(xlabel="step", ylabel="PSNR on the held-out pictures (dB)")
    figure.savefig(target, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="weights; default: what `relume restore` takes by itself")
    parser.add_argument("--recipe", type=Path, default=ROOT / "configs/train/photo_small.yaml",
                        help="a training's configuration")
    parser.add_argument("--pictures", type=Path, default=ROOT / "weights/photo_small/held_out.txt",
                        help="a list, one picture a line")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "out/restorer", help="is emptied first")
    parser.add_argument("--log", type=Path, help="log.jsonl of the training")
    a = parser.parse_args()

    shutil.rmtree(a.output, ignore_errors=True)
    truth = a.output / "truth"
    truth.mkdir(parents=True)
    for line in a.pictures.read_text().split():
        source = Path(line)
        name = source.stem if not source.stem[0].isdigit() else source.parts[-4]  # of wallpapers the folder's
        Image.fromarray(middle(source, a.size)).save(truth / f"{name}.png")
    recipe = a.output / "recipe.yaml"
    recipe.write_text(section(a.recipe.read_text(), "degradation"))
    draws = [one_draw(a.output, truth, recipe, seed, a.checkpoint) for seed in range(1, a.draws + 1)]
    names = sorted(file.stem for file in truth.iterdir())
    text = table(draws, names)
    (a.output / "scores.json").write_text(json.dumps(draws, indent=1) + "\n")
    (a.output / "scores.md").write_text(text + "\n")
    sheet(a.output, truth, names, 1)
    if a.log:
        curves(a.log, a.output / "curves.svg")
    print(text)


if __name__ == "__main__":
    main()
