"""What the parts of a network are worth: short runs of a recipe with parts switched off.

    python benchmarks/ablation.py recipes/scrnet_mobilenet_v2_camvid.py --data-root CamVid
    python benchmarks/ablation.py recipes/sernet_former_mobilenet_v2_camvid.py --data-root CamVid

Every variant is trained from the same start with the recipe's settings, the warm-up and the decay
fitted to the fewer epochs, and the averaged weights of the last epoch are scored on the whole
validation split: one confusion matrix, single scale, no flip; also within 3 pixels of a boundary
and outside. A run that was stopped goes on where it was. Writes `runs/ablation/NETWORK/VARIANT`,
`benchmarks/results/ablation_NETWORK.csv` and the log of every run beside it.

One seed and few epochs: differences of a point or two are noise.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
from result_tables import write_rows
from rich.progress import track

from keras_focusseg import data, inference, metrics, presets, training
from keras_focusseg.training.checkpoints import newest_checkpoint

RESULTS = Path(__file__).resolve().parent / "results"
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "SCRNet": {
        "full": {},
        "SRM off": {"upsampling": "bilinear"},
        "CRM off": {"context": "none"},
        "SRM and CRM off": {"upsampling": "bilinear", "context": "none"},
    },
    "SERNetFormer": {
        "full": {},
        "AbM off": {"attention_boosting": False},
        "DbN off": {"bridge": False},
        "AfN1 off": {"afn1": False},
        "AfN2 off": {"afn2": False},
    },
}
BAND = 3  # pixels


def short(recipe: training.Recipe, epochs: int, changes: dict[str, Any]) -> training.Recipe:
    """The recipe with parts changed and its schedule fitted to fewer epochs."""
    share = epochs / recipe.epochs
    config = {**recipe.network_config, **changes}
    if "contrast_warmup" in config:
        config["contrast_warmup"] = round(config["contrast_warmup"] * share)
    return recipe.replace(
        epochs=epochs,
        validate_every=epochs,
        warmup_steps=round(recipe.warmup_steps * share),
        network_config=config,
    )


def score(best: Path, source: data.Source, description: str) -> dict[str, Any]:
    """Scores of a run's weights, over all pixels and inside and outside the band."""
    model = presets.load(best)
    whole, band, rest = (metrics.ConfusionMatrix(source.label_space.num_classes) for _ in range(3))
    for i in track(range(len(source)), description=description):
        sample = source.load(i)
        prediction = inference.predict_logits(model, sample.image).argmax(-1)
        near = metrics.trimap(sample.mask, BAND)
        whole.update(sample.mask, prediction)
        band.update(np.where(near, sample.mask, 255), prediction)
        rest.update(np.where(near, 255, sample.mask), prediction)
    figures = {"mean_iou": whole, f"mean_iou_within_{BAND}px": band, "mean_iou_elsewhere": rest}
    return {
        "parameters": model.count_params(),
        **{name: f"{100 * metrics.mean_iou(m.matrix):.2f}" for name, m in figures.items()},
    }


def main() -> None:
    """Trains what is not trained yet, scores all variants, writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--backbone-weights", help="in place of the recipe's")
    arguments = parser.parse_args()

    recipe = training.load_recipe(arguments.recipe)
    if arguments.backbone_weights:
        recipe = recipe.replace(backbone_weights=arguments.backbone_weights)
    rows, logs = [], {}
    source = data.open_source(
        recipe.dataset,
        arguments.data_root,
        recipe.val_split,
        **{**recipe.dataset_options, **recipe.val_options},
    )
    for name, changes in VARIANTS[recipe.network].items():
        slug = re.sub(r"\W+", "_", name.lower())
        folder = Path("runs") / "ablation" / recipe.name / slug
        resume = newest_checkpoint(folder) is not None
        best = training.train(
            short(recipe, arguments.epochs, changes), arguments.data_root, folder, resume=resume
        )
        logs[slug] = folder / "log.csv"
        rows.append({"variant": name, "epochs": arguments.epochs, **score(best, source, name)})
        keras.utils.clear_session()
    RESULTS.mkdir(exist_ok=True)
    for slug, log in logs.items():
        shutil.copyfile(log, RESULTS / f"ablation_{recipe.name}_{slug}.csv")
    path = RESULTS / f"ablation_{recipe.name}.csv"
    write_rows(path, rows[0], rows)
    print(path.read_text())


if __name__ == "__main__":
    main()
