"""Tables of what benchmarks measured, from the files that they wrote."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"

Row = dict[str, str]


def rows_of(path: Path) -> list[Row]:
    """The rows of a table that a benchmark wrote."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(rows: Sequence[Row], right: Iterable[str] = ()) -> str:
    """Rows as a Markdown table; the columns of numbers to the right."""
    names = list(rows[0])
    right = set(right)
    lines = [names, ["---:" if name in right else "---" for name in names]]
    lines += [[(row[name] or "").replace("|", "\\|") for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(value: float) -> str:
    """0.7714 as 77.1."""
    return f"{100 * value:.1f}"


# Exports, choices -------------------------------------------------------------------------------


def exports_table() -> str:
    """One row an exported file that `benchmarks/exports.py` measured."""
    rows = []
    for row in rows_of(RESULTS / "exports.csv"):
        both = {
            name: f"{row[f'{column}_keras']}, {row[column]}" if row[column] else ""
            for name, column in [
                ("mIoU", "miou"),
                ("boundary F1", "boundary_f1"),
                ("processor ms", "processor_ms"),
            ]
        }
        rows.append(
            {
                "preset": f"`{row['preset']}`",
                "format": row["format"],
                "precision": row["precision"],
                "on": row["backend"],
                "MB": row["mb"],
                "frames": row["frames"],
                "labels equal, %": row["equal_labels_percent"],
                **both,
                "kept": "no" if row["refused"] else "yes",
            }
        )
    return table(rows, ("MB", "frames", "labels equal, %", *both))


def choices() -> str:
    """The choices of training that were measured, by their scores in percent."""
    rows = []
    for row in rows_of(RESULTS / "choices.csv"):
        scores = {
            f"{name}, {where}": percent(float(row[f"{column} {where}"]))
            for where in ("val", "train 0001TP")
            for name, column in (("mIoU", "mean_iou"), ("boundary F1", "boundary_f1"))
        }
        rows.append({name: row[name] for name in ("choice", "seed", "crop")} | scores)
    return table(rows, right=list(rows[0])[3:])


# Beside other libraries ---------------------------------------------------------------------------

OWN = "keras_focusseg"
BEFORE = "keras_focusseg before"  # an earlier state, measured in the same turns
RUNTIMES = ("onnxruntime", "openvino")  # which run our networks


def peers_tables() -> str:
    """What `benchmarks/peers.py` measured, a table for each mode, size, batch and threads."""
    parts = []
    for setting, rows in _settings([row for row in _peers() if row["library"] != BEFORE]):
        shown = [
            {
                "backend": row["backend"].replace("runtimes", "none"),
                "library": row["library"],
                "network": row["network"],
                "ms": f"{row['ms']} ({row['ms_low']} to {row['ms_high']})",
                "ms per GMAC": row["ms_per_gmac"],
                "processor ms": row["processor_ms"],
                "GMAC": f"{float(row['gmac']):.2f}",
                "size": f"{row['width']}x{row['height']}",
                "parameters, M": f"{int(row['parameters']) / 1e6:.2f}",
                "peak MB": row["peak_mb"],
            }
            for row in rows
        ]
        right = [name for name in shown[0] if name not in ("backend", "library", "network")]
        parts.append(f"### {setting}\n\n{table(shown, right)}")
    return "\n\n".join(parts)


def peers_losses() -> str:
    """Where a network of ours takes longer per GMAC than the fastest peer of the same backend."""
    lines = []
    for setting, rows in _settings(_peers()):
        for backend in dict.fromkeys(row["backend"] for row in rows):
            here = [row for row in rows if row["backend"] == backend]
            others = [row for row in here if row["library"] not in (OWN, BEFORE, *RUNTIMES)]
            if not others:
                continue
            least = min(others, key=_per_gmac)
            slower = [
                f"{row['network']} {row['ms_per_gmac']} "
                f"({_per_gmac(row) / _per_gmac(least):.2f} times)"
                for row in here
                if row["library"] == OWN and _per_gmac(row) > _per_gmac(least)
            ]
            lines.append(
                f"- {setting}, {backend}: fastest peer {least['network']} ({least['library']}) "
                f"{least['ms_per_gmac']}; slower: {', '.join(slower) or 'none'}."
            )
    return "\n".join(lines)


def peers_before() -> str:
    """Our networks before and after a change, measured in the same turns."""
    shown = []
    for setting, rows in _settings(_peers()):
        now = {(r["backend"], r["network"]): r for r in rows if r["library"] == OWN}
        for row in rows:
            if row["library"] != BEFORE:
                continue
            after = now[row["backend"], row["network"]]
            shown.append(
                {
                    "measured": f"{setting}, {row['backend']}",
                    "network": row["network"],
                    "ms before": row["ms"],
                    "ms after": after["ms"],
                    "ratio": f"{float(after['ms']) / float(row['ms']):.2f}",
                    "peak MB before": row["peak_mb"],
                    "peak MB after": after["peak_mb"],
                }
            )
    return table(shown, list(shown[0])[2:])


def operators_table() -> str:
    """The operators that take most of a pass or a step of ours, a row a network."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows_of(RESULTS / "operators.csv"):
        case = (row["mode"], row["backend"], row["network"])
        found.setdefault(case, []).append(f"`{row['operator']}` {percent(float(row['share']))} %")
    shown = [
        {"mode": mode, "backend": backend, "network": network, "operators": ", ".join(costs)}
        for (mode, backend, network), costs in sorted(found.items())
    ]
    return table(shown)


def _peers() -> list[Row]:
    return rows_of(RESULTS / "peers.csv")


def _settings(rows: Iterable[Row]) -> Iterable[tuple[str, list[Row]]]:
    """Rows by what they share but for the backend, and how to call that."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        height, width = row["image"].split("x")
        threads = "1 thread" if row["threads"] == "1" else f"{row['threads']} threads"
        setting = f"{row['mode'].capitalize()}, {width}x{height}, batch {row['batch']}, {threads}"
        found.setdefault(setting, []).append(row)
    return found.items()


def _per_gmac(row: Row) -> float:
    return float(row["ms_per_gmac"])


# Top-K -------------------------------------------------------------------------------------------


AUTHORS_BRANCHES = (("1", "0.1"), ("3", "0.2"), ("5", "0.3"), ("7", "0.4"))


def sparse_branches() -> str:
    """Branches of FoR-Net dense and on the chosen cells, a column for each of what runs them."""
    measured = [r for r in rows_of(RESULTS / "sparse_topk.csv") if r["form"] == "gathers"]
    runners = list(dict.fromkeys(row["backend"] for row in measured))
    shown: list[Row] = []
    for cells, channels in dict.fromkeys((row["cells"], row["channels"]) for row in measured):
        found: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
        for row in measured:
            if (row["cells"], row["channels"]) == (cells, channels):
                times = (float(row["dense_cpu_ms"]), float(row["sparse_cpu_ms"]))
                found.setdefault((row["kernel"], row["ratio"]), {})[row["backend"]] = times
        branches = {f"{k} x {k}, {100 * float(r):g} %": found[k, r] for k, r in sorted(found)}
        branches["all four"] = {
            runner: (
                sum(found[branch][runner][0] for branch in AUTHORS_BRANCHES),
                sum(found[branch][runner][1] for branch in AUTHORS_BRANCHES),
            )
            for runner in runners
        }
        for name, times in branches.items():
            row = {"map": f"{cells} x {channels}".replace("x", " x ", 1), "branch": name}
            shown.append(
                row | {runner: "{:.1f}, {:.1f}".format(*times[runner]) for runner in runners}
            )
    return table(shown, runners)


def sparse_networks() -> str:
    """Whole FoR-Nets, dense and on the chosen cells alone."""
    rows = [
        {
            "network": f"{row['network']}, {'x'.join(reversed(row['image'].split('x')))}",
            "runs in": f"{row['backend']}, {row['dtype']}",
            "shares of the branches, %": ", ".join(
                f"{100 * float(share):g}" for share in row["ratios"].split()
            ),
            "dense, ms": row["dense_ms"],
            "chosen cells, ms": row["sparse_ms"],
            "ratio": row["ratio"],
            "largest difference": row["largest_difference"],
            "largest logit": row["largest_logit"],
        }
        for row in rows_of(RESULTS / "sparse_networks.csv")
    ]
    return table(rows, list(rows[0])[3:])


# Steps -------------------------------------------------------------------------------------------


NETWORKS = {"FoRNet": "FoR-Net", "SCRNet": "SCRNet", "SERNetFormer": "SERNet-Former"}
CASES = (
    ("loop, averages", "bare loop, averages"),
    ("`fit`", "fit"),
    ("`fit`, averages, callbacks", "fit, averages and callbacks"),
    ("loop without counts", "bare loop without counts"),
)


def train_steps() -> str:
    """What averages, `fit` and the callbacks of a run add to a loop over the compiled step."""
    turns: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows_of(RESULTS / "train_step.csv"):
        if row["version"] == "present":
            crops = f"{row['batch']} of {row['width']}x{row['height']}"
            turns.setdefault((crops, row["backend"], row["network"]), {})[row["case"]] = row
    shown = []
    for (crops, backend, network), cases in sorted(turns.items()):
        loop = cases.pop("bare loop")
        shown.append(
            {
                "crops": crops,
                "backend": backend,
                "network": NETWORKS[network],
                "loop, ms": loop["processor_ms"],
                **{name: _ratio(cases.get(case)) for name, case in CASES},
                "most MB": loop["peak_mb"],
            }
        )
    return table(shown, list(shown[0])[3:])


def strategies() -> str:
    """What a strategy costs where no step can be shorter on more devices."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows_of(RESULTS / "strategy_overhead.csv"):
        if row["strategy"] != "none":
            found.setdefault((row["backend"], row["strategy"]), {})[row["devices"]] = row
    shown = [
        {
            "backend": backend,
            "strategy": f"`{strategy}`",
            "two devices": _ratio(devices.get("2"), "ratio"),
            "four devices": _ratio(devices.get("4"), "ratio"),
        }
        for (backend, strategy), devices in found.items()
    ]
    return table(shown, list(shown[0])[2:])


def _ratio(row: Row | None, column: str = "processor_ratio") -> str:
    """A median, and where the middle half lies."""
    if row is None:
        return ""
    low, high = (f"{float(end):.2f}" for end in row["spread"].split(" to "))
    return f"{float(row[column]):.2f} ({low} to {high})"
