"""Writes docs/comparison.md and its pictures from benchmarks/results/comparison.csv.

python docs/make_comparison.py

Needs the extra `viz`. What was not run is not told of. But for how far one cell moved between two
runs, of which the table holds the later one, nothing on the page comes from elsewhere.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

DOCS = Path(__file__).resolve().parent
TABLE = DOCS.parent / "benchmarks" / "results" / "comparison.csv"
POINT = 1.0  # of mean IoU, in percent: less, from one run, is no finding

Row = dict[str, str]
Runs = dict[str, list[Row]]

PAGE = """# The networks compared

One encoder, the same frames, steps, augmentation and rates for all: {setting}.
Seeds: {seeds}. Scores are means over the seeds, with the lowest and the highest in brackets. What
networks reach in longer runs is not told by these; [Presets](presets.md) says what ours did. The
numbers are those of `benchmarks/results/comparison.csv`:

```sh
python benchmarks/comparison.py --data-root CamVid \\
    --backbone-weights {start} \\
    --epochs {epochs} --crop {crop} --seeds {seeds_typed}
python docs/make_comparison.py
```

Each network has the loss of its paper. The baselines have cross-entropy; "Dice" adds the Dice term
that FoR-Net's loss has.

## Accuracy and cost

{table}

Boundary F1 is within 2 pixels. Parameters hold the moving statistics; GMAC, milliseconds and the
peak of the activations are of one image of 480x360 (median of turns, {device}).

![Mean IoU against multiply-accumulates](images/comparison_cost.png)

## Against the baselines

{baselines}

## What the parts bring

Points that a network has more with the part than without it, at the same budget. Less than one
point from one run, and seeds that disagree, are no finding. That is not strict: the cell
SERNet-Former, run twice with seed 0, had 61.9 and 62.9, since threads add up in another order each
time.

{parts}

## Classes

![IoU of each class](images/comparison_classes.png)
"""


def read_runs(path: Path) -> Runs:
    """The rows of the table by cell, in its order."""
    runs: Runs = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            runs.setdefault(row["cell"], []).append(row)
    return runs


def differences(full: Sequence[Row], other: Sequence[Row]) -> list[float]:
    """Points of mean IoU by which the first is better, for each seed that both have."""
    theirs = {row["seed"]: float(row["mean_iou"]) for row in other}
    return [
        100 * (float(row["mean_iou"]) - theirs[row["seed"]])
        for row in full
        if row["seed"] in theirs
    ]


def verdict(gains: Sequence[float], ahead: str = "ahead", behind: str = "behind") -> str:
    """What differences between two cells, one a seed, allow to say."""
    if not gains:
        return "not compared, no seed was run for both."
    if len(gains) == 1:
        told = f"{gains[0]:+.1f} points, from one run."
        finding = abs(gains[0]) >= POINT
    else:
        told = f"{np.mean(gains):+.1f} points ({min(gains):+.1f} to {max(gains):+.1f}, "
        told += f"{len(gains)} seeds)."
        finding = min(gains) > 0 or max(gains) < 0
    if not finding:
        return f"no finding: {told}"
    return f"{ahead if gains[0] > 0 else behind}: {told}"


def figure(rows: Sequence[Row], column: str, scale: float = 1.0, digits: int = 1) -> str:
    """The mean of a column, and its range where the seeds differ."""
    values = [scale * float(row[column]) for row in rows]
    told = f"{np.mean(values):.{digits}f}"
    if max(values) - min(values) < 10**-digits / 2:
        return told
    return f"{told} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def cost_table(runs: Runs) -> str:
    """All cells, one a line."""
    lines = [
        "| network | mIoU | boundary F1 | parameters | GMAC | ms | peak MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for cell, rows in runs.items():
        figures = (
            figure(rows, "mean_iou", 100),
            figure(rows, "boundary_f1", 100),
            f"{int(rows[0]['parameters']):,}",
            f"{float(rows[0]['gmac']):.2f}",
            f"{np.median([float(row['ms']) for row in rows]):.0f}",
            rows[0]["peak_mb"],
        )
        lines.append(f"| {cell} | {' | '.join(figures)} |")
    return "\n".join(lines)


def against_baselines(runs: Runs) -> str:
    """Each network against each baseline."""
    whole = {cell: rows for cell, rows in runs.items() if not rows[0]["of"]}
    rivals = {cell: rows for cell, rows in whole.items() if cell.startswith(("DeepLab", "FPN"))}
    if not rivals:
        return "No baseline was run."
    lines = []
    for cell, rows in whole.items():
        if cell not in rivals:
            lines += [
                f"- {cell} and {rival}: {verdict(differences(rows, others))}"
                for rival, others in rivals.items()
            ]
    return "\n".join(lines)


def parts(runs: Runs) -> str:
    """Each network against its variants."""
    lines = []
    for cell, rows in runs.items():
        whole = rows[0]["of"]
        if whole in runs:
            variant = cell.removeprefix(f"{whole}, ")
            part = variant.removesuffix(" off")
            if part == variant:  # not switched off, but put in place of something
                part = f"Top-K selection against {variant}"
            gains = differences(runs[whole], rows)
            lines.append(f"- {whole}, {part}: {verdict(gains, 'helps', 'does not help')}")
    return "\n".join(lines) or "No part was switched off."


def setting(row: Row) -> str:
    """The budget of a row in words."""
    return (
        f"{row['epochs']} epochs of {row['crop']} crops, batches of {row['batch_size']}, start "
        f"{row['start']}, scored on {row['scored_on']}"
    )


def page(runs: Runs) -> str:
    """The text of the page."""
    first = next(iter(runs.values()))[0]
    seeds = {row["seed"] for rows in runs.values() for row in rows}
    return PAGE.format(
        setting=setting(first),
        start=first["start"],
        epochs=first["epochs"],
        crop=first["crop"],
        seeds=", ".join(sorted(seeds, key=int)),
        seeds_typed=" ".join(sorted(seeds, key=int)),
        table=cost_table(runs),
        device=first["device"],
        baselines=against_baselines(runs),
        parts=parts(runs),
    )


def draw(runs: Runs, folder: Path) -> None:
    """Accuracy against cost, and the classes of the whole networks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    whole = {cell: rows for cell, rows in runs.items() if not rows[0]["of"]}
    plot, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for cell, rows in whole.items():
        x, y = float(rows[0]["gmac"]), [100 * float(row["mean_iou"]) for row in rows]
        axes.plot([x] * len(y), y, "x" if cell.endswith("Dice") else "o", ms=8, label=cell)
    axes.set(xlabel="GMAC, one image of 480x360", ylabel="mean IoU in %, one point a seed")
    axes.margins(x=0.1)
    low, high = axes.get_ylim()
    axes.set_ylim(low - POINT, high + POINT)  # what is no finding shall not look like one
    axes.grid(alpha=0.3)
    plot.legend(loc="outside right center")
    _save(plot, folder / "comparison_cost.png")

    classes = [column for column in next(iter(runs.values()))[0] if column.startswith("iou ")]
    plot, axes = pyplot.subplots(figsize=(11, 4.5), layout="constrained")
    width = 0.8 / len(whole)
    for number, (cell, rows) in enumerate(whole.items()):
        places = np.arange(len(classes)) + (number - (len(whole) - 1) / 2) * width
        heights = [100 * np.mean([float(row[c] or "nan") for row in rows]) for c in classes]
        axes.bar(places, heights, width, label=cell)
    axes.set_xticks(range(len(classes)), [c.removeprefix("iou ") for c in classes], rotation=30)
    axes.set(ylabel="IoU in %, mean over the seeds")
    plot.legend(loc="outside upper center", ncols=len(whole))
    _save(plot, folder / "comparison_classes.png")


def _save(plot: Any, path: Path) -> None:
    from matplotlib import pyplot

    plot.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(plot)


def main() -> None:
    """Writes the page and both pictures."""
    runs = read_runs(TABLE)
    (DOCS / "images").mkdir(exist_ok=True)
    draw(runs, DOCS / "images")
    (DOCS / "comparison.md").write_text(page(runs))
    print(DOCS / "comparison.md")


if __name__ == "__main__":
    main()
