"""Networks and their parts side by side: one encoder, the same data, steps and augmentation.

    python benchmarks/comparison.py --data-root CamVid \
        --backbone-weights mobilenet_edgetpu_slim_cityscapes.npz --epochs 20 --seeds 0 1 2
    python docs/make_comparison.py

Trains the three networks, each with what its paper invented switched off in turn, and DeepLabV3+
and a plain feature pyramid, all on MobileNet-EdgeTPU, by one recipe's data and rates with the
schedule fitted to the epochs given. Scores the averaged weights of the last epoch on the whole
validation split (single scale, no flip) and counts what each costs at 480x360: parameters,
multiply-accumulates, the peak of the activations. When all are trained, their latencies are taken
in turns, one image of each and again, so that what else the machine does meets all alike.

Every pair of cell and seed is a folder of its own under `runs/comparison`: what is finished is not
run again, what was stopped goes on. Writes `benchmarks/results/comparison.csv` after each, with
all that is finished at this budget in place of what the table had of it.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import fnmatch
import re
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import baselines  # registers its networks
import keras
import numpy as np
from result_tables import write_rows
from rich.progress import track

from keras_focusseg import data, files, inference, presets, training
from keras_focusseg.training.checkpoints import newest_checkpoint

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
RESULTS = Path(__file__).resolve().parent / "results" / "comparison.csv"
BUDGET = ("epochs", "batch_size", "crop", "start")  # columns
DATA = "fornet_mobilenet_edgetpu_crops_camvid"  # data, augmentation and rates, for all cells
SCRNET, SERNET = "scrnet_mobilenet_edgetpu_camvid", "sernet_former_mobilenet_edgetpu_camvid"
SIZE = (360, 480)
ROUNDS = 15  # of latencies


@dataclasses.dataclass(frozen=True)
class Cell:
    """One network of the comparison.

    Args:
        recipe: The recipe that says its arguments; None for a baseline, which has its own.
        changes: Arguments in place of those.
        network: Its class; by default the recipe's.
        of: The cell that it is a variant of.
    """

    recipe: str | None
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    network: str | None = None
    of: str | None = None


DEEPLAB = {"filters": 128, "dilation_rates": (3, 6, 9)}  # as SERNet-Former's, for small crops
DEEPLAB_NAME = f"{baselines.PACKAGE}>{baselines.DeepLabV3Plus.__name__}"
FPN_NAME = f"{baselines.PACKAGE}>{baselines.PlainFPN.__name__}"
RANDOM_NAME = f"{baselines.PACKAGE}>{baselines.RandomCellsFoRNet.__name__}"
CELLS = {
    "DeepLabV3+": Cell(None, DEEPLAB, DEEPLAB_NAME),
    "DeepLabV3+, Dice": Cell(None, {**DEEPLAB, "dice_weight": 1.0}, DEEPLAB_NAME),
    "FPN": Cell(None, {}, FPN_NAME),
    "FPN, Dice": Cell(None, {"dice_weight": 1.0}, FPN_NAME),
    "FoR-Net": Cell(DATA),
    "FoR-Net, all cells": Cell(DATA, {"ratios": (1.0, 1.0, 1.0, 1.0)}, of="FoR-Net"),
    "FoR-Net, random cells": Cell(DATA, network=RANDOM_NAME, of="FoR-Net"),
    "SCRNet": Cell(SCRNET),
    "SCRNet, SRM off": Cell(SCRNET, {"upsampling": "bilinear"}, of="SCRNet"),
    "SCRNet, CRM off": Cell(SCRNET, {"context": "none"}, of="SCRNet"),
    "SCRNet, contrastive loss off": Cell(SCRNET, {"contrast_weight": 0.0}, of="SCRNet"),
    "SERNet-Former": Cell(SERNET),
    "SERNet-Former, AbM off": Cell(SERNET, {"attention_boosting": False}, of="SERNet-Former"),
    "SERNet-Former, DbN off": Cell(SERNET, {"bridge": False}, of="SERNet-Former"),
    "SERNet-Former, AfN off": Cell(SERNET, {"afn1": False, "afn2": False}, of="SERNet-Former"),
}


@dataclasses.dataclass(frozen=True)
class Budget:
    """What every cell is given.

    Args:
        epochs: Passes over the training split.
        steps_per_epoch: Steps of one.
        crop: Height and width of what is trained on.
        batch_size: Crops a step.
        start: Weights of the encoder; None for random ones.
    """

    epochs: int
    steps_per_epoch: int
    crop: tuple[int, int]
    batch_size: int
    start: str | None

    def __str__(self) -> str:
        height, width = self.crop
        start = "random" if self.start is None else Path(self.start).stem
        return f"{self.epochs}_epochs_{height}x{width}_batch_{self.batch_size}_{start}"


def recipe_of(cell: Cell, budget: Budget, seed: int) -> training.Recipe:
    """The run of a cell: the common recipe with its network, fitted to the budget."""
    common = training.load_recipe(RECIPES / f"{DATA}.py")
    config: dict[str, Any] = {
        "backbone": "mobilenet_edgetpu",
        "output_stride": 16,
        "class_weights": common.network_config["class_weights"],
    }
    network = cell.network
    if cell.recipe is not None:
        own = training.load_recipe(RECIPES / f"{cell.recipe}.py")
        config, network = dict(own.network_config), network or own.network
    config |= cell.changes
    steps = budget.epochs * budget.steps_per_epoch
    if "contrast_warmup" in config:
        config["contrast_warmup"] = steps // 8  # as in SCRNet's recipe
    first, *rest = common.augment["steps"]
    assert network is not None  # a baseline names its own
    return common.replace(
        name="comparison",
        network=network,
        network_config=config,
        augment={"steps": [{**first, "size": budget.crop}, *rest]},
        epochs=budget.epochs,
        batch_size=budget.batch_size,
        warmup_steps=steps // 15,  # as in the common recipe
        validate_every=budget.epochs,
        seed=seed,
        backbone_weights=budget.start,
    )


def run(name: str, recipe: training.Recipe, root: Path, folder: Path) -> None:
    """Trains a cell, or goes on with it, and writes its figures to `row.json` of its folder."""
    resume = newest_checkpoint(folder) is not None
    best = training.train(recipe, root, folder, resume=resume)
    model = presets.load(best)
    options = {**recipe.dataset_options, **recipe.val_options}
    source = data.open_source(recipe.dataset, root, recipe.val_split, **options)
    steps = iter(track(range(len(source)), description=name))
    scores = inference.evaluate(model, source, on_image=lambda done: next(steps, None)).to_score()
    costs = inference.profile(model, SIZE, runs=1)
    assert costs.latency is not None  # for the name of the device; it is measured later
    crop = recipe.augment["steps"][0]["size"]
    row = {
        "cell": name,
        "of": CELLS[name].of,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "crop": f"{crop[0]}x{crop[1]}",
        "start": "none" if recipe.backbone_weights is None else Path(recipe.backbone_weights).name,
        "scored_on": f"{scores['dataset']} {scores['split']}, {scores['frames']} frames of "
        f"{scores['resolution']}",
        "mean_iou": scores["mean_iou"],
        "boundary_f1": scores["boundary_f1"],
        "parameters": costs.parameters,
        "gmac": round(costs.macs / 1e9, 3),
        "ms": None,
        "peak_mb": round(costs.peak_activation_bytes / 1e6, 1),
        "device": f"{costs.latency.backend} on {costs.latency.device}",
        **{f"iou {label}": iou for label, iou in scores["iou_per_class"].items()},
    }
    files.write_json(folder / "row.json", row)
    keras.utils.clear_session()


def measure_latencies(folders: Mapping[str, Path]) -> None:
    """Puts the median milliseconds of one image into the rows of trained cells, by folder."""
    models = {name: presets.load(folder / "best") for name, folder in folders.items()}
    image = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3)).astype("uint8")
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in track(range(2 + ROUNDS), description="latency"):  # two to compile and warm up
        for name, model in models.items():
            start = time.perf_counter()
            model.predict_on_batch(image)
            seconds[name].append(time.perf_counter() - start)
    for name, folder in folders.items():
        row = files.read_json(folder / "row.json")
        median = statistics.median(seconds[name][2:])
        files.write_json(folder / "row.json", row | {"ms": round(1000 * median, 1)})


def write_table(folder: Path) -> None:
    """Puts the rows of every finished run below a folder, all of one budget, into the table."""
    rows = [files.read_json(path) for path in folder.glob("*/row.json")]
    order = list(CELLS)
    rows.sort(key=lambda row: (order.index(row["cell"]), row["seed"]))
    here = [str(rows[0][column]) for column in BUDGET]
    present = list(csv.DictReader(RESULTS.open())) if RESULTS.is_file() else []
    others = [row for row in present if [row[column] for column in BUDGET] != here]
    RESULTS.parent.mkdir(exist_ok=True)
    write_rows(RESULTS, rows[0], [*others, *rows])


def main() -> None:
    """Runs what is not finished yet; writes the table after each run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder of CamVid")
    parser.add_argument("--backbone-weights", help="where every encoder starts")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--crop", default="240x320", help="HEIGHTxWIDTH")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--cells", nargs="+", default=["*"], help="names or wildcards")
    arguments = parser.parse_args()

    chosen = [n for n in CELLS if any(fnmatch.fnmatch(n, p) for p in arguments.cells)]
    if not chosen:
        raise SystemExit(f"No cell is called {arguments.cells}; there are {', '.join(CELLS)}.")
    height, width = (int(side) for side in arguments.crop.split("x"))
    root, batch = arguments.data_root, arguments.batch_size
    frames = len(data.open_source("camvid", root, "train"))
    budget = Budget(
        arguments.epochs, frames // batch, (height, width), batch, arguments.backbone_weights
    )
    folder = Path("runs") / "comparison" / str(budget)
    for seed in arguments.seeds:
        own = {n: folder / f"{re.sub(r'[^a-z0-9]+', '_', n.lower())}_{seed}" for n in chosen}
        for name in chosen:
            if not (own[name] / "row.json").is_file():
                run(name, recipe_of(CELLS[name], budget, seed), root, own[name])
            write_table(folder)
        measure_latencies(own)
        write_table(folder)
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
