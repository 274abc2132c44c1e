"""What counting costs beside the network when a preset is evaluated.

    python benchmarks/evaluation.py fornet_mobilenet_v2_camvid --data-root CamVid

Processor time an image over the validation split: of the whole process (reading, network, counting,
compilation left out), and the median of the thread that counts
confusions, bands, boundaries at five tolerances, four trimaps and calibration. Processor time is
the same on a busy machine; where the network runs on an accelerator, its time is not in it.
Writes `benchmarks/results/evaluation.csv`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import keras
from result_tables import write_rows

from keras_focusseg import data, files, inference, presets

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    """Evaluates and writes a line a preset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--report", type=Path, help="folder for a page and a JSON a preset")
    arguments = parser.parse_args()

    rows = []
    for name in arguments.presets:
        recipe = presets.record(name).recipe
        options = {**recipe.get("dataset_options", {}), **recipe.get("val_options", {})}
        source = data.open_source(recipe["dataset"], arguments.data_root, "val", **options)
        model = presets.load(name)
        inference.Procedure(window=None).class_maps(model, source.load(0).image[None])  # compiles
        start = time.process_time()
        scores = inference.evaluate(model, source)
        whole = (time.process_time() - start) / scores.frames
        counting = scores.counting_seconds_per_image
        rows.append(
            {
                "preset": name,
                "images": scores.frames,
                "resolution": scores.resolution,
                "backend": keras.backend.backend(),
                "cores": os.cpu_count(),
                "processor_ms": f"{1000 * whole:.1f}",
                "counting_ms": f"{1000 * counting:.1f}",
                "counting_to_the_rest": f"{counting / (whole - counting):.2f}",
                "mean_iou": f"{100 * scores.mean_iou:.2f}",
            }
        )
        print(rows[-1])
        if arguments.report is not None:
            arguments.report.mkdir(parents=True, exist_ok=True)
            files.write_json(arguments.report / f"{name}.json", scores.to_dict())
            inference.write_report(arguments.report / f"{name}.html", scores, model, source)
    path = RESULTS / "evaluation.csv"
    write_rows(path, rows[0], rows)


if __name__ == "__main__":
    main()
