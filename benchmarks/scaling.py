"""How far the recipes should scale, on paper: the tables of docs/guides/scaling.md.

    KERAS_BACKEND=torch python benchmarks/scaling.py

NOTHING HERE IS MEASURED. Arithmetic and weights are counted from the graph of each recipe's network
at its crop (`inference.profile`, all outputs), without running it; what hardware does is computed
from the constants below. They are assumptions: peaks and links as their makers publish them, and
shares of the peak and latencies that we chose. A training step is taken as three forward passes;
gradients are float32; collectives are not overlapped with computing, so the efficiencies are low
estimates. Writes `benchmarks/results/scaling.csv` and prints the tables as Markdown.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
from pathlib import Path

import keras

from keras_focusseg import inference, presets, training

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "scaling.csv"
CLASSES = {"ade20k": 150, "bdd100k": 19, "cityscapes": 19}  # CamVid's 11 elsewhere
FRAMES = {"camvid": (360, 480), "camvid720": (720, 960), "cityscapes": (1024, 2048)}
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LOCAL_BATCH = 4  # images that each accelerator takes a step, where the global batch may grow
# Assumed: what is reached of the peak. Depthwise convolutions wait for memory.
SHARE_OF_PEAK, SHARE_OF_MOBILE = 0.3, 0.05
# Of each network one recipe that computes little and one or two that compute much, for the page.
SHOWN = (
    "fornet_mobilenet_v2_camvid",
    "fornet_mobilenet_edgetpu_camvid",
    "fornet_resnet101_cityscapes",
    "scrnet_mobilenet_v2_camvid",
    "scrnet_mscan_s_cityscapes",
    "scrnet_resnet101_cityscapes",
    "sernet_former_mobilenet_v2_camvid",
    "sernet_former_resnet50_camvid720",
    "sernet_former_resnet101_cityscapes",
)
FLOPS_A_MAC = 2
PASSES = 3  # forward, and backward to inputs and to weights


@dataclasses.dataclass(frozen=True)
class Machine:
    """Accelerators and what joins them; all constants are assumptions.

    Args:
        name: What it is.
        flops: Peak of one accelerator in bfloat16, a second.
        group: Accelerators that share the fast link.
        fast: Bytes a second and direction of that link, for each accelerator.
        slow: Bytes a second of the link between groups, for each group.
        hop: Seconds that a message waits at each of log2(n) hops inside a group.
        far_hop: The same between groups.
        source: Where peak and links are published.
    """

    name: str
    flops: float
    group: int
    fast: float
    slow: float
    hop: float
    far_hop: float
    source: str


MACHINES = (
    Machine(
        "TPU v5e, one slice", 197e12, 256, 200e9, math.inf, 2e-6, 0.0,
        "cloud.google.com/tpu/docs/v5e: 197 TFLOP/s in bfloat16, 400 GB/s both ways a chip",
    ),
    Machine(
        "A100, hosts of eight, 100 Gbit/s", 312e12, 8, 300e9, 12.5e9, 5e-6, 20e-6,
        "NVIDIA's A100 datasheet: 312 TFLOP/s in bfloat16, NVLink 600 GB/s both ways; the link "
        "between hosts is a 100 Gbit/s Ethernet",
    ),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Work:
    """What a step of a recipe costs, whatever computes it.

    Args:
        recipe: Its name.
        crop: Height and width of an image.
        batch: Global batch of the recipe.
        macs: Multiply-accumulates of a forward pass of one image.
        trainable: Trainable weights.
        norms: Batch norms, which are synchronised.
    """

    recipe: str
    crop: str
    batch: int
    macs: int
    trainable: int
    norms: int

    @property
    def step_flops(self) -> float:
        """Operations of a training step of one image."""
        return self.macs * FLOPS_A_MAC * PASSES

    @property
    def gradient_bytes(self) -> int:
        """What every step adds up over the accelerators."""
        return 4 * self.trainable

    @property
    def state_bytes(self) -> int:
        """Weights, gradients, both moments of AdamW and the average, on every accelerator."""
        return 5 * self.gradient_bytes


def crop_of(recipe: training.Recipe) -> tuple[int, int]:
    """Size of the images that a recipe trains on."""
    for step in recipe.augment["steps"]:
        if "size" in step:
            height, width = step["size"]
            return height, width
    return FRAMES[recipe.dataset]


def work(path: Path) -> Work:
    """Builds the network of a recipe and counts."""
    recipe = training.load_recipe(path)
    keras.backend.clear_session()
    network = presets.network_class(recipe.network)
    classes = CLASSES.get(recipe.dataset, 11)
    model = network(num_classes=classes, **recipe.network_config)
    crop = crop_of(recipe)
    costs = inference.profile(model, crop, outputs=None, runs=0)
    norms = sum(isinstance(x, keras.layers.BatchNormalization) for x in model._flatten_layers())
    return Work(
        path.stem,
        f"{crop[0]}x{crop[1]}",
        recipe.batch_size,
        costs.macs,
        costs.trainable,
        norms,
    )


def images_per_second(of: Work, machine: Machine) -> float:
    """What one accelerator trains on if nothing makes it wait."""
    share = SHARE_OF_MOBILE if "mobilenet" in of.recipe else SHARE_OF_PEAK
    return machine.flops * share / of.step_flops


def seconds(of: Work, machine: Machine, count: int, local: float) -> dict[str, float]:
    """Where the time of a step goes: computing, gradients, norms."""
    groups = math.ceil(count / machine.group)
    inside = min(count, machine.group)
    gradients = 2 * (inside - 1) / inside * of.gradient_bytes / machine.fast
    gradients += 2 * (groups - 1) / groups * of.gradient_bytes / machine.slow
    # Two sums forward and two backward for each norm, too small for bandwidth to matter.
    waiting = math.log2(inside) * machine.hop + math.log2(groups) * machine.far_hop
    norms = 4 * of.norms * waiting
    return {
        "computing": local / images_per_second(of, machine),
        "gradients": gradients,
        "norms": norms,
    }


def efficiency(of: Work, machine: Machine, count: int, local: float) -> float:
    """Share of a step that is computing."""
    parts = seconds(of, machine, count, local)
    return parts["computing"] / sum(parts.values())


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    return "\n".join(
        "| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]
    )


def main() -> None:
    """Counts for all recipes and reports."""
    report([work(path) for path in sorted((ROOT / "recipes").glob("*.py"))])


def report(works: list[Work]) -> None:
    """Writes the table and prints those of the page."""
    kinds = {"the recipe's": None, f"{LOCAL_BATCH} each": LOCAL_BATCH}
    predictions, rows = [], []
    for each, machine in itertools.product(works, MACHINES):
        for kind, local in kinds.items():
            found = [
                f"{efficiency(each, machine, count, local or each.batch / count):.2f}"
                if local or each.batch >= count
                else ""
                for count in COUNTS
            ]
            speed = f"{images_per_second(each, machine):.0f}"
            rows.append([*dataclasses.astuple(each), machine.name, speed, kind, *found])
            if local and each.recipe in SHOWN:
                predictions.append([each.recipe, machine.name, *found])
    with open(RESULTS, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [field.name for field in dataclasses.fields(Work)]
        counts = [f"efficiency_{count}" for count in COUNTS]
        writer.writerow([*names, "machine", "images_per_second", "batch_size", *counts])
        writer.writerows(rows)
    costs = [
        [
            each.recipe,
            each.crop,
            f"{each.step_flops / 1e9:.0f}",
            f"{each.gradient_bytes / 1e6:.1f}",
            f"{each.state_bytes / 1e6:.0f}",
            str(each.norms),
        ]
        for each in works
    ]
    feeds = [
        [each.recipe, *(f"{images_per_second(each, machine):.0f}" for machine in MACHINES)]
        for each in works
        if each.recipe in SHOWN
    ]
    header = ["recipe", "crop", "GFLOP an image", "MB added up", "MB of state", "batch norms"]
    print(table(header, costs), "\n")
    print(table(["recipe", "accelerators", *map(str, COUNTS)], predictions), "\n")
    print(table(["recipe", *(machine.name for machine in MACHINES)], feeds))


if __name__ == "__main__":
    main()
