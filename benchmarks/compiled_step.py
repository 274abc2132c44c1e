"""What the compiler says that a step costs, on four virtual devices, beside the profile.

    python benchmarks/compiled_step.py recipes/fornet_mobilenet_v2_camvid.py

Compiles the training step of recipes, as `training.train` runs it, for four virtual devices of JAX
under `data_parallel`, and runs nothing. XLA's own analysis of the program of one device gives
operations, bytes read and written, and the memory of what the step holds for a while; the text of
the program gives the collectives: the bytes of what each `all-reduce` adds up, and of what others
move. Counted for the CPU: accelerators fuse more, so that they read and write less. There, too, XLA
computes the gradient of a depthwise kernel as that of a dense one, as the first line printed says;
`depthwise_gflop_image` is what this makes of the backbone's. The profile's numbers beside them are
those of `benchmarks/scaling.py`.

Writes the rows of these recipes into `benchmarks/results/compiled_step.csv` and prints the table of
docs/guides/scaling.md.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import re
from pathlib import Path
from typing import Any

from result_tables import write_rows

DEVICES = 4
os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
# Machine code that is made fast is enough: the program is the same.
os.environ["XLA_FLAGS"] = (
    f"--xla_force_host_platform_device_count={DEVICES} --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true"
)

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import scaling  # noqa: E402

from keras_focusseg import inference, presets, training  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results" / "compiled_step.csv"
SHOWN = 12  # largest collectives whose origin is printed
MEASURES = (
    "profile_gflop_image",
    "compiled_gflop_image",
    "depthwise_gflop_image",
    "profile_activations_mb_image",
    "accessed_mb_image",
    "temporary_mb_image",
    "gradient_mb",
    "all_reduce_mb",
    "all_reduces",
    "other_collectives_mb",
)
BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "bf16": 2, "f16": 2, "s64": 8, "u64": 8, "f64": 8}
COLLECTIVE = re.compile(
    r"= (.+?) (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)(?:-start)?\("
    r'.*?(?:op_name="(.*?)"|$)',
    re.MULTILINE,
)
ARRAY = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")


def collectives(program: str) -> list[tuple[str, int, str]]:
    """Kind, bytes of the result and origin of each collective in the text of a program."""
    found = []
    for shapes, kind, origin in COLLECTIVE.findall(program):
        size = 0
        for dtype, sides in ARRAY.findall(shapes):
            size += BYTES.get(dtype, 4) * math.prod(int(side) for side in sides.split(",") if side)
        found.append((kind, size, origin))
    return found


def compiled(recipe: training.Recipe, crop: tuple[int, int]) -> tuple[Any, Any]:
    """A recipe's network, and its step as XLA compiled it for one of the devices."""
    spread = training.distribution("data_parallel")
    with spread.scope():
        network = presets.network_class(recipe.network)
        classes = scaling.CLASSES.get(recipe.dataset, 11)
        model = network(num_classes=classes, dtype=recipe.precision, **recipe.network_config)
        model.compile(training.make_optimizer(recipe, steps_per_epoch=100))
        model.make_train_function()
        model.build_metrics()
        kinds = ("trainable", "non_trainable", "optimizer", "metrics")
        state = model._get_jax_state(**{f"{kind}_variables": True for kind in kinds})
        mesh = spread.engine.device_mesh
        parts = jax.sharding.NamedSharding(
            mesh.backend_mesh, jax.sharding.PartitionSpec(mesh.axis_names[0])
        )
        images = np.zeros((recipe.batch_size, *crop, 3), "uint8")
        batch = tuple(jax.device_put(x, parts) for x in (images, images[..., 0].astype("int32")))
        step = jax.jit(
            model.train_step,
            donate_argnums=0,
            out_shardings=(None, model._get_state_sharding_spec()),
        )
        return model, step.lower(state, batch).compile()


def analysis(step: Any) -> Any:
    """What XLA says that a compiled program costs."""
    found = step.cost_analysis()
    return found[0] if isinstance(found, list) else found


def kernel_gradient(channels: int = 64, side: int = 32) -> float:
    """Operations that XLA counts for the gradient of a depthwise 3x3 kernel, over its products."""
    images = np.zeros((1, side, side, channels), "float32")
    kernel = np.zeros((3, 3, channels, 1), "float32")

    def total(kernel: Any) -> Any:
        return keras.ops.sum(
            keras.ops.square(keras.ops.depthwise_conv(images, kernel, padding="same"))
        )

    step, forward = (jax.jit(f).lower(kernel).compile() for f in (jax.grad(total), total))
    return float((analysis(step)["flops"] - analysis(forward)["flops"]) / (2 * images.size * 9))


def depthwise_as_dense(backbone: keras.Model, crop: tuple[int, int]) -> float:
    """Operations for an image of the gradients of depthwise kernels, computed as dense ones."""
    layers = [x for x in backbone.layers if isinstance(x, keras.layers.DepthwiseConv2D)]
    maps = keras.Model(backbone.input, {x.name: x.output for x in layers})
    shapes = maps.compute_output_shape((1, *crop, 3))
    return sum(
        2.0 * math.prod(shapes[x.name]) * math.prod(x.kernel_size) * shapes[x.name][-1]
        for x in layers
    )


def costs(path: Path) -> dict[str, Any]:
    """The row of a recipe."""
    recipe = training.load_recipe(path)
    crop = scaling.crop_of(recipe)
    model, step = compiled(recipe, crop)
    images = recipe.batch_size / DEVICES  # of one device, whose program is analyzed
    found = analysis(step)
    moved = collectives(step.as_text())
    for kind, size, origin in sorted(moved, key=lambda each: -each[1])[:SHOWN]:
        print(f"{size / 1e6:.2f} MB {kind}: {origin[:100]}", flush=True)
    summed = [size for kind, size, _ in moved if kind == "all-reduce"]
    profile = inference.profile(model, crop, outputs=None, runs=0)
    macs_flops = scaling.FLOPS_A_MAC * scaling.PASSES * profile.macs
    values = (
        f"{macs_flops / 1e9:.1f}",
        f"{found['flops'] / images / 1e9:.1f}",
        f"{depthwise_as_dense(model.backbone, crop) / 1e9:.1f}",
        f"{profile.activation_bytes / 1e6:.0f}",
        f"{found['bytes accessed'] / images / 1e6:.0f}",
        f"{step.memory_analysis().temp_size_in_bytes / images / 1e6:.0f}",
        f"{4 * profile.trainable / 1e6:.2f}",
        f"{sum(summed) / 1e6:.2f}",
        str(len(summed)),
        f"{(sum(size for _, size, _ in moved) - sum(summed)) / 1e6:.2f}",
    )
    case = {"recipe": path.stem, "crop": f"{crop[0]}x{crop[1]}", "batch": str(recipe.batch_size)}
    return case | dict(zip(MEASURES, values, strict=True))


def main() -> None:
    """Compiles the steps of recipes and reports."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipes", nargs="*", type=Path)
    rows = list(csv.DictReader(RESULTS.open())) if RESULTS.is_file() else []
    print(f"gradient of a depthwise kernel, 64 channels: {kernel_gradient():.0f} times", flush=True)
    for path in parser.parse_args().recipes:
        row = costs(path)
        rows = [each for each in rows if each["recipe"] != row["recipe"]] + [row]
        rows.sort(key=lambda each: each["recipe"])
        write_rows(RESULTS, row, rows)
    header = [name.replace("_", " ") for name in rows[0]]
    print(scaling.table(header, [list(row.values()) for row in rows]))


if __name__ == "__main__":
    main()
