#!/usr/bin/env python3
"""Draws docs/images/sampler_orders.svg from docs/sampler_orders.csv, which a test keeps true (needs matplotlib).

    python3 bench/plot_sampler_orders.py
"""

import csv
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
COLOURS = {1: "#4477aa", 2: "#ee6677", 3: "#228833", 4: "#aa3377"}


def label_ends(ax, chosen, step, apart=1.6):
    """Names at the ends of the curves: those of equal ends together, none upon another."""
    groups = []
    for name, end in sorted(((r[0], float(r[-1])) for r in chosen), key=lambda item: -item[1]):
        if groups and end > groups[-1][1] / 1.02:
            groups[-1][0].append(name.removeprefix("edm_"))
        else:
            groups.append([[name.removeprefix("edm_")], end])
    below = float("inf")
    for names, end in groups:
        below = min(end, below / apart)
        ax.text(step * 1.12, below, ", ".join(names), fontsize=6, va="center")


def main():
    with open(ROOT / "docs/sampler_orders.csv", newline="") as file:
        header, *rows = csv.reader(file)
    steps = [int(n) for n in header[2:]]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), sharey=True)
    for ax, title, chosen in ((axes[0], "EDM solvers, without noise", [r for r in rows if r[0].startswith("edm_")]),
                              (axes[1], "DPM-Solver and DDIM", [r for r in rows if not r[0].startswith("edm_")])):
        for name, order, *errors in chosen:
            ax.loglog(steps, [float(e) for e in errors], marker=".", color=COLOURS[int(order)], linewidth=1)
        label_ends(ax, chosen, steps[-1])
        for order, colour in COLOURS.items():
            label = f"order {order}" if ax is axes[0] else None
            ax.loglog(steps, [0.5 * (steps[0] / n) ** order for n in steps], ":", color=colour, linewidth=0.8, label=label)
        ax.set(title=title, xlabel="steps", xlim=(9, 20000))
        ax.grid(True, which="major", linewidth=0.3)
    axes[0].legend(fontsize=7, loc="lower left")
    axes[0].set_ylabel("relative error of the course")
    figure.tight_layout()
    figure.savefig(ROOT / "docs/images/sampler_orders.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
