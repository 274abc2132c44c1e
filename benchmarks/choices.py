"""Choices of training, measured on CamVid val and on a train sequence that was held out.

    python benchmarks/choices.py --data-root CamVid \
        --backbone-weights mobilenet_edgetpu_slim_cityscapes.npz --epochs 5 --crop 160x208

CamVid's val frames come from a drive that is in train too, so val cannot tell what helps on a
street that was never seen. Each choice here is trained without the 62 frames of 0001TP, by the
recipe of the first run of `fornet_mobilenet_edgetpu_camvid` but for the epochs, the size of the
crops and what the choice changes. The averaged weights of its last epoch are scored on val (101
frames) and on those 62 (360x480, 11 classes, void ignored, single scale, no flip).

Every choice is a folder under `runs/choices`: what is finished is not run again, what was stopped
goes on. Writes `benchmarks/results/choices.csv` after each.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import keras
from result_tables import write_rows

from keras_focusseg import data, files, inference, presets, training
from keras_focusseg.training.checkpoints import newest_checkpoint

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPE = REPOSITORY / "recipes" / "fornet_mobilenet_edgetpu_crops_camvid.py"
RESULTS = Path(__file__).resolve().parent / "results" / "choices.csv"
SEQUENCE = "0001TP"
AS_IT_IS, OHEM = "as the recipe", "hard pixels alone (OHEM)"


def augment(
    crop: tuple[int, int], *more: dict[str, Any], **changed: dict[str, Any]
) -> dict[str, Any]:
    """The recipe's augmentation with settings of its steps changed and steps added at its end."""
    changed = {"ScaleCrop": {"size": crop}, **changed}
    steps = training.load_recipe(RECIPE).augment["steps"]
    kept = [{**step, **changed.get(step["step"], {})} for step in steps]
    return {"augment": {"steps": [*kept, *more]}}


def schedule(epochs: int) -> dict[str, Any]:
    """So many epochs, with the recipe's share of warm-up and one validation at the end."""
    return {"epochs": epochs, "warmup_steps": epochs * 38 // 15, "validate_every": epochs}


def choices(
    crop: tuple[int, int], epochs: int, taught_by: dict[str, Path]
) -> dict[str, dict[str, Any]]:
    """What is tried: a name, and the recipe's fields that it changes."""
    network = dict(training.load_recipe(RECIPE).network_config)
    unweighted = {name: value for name, value in network.items() if name != "class_weights"}
    dropping = {**network, "backbone_options": {"drop_path_rate": 0.2}}
    # Both were trained without the sequence that is held out.
    teachers = [str(folder / "best") for folder in taught_by.values()]
    strong = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.05}
    larger = (crop[0] * 3 // 2, crop[1] * 3 // 2)
    return {
        AS_IT_IS: {},
        "stronger colors": augment(crop, ColorJitter=strong),
        "ClassMix": augment(crop, {"step": "ClassMix"}),
        OHEM: {"ohem_threshold": 0.7},
        "auxiliary head": {"auxiliary": {"P4": 0.4}},
        "no crops by class": {"class_uniform": 0.0},
        "no class weights": {"network_config": unweighted},
        "stochastic depth, up to 0.2": {"network_config": dropping},
        "taught by the first and OHEM": {"teacher": teachers},
        "scales 0.75 to 1.5": augment(crop, ScaleCrop={"size": crop, "scale": (0.75, 1.5)}),
        "no average of the weights": {"ema": 0.0},
        f"crops of {larger[0]}x{larger[1]}": augment(larger),
        f"{4 * epochs} epochs": schedule(4 * epochs),
    }


def folder_of(runs: Path, name: str, seed: int) -> Path:
    """Where a choice's run lies."""
    return runs / f"{name.replace(' ', '_')}_{seed}"


def run(name: str, recipe: training.Recipe, root: Path, folder: Path) -> None:
    """Trains by one choice, or goes on with it, and writes its figures to its folder."""
    resume = newest_checkpoint(folder) is not None
    model = presets.load(training.train(recipe, root, folder, resume=resume))
    height, width = recipe.augment["steps"][0]["size"]
    row: dict[str, Any] = {
        "choice": name,
        "epochs": recipe.epochs,
        "crop": f"{height}x{width}",
        "seed": recipe.seed,
    }
    held_out = data.CamVid(root, "train", sequences=(SEQUENCE,))
    for where, source in (("val", data.CamVid(root, "val")), (f"train {SEQUENCE}", held_out)):
        scores = inference.evaluate(model, source).to_score()
        row[f"mean_iou {where}"] = scores["mean_iou"]
        row[f"boundary_f1 {where}"] = scores["boundary_f1"]
        row |= {f"{where} {label}": iou for label, iou in scores["iou_per_class"].items()}
    files.write_json(folder / "row.json", row)
    keras.utils.clear_session()


def main() -> None:
    """Runs what is not finished yet; writes the table after each run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder of CamVid")
    parser.add_argument("--backbone-weights", required=True, help="where the encoder starts")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--crop", default="240x320", help="HEIGHTxWIDTH")
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.crop.split("x"))
    runs = Path("runs") / "choices" / f"{arguments.epochs}_epochs_{arguments.crop}"
    common = training.load_recipe(RECIPE).replace(
        train_options={"exclude_sequences": (SEQUENCE,)},
        **augment((height, width)),
        **schedule(arguments.epochs),
        backbone_weights=arguments.backbone_weights,
    )
    for seed in arguments.seeds:
        teachers = {name: folder_of(runs, name, seed) for name in (AS_IT_IS, OHEM)}
        tried = choices((height, width), arguments.epochs, teachers)
        for name, changes in tried.items():
            folder = folder_of(runs, name, seed)
            if not (folder / "row.json").is_file():
                recipe = common.replace(seed=seed, **changes)
                run(name, recipe, arguments.data_root, folder)
            rows = [files.read_json(path) for path in sorted(runs.glob("*/row.json"))]
            rows.sort(key=lambda row: (list(tried).index(row["choice"]), row["seed"]))
            write_rows(RESULTS, rows[0], rows)
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
