"""Writes docs/comparison.md and its pictures from benchmarks/results/comparison.csv.

python docs/make_comparison.py

Needs the extra `viz`. What was not run is not told of. But for how far one cell moved between two
runs, of which the table holds the later one, nothing on the page comes from elsewhere.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DOCS = Path(__file__).resolve().parent
TABLE = DOCS.parent / "benchmarks" / "results" / "comparison.csv"
POINT = 1.0  # of mean IoU, in percent: less, from one or two runs, is no finding

Row = dict[str, str]
Runs = dict[str, list[Row]]

PAGE = """# The networks compared

One encoder, the same frames, steps, augmentation and rates for all of a budget. What networks reach
in longer runs is not told by these; [Presets](presets.md) says what ours did. The numbers are those
of `benchmarks/results/comparison.csv`:

```sh
{commands}
python docs/make_comparison.py
```

Each network has the loss of its paper. The baselines have cross-entropy; "Dice" adds the Dice term
that FoR-Net's loss has. Where there are several seeds, scores are means over them, with the lowest
and the highest in brackets.

Boundary F1 is within 2 pixels. Parameters hold the moving statistics; GMAC, milliseconds and the
peak of the activations are of one image of 480x360 (median of turns, {device}).
Milliseconds of different budgets are of different hours: compare within one.

Less than one point from one or two runs, and seeds that disagree, are no finding. That is not
strict: the cell SERNet-Former, run twice with seed 0 for 4 epochs, had 61.9 and 62.9, since threads
add up in another order each time.

![Mean IoU against multiply-accumulates](images/comparison_cost.png)

{budgets}
"""

BUDGET = """## {title}

{setting}. Seeds: {seeds}.

{table}

**Against the baselines**

{baselines}

**What the parts bring**, in points that a network has more with the part than without it:

{parts}

![IoU of each class](images/{classes})"""

COMMAND = """python benchmarks/comparison.py --data-root CamVid \\
    --backbone-weights {start} \\
    --epochs {epochs} --crop {crop} --seeds {seeds}{cells}"""


def read_runs(path: Path) -> dict[str, Runs]:
    """The rows of the table by budget, from the longest down, and by cell, in its order."""
    budgets: dict[str, Runs] = {}
    with open(path, newline="") as file:
        for row in sorted(csv.DictReader(file), key=lambda row: -int(row["epochs"])):  # stable
            budget = f"{row['epochs']} epochs of {row['crop']}"
            budgets.setdefault(budget, {}).setdefault(row["cell"], []).append(row)
    return budgets


def classes_picture(budget: str) -> str:
    """The file of a budget's classes."""
    return f"comparison_classes_{budget.replace(' of ', '_').replace(' ', '_')}.png"


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
    else:
        told = f"{np.mean(gains):+.1f} points ({min(gains):+.1f} to {max(gains):+.1f}, "
        told += f"{len(gains)} seeds)."
    agree = min(gains) > 0 or max(gains) < 0
    # Two seeds agree every other time where there is no difference.
    if not agree or (len(gains) < 3 and abs(np.mean(gains)) < POINT):
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
    networks = whole(runs)
    rivals = {cell: rows for cell, rows in networks.items() if cell.startswith(("DeepLab", "FPN"))}
    if not rivals:
        return "No baseline was run."
    lines = []
    for cell, rows in networks.items():
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
        network = rows[0]["of"]
        if network in runs:
            variant = cell.removeprefix(f"{network}, ")
            part = variant.removesuffix(" off")
            if part == variant:  # not switched off, but put in place of something
                part = f"Top-K selection against {variant}"
            gains = differences(runs[network], rows)
            lines.append(f"- {network}, {part}: {verdict(gains, 'helps', 'does not help')}")
    return "\n".join(lines) or "No part was switched off."


def setting(row: Row) -> str:
    """The budget of a row in words."""
    return (
        f"{row['epochs']} epochs of {row['crop']} crops, batches of {row['batch_size']}, start "
        f"{row['start']}, scored on {row['scored_on']}"
    )


def by_seeds(runs: Runs) -> dict[str, list[str]]:
    """The cells by the seeds that they were run with, most seeds first."""
    groups: dict[str, list[str]] = {}
    for cell, rows in runs.items():
        seeds = sorted({row["seed"] for row in rows}, key=int)
        groups.setdefault(", ".join(seeds), []).append(cell)
    return dict(sorted(groups.items(), key=lambda group: -group[0].count(",")))


def told_seeds(runs: Runs) -> str:
    """The seeds of a budget, and which cells have others."""
    (first, _), *others = by_seeds(runs).items()
    return "; ".join([first, *(f"{seeds} of {', '.join(cells)}" for seeds, cells in others)])


def commands(runs: Runs, most: int) -> Iterator[str]:
    """What runs a budget; the cells are named where it is not all of them."""
    first = next(iter(runs.values()))[0]
    for seeds, members in by_seeds(runs).items():
        cells = " ".join(f'"{cell}"' for cell in members)
        yield COMMAND.format(
            start=first["start"],
            epochs=first["epochs"],
            crop=first["crop"],
            seeds=seeds.replace(",", ""),
            cells=f" \\\n    --cells {cells}" if len(members) < most else "",
        )


def section(budget: str, runs: Runs) -> str:
    """What is told of one budget."""
    first = next(iter(runs.values()))[0]
    return BUDGET.format(
        title=budget,
        setting=setting(first),
        seeds=told_seeds(runs),
        table=cost_table(runs),
        baselines=against_baselines(runs),
        parts=parts(runs),
        classes=classes_picture(budget),
    )


def page(budgets: Mapping[str, Runs]) -> str:
    """The text of the page."""
    most = max(map(len, budgets.values()))
    devices = {row["device"] for runs in budgets.values() for rows in runs.values() for row in rows}
    return PAGE.format(
        commands="\n".join(line for runs in budgets.values() for line in commands(runs, most)),
        device="; ".join(sorted(devices)),
        budgets="\n\n".join(section(*budget) for budget in budgets.items()),
    )


def whole(runs: Runs) -> Runs:
    """The networks and the baselines, without their variants."""
    return {cell: rows for cell, rows in runs.items() if not rows[0]["of"]}


def draw(budgets: Mapping[str, Runs], folder: Path) -> None:
    """Accuracy against cost in one picture, and the classes of each budget in one of its own."""
    import matplotlib

    matplotlib.use("Agg")
    _draw_costs(budgets, folder / "comparison_cost.png")
    for budget, runs in budgets.items():
        _draw_classes(whole(runs), folder / classes_picture(budget))


def _draw_costs(budgets: Mapping[str, Runs], path: Path) -> None:
    from matplotlib import pyplot

    plot, panels = pyplot.subplots(
        ncols=len(budgets),
        figsize=(2.5 + 4 * len(budgets), 4.5),
        layout="constrained",
        squeeze=False,
    )
    cells = {cell: None for runs in budgets.values() for cell in whole(runs)}  # one colour each
    lines = {}
    for axes, (budget, runs) in zip(panels[0], budgets.items(), strict=True):
        for number, cell in enumerate(cells):
            rows = runs.get(cell, [])
            x = [float(row["gmac"]) for row in rows]
            y = [100 * float(row["mean_iou"]) for row in rows]
            mark = "x" if cell.endswith("Dice") else "o"
            lines[cell] = axes.plot(x, y, f"C{number}{mark}", ms=8, label=cell)[0]
        axes.set(xlabel="GMAC, one image of 480x360", title=budget)
        axes.margins(x=0.1)
        low, high = axes.get_ylim()
        axes.set_ylim(low - POINT, high + POINT)  # what is no finding shall not look like one
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("mean IoU in %, one point a seed")
    plot.legend(handles=list(lines.values()), loc="outside right center")
    _save(plot, path)


def _draw_classes(runs: Runs, path: Path) -> None:
    from matplotlib import pyplot

    classes = [column for column in next(iter(runs.values()))[0] if column.startswith("iou ")]
    plot, axes = pyplot.subplots(figsize=(11, 4.5), layout="constrained")
    width = 0.8 / len(runs)
    for number, (cell, rows) in enumerate(runs.items()):
        places = np.arange(len(classes)) + (number - (len(runs) - 1) / 2) * width
        heights = [100 * np.mean([float(row[c] or "nan") for row in rows]) for c in classes]
        axes.bar(places, heights, width, label=cell)
    axes.set_xticks(range(len(classes)), [c.removeprefix("iou ") for c in classes], rotation=30)
    axes.set(ylabel="IoU in %, mean over the seeds")
    plot.legend(loc="outside upper center", ncols=len(runs))
    _save(plot, path)


def _save(plot: Any, path: Path) -> None:
    from matplotlib import pyplot

    plot.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(plot)


def main() -> None:
    """Writes the page and its pictures."""
    budgets = read_runs(TABLE)
    (DOCS / "images").mkdir(exist_ok=True)
    draw(budgets, DOCS / "images")
    (DOCS / "comparison.md").write_text(page(budgets))
    print(DOCS / "comparison.md")


if __name__ == "__main__":
    main()
