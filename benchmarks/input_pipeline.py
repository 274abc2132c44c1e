"""Images per second of the input pipeline, beside raw PNG loops of TensorFlow and Pillow.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --camvid CamVid     # and on real 480x360 frames
    python benchmarks/input_pipeline.py --before checkout   # `Augment` here and in another version

Everything runs in turns in one process on the same files: PNG images with PNG masks of rendered
streets under noise, which makes them as heavy to decode as photographs. The full policy is a
random scale 0.5..2, a crop of the image's size with at most 75 % of one class, flip, rotation,
colour and, half of the time, blur. Machines differ and are shared: the ratios to the raw loops say
more than the rates.

Writes three tables to `benchmarks/results`: `input_pipeline.csv` (rates),
`input_pipeline_steps.csv` (what each step of the policy costs) and `input_pipeline_memory.csv`
(resident memory along an epoch). With `--before`, only `input_pipeline_before_after.csv`: both
versions in turns, each in processes of its own, on the same frames.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.progress import Progress

from keras_focusseg import data, label_spaces
from keras_focusseg.files import written

RESULTS = Path(__file__).resolve().parent / "results"
WORKERS = os.cpu_count() or 1
BATCH = 8
ROUNDS = 5
Entry = tuple[str, tuple[int, int], str, Callable[[], float]]
"""What the frames are, their size, what is measured, and what measures it."""
Sources = list[tuple[str, tuple[int, int], data.Source]]
"""What the frames are, their size, and where they come from."""
SCENES = {(360, 480): 48, (1024, 2048): 8}
# So many reads a round: about a second or two each.
READS = {(360, 480): 240, (1024, 2048): 16}
# What recipes use; the first is the full policy but for blur always, not half of the time.
AUGMENTS: dict[str, dict[str, Any]] = {
    "Augment": {"rotate": 10.0, "blur": 1.0},
    "Augment without rotation and blur": {},
}
STEPS: dict[str, data.Step] = {
    "scale and crop": data.ScaleCrop(None),
    "flip": data.Flip(),
    "rotation": data.Rotate(10.0),
    "colour": data.ColorJitter(),
    "blur": data.Blur(1.0, probability=0.5),
}


def full_policy(size: tuple[int, int], without: str = "") -> data.Compose:
    """All steps, or all but one, with crops of that size."""
    steps = {**STEPS, "scale and crop": data.ScaleCrop(size)}
    if without == "at most 75 % of one class":
        steps["scale and crop"] = data.ScaleCrop(size, max_class_share=None)
    elif without == "scale and crop":
        steps["scale and crop"] = data.ScaleCrop(size, (1.0, 1.0), max_class_share=None)
    return data.Compose(
        [step for name, step in steps.items() if name != without or name == "scale and crop"]
    )


def augment_of(name: str, size: tuple[int, int]) -> Any:
    """One of `AUGMENTS` with crops of that size."""
    return data.Augment(size, max_class_share=0.75, **AUGMENTS[name])


def write_scenes(folder: Path, size: tuple[int, int], count: int) -> data.Source:
    """Rendered streets with noise as PNG files, and the source that reads them."""
    scenes = data.SyntheticStreets(count=count, size=size, seed=5)
    rng = np.random.default_rng(5)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for image, mask, name in scenes:
        noisy = image + rng.normal(0, 3, image.shape)
        Image.fromarray(noisy.round().clip(0, 255).astype("uint8")).save(
            folder / "images" / f"{name}.png"
        )
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    space = scenes.label_space
    own = label_spaces.from_names(space.classes, space.colors)
    return data.Folder(folder / "images", folder / "masks", own)


def in_threads(read: Callable[[int], object], count: int, workers: int = WORKERS) -> float:
    """Calls a second of `read` in a pool of threads."""
    with ThreadPoolExecutor(workers) as pool:
        start = time.perf_counter()
        for _ in pool.map(read, range(count)):
            pass
        return count / (time.perf_counter() - start)


def consumed(batches: Iterable[Any], images: int) -> float:
    """Images a second of a whole pass over a feed."""
    start = time.perf_counter()
    for _ in batches:
        pass
    return images / (time.perf_counter() - start)


class Repeated(data.Source):
    """A source whose samples come several times, so that an epoch is long enough to measure."""

    def __init__(self, source: data.Source, length: int) -> None:
        self.name, self.split, self.label_space = source.name, source.split, source.label_space
        self._source, self._length = source, length

    def __len__(self) -> int:
        return self._length

    def load(self, index: int) -> data.Sample:
        """Sample `index` of the source, counted round and round."""
        return self._source.load(index % len(self._source))


def cases(source: data.Source, size: tuple[int, int], reads: int) -> dict[str, Callable[[], float]]:
    """Name of each measurement and what makes it; each returns images a second."""
    import tensorflow as tf

    files = [tuple(str(path) for path in source.files(i)) for i in range(len(source))]
    full = full_policy(size)
    repeated = Repeated(source, reads)
    untuned = tf.data.Options()  # as our feed: the tuner's sleep can hold up the end of a pass
    untuned.autotune.enabled = False

    def pillow(index: int) -> None:
        for path in files[index % len(files)]:
            np.asarray(Image.open(path))

    decoded = [source.load(i) for i in range(min(16, len(source)))]

    def augmented(index: int) -> None:
        image, mask, _ = source.load(index % len(source))
        full(image, mask, np.random.default_rng(index))

    def policy_alone(policy: data.Compose, index: int) -> None:
        image, mask, _ = decoded[index % len(decoded)]
        policy(image, mask, np.random.default_rng(index))

    def tensorflow_loop() -> float:
        paths = tf.data.Dataset.from_tensor_slices(files).repeat().take(reads)
        read = paths.map(
            lambda pair: [tf.io.decode_png(tf.io.read_file(pair[i])) for i in (0, 1)],
            num_parallel_calls=WORKERS,
        )
        return consumed(read.with_options(untuned), reads)

    def tensorflow_chain() -> float:
        """Scale, pad, crop, flip and colour as one would write them with `tf.image`."""
        height, width = size
        images = np.stack([sample.image for sample in decoded])
        masks = np.stack([sample.mask for sample in decoded])[..., None]

        def change(image: Any, mask: Any) -> Any:
            scale = tf.random.uniform([], 0.5, 2.0)
            new = tf.cast(tf.cast(tf.shape(image)[:2], tf.float32) * scale, tf.int32)
            image = tf.image.resize(image, new)
            mask = tf.image.resize(mask, new, method="nearest")
            room = tf.maximum([height, width] - new, 0)
            padding = [[0, room[0]], [0, room[1]], [0, 0]]
            image = tf.pad(image, padding)
            mask = tf.pad(mask, padding, constant_values=np.uint8(255))
            both = tf.concat([image, tf.cast(mask, tf.float32)], -1)
            both = tf.image.random_flip_left_right(tf.image.random_crop(both, [height, width, 4]))
            image = tf.image.random_brightness(both[..., :3], 50.0)
            image = tf.image.random_contrast(image, 0.8, 1.2)
            image = tf.clip_by_value(image, 0, 255)
            return tf.cast(image, tf.uint8), tf.cast(both[..., 3], tf.int32)

        samples = tf.data.Dataset.from_tensor_slices((images, masks)).repeat().take(reads)
        changed = samples.map(change, num_parallel_calls=WORKERS).batch(BATCH).prefetch(2)
        return consumed(changed.with_options(untuned), reads)

    def feed(name: str, policy: data.Compose | None, cache: str | None = None) -> float:
        batches = data.batches(
            cached if cache else repeated, BATCH, policy, shuffle=True, feed=name, workers=WORKERS
        )
        return consumed(batches, reads)

    cached = data.Cached(repeated)

    feeds = ("tensorflow", "pydataset")
    return {
        "raw: Pillow, one thread": lambda: in_threads(pillow, reads, 1),
        "raw: Pillow, threads": lambda: in_threads(pillow, reads),
        "raw: tf.io.decode_png in tf.data": tensorflow_loop,
        "tf.image: scale, crop, flip, colour; decoded before": tensorflow_chain,
        "decode and check": lambda: in_threads(lambda i: source.load(i % len(source)), reads),
        "full policy, decoded before": lambda: in_threads(partial(policy_alone, full), reads),
        **{
            f"{name}, decoded before": partial(
                in_threads, partial(policy_alone, augment_of(name, size)), reads
            )
            for name in AUGMENTS
        },
        "decode + full policy": lambda: in_threads(augmented, reads),
        **{f"whole feed, {name}": lambda name=name: feed(name, full) for name in feeds},
        "whole feed, tensorflow, cached": lambda: feed("tensorflow", full, "memory"),
        "whole feed, tensorflow, no augmentation": lambda: feed("tensorflow", None),
    }


def steps(source: data.Source, size: tuple[int, int]) -> list[tuple[str, float, float]]:
    """Milliseconds of the whole policy on one thread, and what is saved without each step."""
    samples = [source.load(i) for i in range(min(16, len(source)))]
    names = ["", *STEPS, "at most 75 % of one class"]
    policies = {name: full_policy(size, without=name) for name in names}
    taken: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(ROUNDS * 2):
        for name, policy in policies.items():
            start = time.perf_counter()
            for i, (image, mask, _) in enumerate(samples):
                policy(image, mask, np.random.default_rng((seed, i)))
            taken[name].append(1000 * (time.perf_counter() - start) / len(samples))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    whole = medians.pop("")
    rows = [(f"without {name}", value, whole - value) for name, value in medians.items()]
    return [("full policy", whole, 0.0), *sorted(rows, key=lambda row: row[1])]


def memory(source: data.Source, size: tuple[int, int], passes: int) -> list[tuple[int, float]]:
    """Resident MiB after each tenth of a long run over the TensorFlow feed."""
    page = resource.getpagesize()

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page / 2**20

    batches = data.batches(Repeated(source, passes), BATCH, full_policy(size), feed="tensorflow")
    rows, total = [], len(batches)
    for number, _ in enumerate(batches, start=1):
        if number % max(1, total // 10) == 0:
            rows.append((number * BATCH, resident()))
    return rows


def measured(todo: list[Entry]) -> dict[tuple[str, tuple[int, int], str], float]:
    """Median images a second of each case, all of them in turns."""
    rates: dict[tuple[str, tuple[int, int], str], list[float]] = {}
    with Progress() as progress:
        task = progress.add_task("rounds", total=(ROUNDS + 1) * len(todo))
        for number in range(ROUNDS + 1):
            for frames, size, name, case in todo:
                rate = case()
                if number:  # the first round warms up
                    rates.setdefault((frames, size, name), []).append(rate)
                progress.advance(task)
    return {key: statistics.median(values) for key, values in rates.items()}


def write(name: str, header: list[str], rows: Iterable[Iterable[object]]) -> None:
    """Writes one table under a temporary name, then renames it."""
    path = RESULTS / name
    with written(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    print(f"{path.name}\n{path.read_text()}")


def changed(augment: Any, images: np.ndarray, masks: np.ndarray, index: int) -> Any:
    """One of the samples, counted round and round, after an augmentation."""
    number = index % len(images)
    return augment(images[number], masks[number], np.random.default_rng(index))


def augment_rates(frames: Path) -> dict[str, float]:
    """Images a second of each of `AUGMENTS` on each file of decoded samples in a folder."""
    rates = {}
    for path in sorted(frames.glob("*.npz")):
        with np.load(path) as stored:
            images, masks = stored["images"], stored["masks"]
        size = masks.shape[1:]
        for name in AUGMENTS:
            change = partial(changed, augment_of(name, size), images, masks)
            change(0)
            rates[f"{path.stem},{size[0]}x{size[1]},{name}"] = in_threads(change, READS[size])
    return rates


def before_and_after(before: Path, sources: Sources, folder: Path) -> None:
    """Measures `AUGMENTS` in another checkout and in this one, in turns."""
    for name, size, source in sources:
        samples = [source.load(i) for i in range(min(16, len(source)))]
        np.savez(
            folder / f"{name}-{size[0]}.npz",
            images=np.stack([sample.image for sample in samples]),
            masks=np.stack([sample.mask for sample in samples]),
        )
    versions = {"before": before, "after": Path(__file__).resolve().parents[1]}
    found: dict[str, dict[str, list[float]]] = {version: {} for version in versions}
    for _ in range(ROUNDS):
        for version, checkout in versions.items():
            command = [sys.executable, __file__, "--rates-on", str(folder)]
            environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
            for key, rate in json.loads(done.stdout.splitlines()[-1]).items():
                found[version].setdefault(key, []).append(rate)
    rows = []
    for key, rates in found["before"].items():
        old, new = statistics.median(rates), statistics.median(found["after"][key])
        frames, size_name, name = key.split(",", 2)
        rows.append(
            [
                frames.rsplit("-", 1)[0],
                size_name,
                name,
                f"{old:.1f}",
                f"{new:.1f}",
                f"{new / old:.2f}",
            ]
        )
    write(
        "input_pipeline_before_after.csv",
        ["frames", "size", "what", "before", "after", "after_over_before"],
        rows,
    )


def main(
    camvid: Annotated[
        Path | None, typer.Option(help="CamVid at 480x360, to measure real frames as well.")
    ] = None,
    before: Annotated[
        Path | None, typer.Option(help="Checkout of another version, to compare Augment with.")
    ] = None,
    rates_on: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measures in turns and writes the medians."""
    if rates_on is not None:
        print(json.dumps(augment_rates(rates_on)))
        return
    with tempfile.TemporaryDirectory() as folder:
        sources: Sources = [
            ("rendered", size, write_scenes(Path(folder) / str(size[0]), size, count))
            for size, count in SCENES.items()
        ]
        if camvid is not None:
            sources.insert(1, ("CamVid train", (360, 480), data.CamVid(camvid, "train")))
        if before is not None:
            before_and_after(before, sources, Path(folder))
            return
        todo: list[Entry] = [
            (frames, size, name, case)
            for frames, size, source in sources
            for name, case in cases(source, size, READS[size]).items()
        ]
        medians = measured(todo)
        policy_rows = [
            [frames, f"{size[0]}x{size[1]}", name, f"{value:.2f}", f"{saved:.2f}"]
            for frames, size, source in sources
            for name, value, saved in steps(source, size)
        ]
        memory_rows = [
            [frames, f"{size[0]}x{size[1]}", count, f"{mib:.0f}"]
            for frames, size, source in sources
            for count, mib in memory(source, size, 10 * READS[size])
        ]
        rows = []
        for frames, size, name, _ in todo:
            rate = medians[frames, size, name]
            raw = medians[frames, size, "raw: tf.io.decode_png in tf.data"]
            rows.append(
                [frames, f"{size[0]}x{size[1]}", name, f"{rate:.1f}", f"{rate / raw:.2f}", WORKERS]
            )
        write(
            "input_pipeline.csv",
            ["frames", "size", "what", "images_per_second", "of_decode_png", "threads"],
            rows,
        )
        write(
            "input_pipeline_steps.csv",
            ["frames", "size", "policy", "milliseconds", "saved"],
            policy_rows,
        )
        write(
            "input_pipeline_memory.csv",
            ["frames", "size", "images_read", "resident_mib"],
            memory_rows,
        )


if __name__ == "__main__":
    typer.run(main)
