"""What the papers claim, measured on shipped presets: where networks look, what parts are worth.

    python benchmarks/claims.py regions fornet_mobilenet_v2_camvid --data-root CamVid
    python benchmarks/claims.py parts scrnet_mobilenet_v2_camvid --data-root CamVid
    python benchmarks/claims.py parts sernet_former_mobilenet_v2_camvid --data-root CamVid

`regions`: the share of all counted pixels that lie in the Top-K regions of each branch of FoR-Net,
which is what any choice of as many cells would hold on average; the share of the boundary pixels
(within 3 pixels of another class) and of the wrong pixels that lie there. Then the same for the
regions that selectors with fresh weights choose on the same features, of the same boundary pixels
and the same wrong pixels: what is left when that which the selector learned is taken away.

`parts`: scores with a part of the trained network switched off when it is used: SRM replaced by
bilinear upsampling in SCRNet, each switch of SERNet-Former. The rest was trained with that part, so
this shows how much the trained network leans on it, not what a network trained without it would
reach (`ablation.py` trains those). A switch whose network has weights that the trained one has not
is named and left out.

Writes `benchmarks/results/claims_MODE_PRESET.csv`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ablation import VARIANTS
from result_tables import write_rows
from rich.progress import track

from keras_focusseg import data, inference, metrics, presets

RESULTS = Path(__file__).resolve().parent / "results"
BAND = 3  # pixels
FRESH = 5  # selectors that learned nothing


def samples(source: data.Source, every: int, title: str) -> Iterator[data.Sample]:
    """One of so many images of the source."""
    for i in track(range(0, len(source), every), description=title):
        yield source.load(i)


def fresh_selector(model: Any, seed: int) -> Any:
    """Features of FoR-Net -> Top-K masks, as its selector makes them but with fresh weights."""
    keras.utils.set_random_seed(seed)
    trained = [model.get_layer(name) for name in ("selector", "selector_logits")]
    layers = [type(layer).from_config(layer.get_config()) for layer in trained]
    return keras.Sequential([*layers, model.get_layer("top_k")])


def regions(model: Any, images: Iterable[data.Sample]) -> list[dict[str, Any]]:
    """A row for each selector and branch of FoR-Net, smallest share of cells first."""
    fresh = [fresh_selector(model, seed) for seed in range(FRESH)]
    counts: Any = 0
    frames = 0
    for sample in images:
        seen = model.inspect(sample.image[None])
        height, width = sample.mask.shape
        chosen_by = [seen["masks"], *(masks(seen["features"]) for masks in fresh)]
        masks = np.concatenate([*map(keras.ops.convert_to_numpy, chosen_by)], axis=-1)[0] > 0.5
        stride = 2 ** int(np.ceil(np.log2(height / masks.shape[0])))
        chosen = masks.repeat(stride, 0).repeat(stride, 1)[:height, :width]
        counted = sample.mask < model.num_classes
        wrong = counted & (seen["logits"][0].argmax(-1) != sample.mask)
        kinds = [counted, counted & metrics.trimap(sample.mask, BAND), wrong]
        counts = counts + np.array([[kind.sum(), *chosen[kind].sum(0)] for kind in kinds])
        frames += 1
    pixels, boundary, errors = counts[:, 1:] / counts[:, :1]
    branches = len(pixels) // (1 + FRESH)
    selectors = ["trained", *(f"fresh weights {seed}" for seed in range(FRESH))]
    return [
        {
            "selector": selectors[k // branches],
            "branch": k % branches + 1,
            "images": frames,
            "pixels_inside_percent": f"{100 * pixels[k]:.2f}",
            "boundary_pixels_inside_percent": f"{100 * boundary[k]:.2f}",
            "wrong_pixels_inside_percent": f"{100 * errors[k]:.2f}",
            "boundary_against_chance": f"{boundary[k] / pixels[k]:.2f}",
            "wrong_against_chance": f"{errors[k] / pixels[k]:.2f}",
        }
        for k in range(len(pixels))
    ]


def switched(model: Any, changes: dict[str, Any]) -> Any:
    """The network with a part switched off and its weights, `None` if it has others of its own."""
    other = type(model)(**{**model.constructor_config(), **changes})
    trained = {layer.name: layer for layer in model.layers}
    for layer in other.layers:
        mine = trained.get(layer.name)
        weights = [] if mine is None else mine.get_weights()
        if [w.shape for w in weights] != [tuple(w.shape) for w in layer.weights]:
            if layer.weights:
                print(f"{changes}: {layer.name} has weights of its own")
                return None
        else:
            layer.set_weights(weights)
    return other


def score(model: Any, images: Iterable[data.Sample]) -> dict[str, Any]:
    """Mean IoU of all pixels, of those near boundaries, of the others."""
    whole, band, rest = (metrics.ConfusionMatrix(model.num_classes) for _ in range(3))
    procedure, frames = inference.Procedure(window=None), 0
    for sample in images:
        labels = procedure.class_maps(model, sample.image[None])[0].labels
        near = metrics.trimap(sample.mask, BAND)
        whole.update(sample.mask, labels)
        band.update(np.where(near, sample.mask, 255), labels)
        rest.update(np.where(near, 255, sample.mask), labels)
        frames += 1
    figures = {"mean_iou": whole, f"mean_iou_within_{BAND}px": band, "mean_iou_elsewhere": rest}
    return {
        "images": frames,
        **{name: f"{100 * metrics.mean_iou(m.matrix):.2f}" for name, m in figures.items()},
    }


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mode", choices=("regions", "parts"))
    parser.add_argument("preset")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take one of so many images")
    arguments = parser.parse_args()

    record = presets.record(arguments.preset)
    options = {**record.recipe.get("dataset_options", {}), **record.recipe.get("val_options", {})}
    source = data.open_source(record.recipe["dataset"], arguments.data_root, "val", **options)
    model = presets.load(arguments.preset)
    if arguments.mode == "regions":
        rows = regions(model, samples(source, arguments.every, arguments.preset))
    else:
        rows = []
        for name, changes in VARIANTS[record.network].items():
            if "CRM" in name:  # its output has another width than the stage that it is made of
                continue
            variant = switched(model, changes) if changes else model
            if variant is not None:
                scores = score(variant, samples(source, arguments.every, name))
                rows.append({"variant": name, **scores})
    path = RESULTS / f"claims_{arguments.mode}_{arguments.preset}.csv"
    write_rows(path, rows[0], rows)
    print(path.read_text())


if __name__ == "__main__":
    main()
