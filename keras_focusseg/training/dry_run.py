"""A recipe tried in seconds: two steps and a validation on small made-up data in its layout."""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_focusseg import label_spaces, presets
from keras_focusseg.data.sources.camvid_frames import split_frames
from keras_focusseg.training.fit import train
from keras_focusseg.training.recipe import Recipe

SCALE = 8  # sides of images and crops are divided by it
SMALLEST = 64  # a side, in pixels
WIDTHS = 4  # numbers of channels are divided by it
LIGHT = {"resnet": "resnet18", "mscan": "mscan_t", "van": "van_b0"}
"""The backbone that stands for its family, by the start of their names."""

Sample = tuple[np.ndarray, np.ndarray]


def dry_run(recipe: Recipe, folder: str | Path | None = None) -> str:
    """Trains two steps and validates, on random pictures, a network made narrow.

    The data lie on disk in the layout of the benchmark, an eighth as high and wide, and are opened,
    augmented and fed as the recipe says. Networks on large backbones run on the smallest of the
    family, with a quarter of the channels. Weights to start from are not loaded.

    Args:
        recipe: What is tried.
        folder: Where data and run are written and stay; by default they go at the end.

    Returns:
        What was done, in a few sentences.

    Raises:
        ValueError: The layout of the recipe's dataset is not known here; or whatever is wrong with
            the recipe.

    Example:
        ```python
        recipe = training.load_recipe("recipes/scrnet_mscan_s_cityscapes.py")
        print(training.dry_run(recipe))
        ```
    """
    small = scaled(recipe)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(folder or temporary)
        data_root = None
        if recipe.dataset in LAYOUTS:
            data_root = root / recipe.dataset
            LAYOUTS[recipe.dataset](data_root)
        elif recipe.dataset != "synthetic_streets":
            known = ", ".join([*LAYOUTS, "synthetic_streets"])
            raise ValueError(
                f"A dry run makes up data of {known}, not of {recipe.dataset!r}: try the recipe on "
                "your data with --set epochs=1."
            )
        with warnings.catch_warnings():  # a few pictures cannot show 150 classes
            warnings.filterwarnings("ignore", "No image of")
            best = train(small, data_root, root / "run", verbose=0, limit=2 * small.batch_size)
        monitor = presets.record(best).training["monitor"]
    started = bool(recipe.backbone_weights or recipe.pretrained)
    config = small.network_config
    return (
        f"{recipe.network} on {config.get('backbone', 'its own backbone')} took 2 steps of "
        f"{small.batch_size} images and was validated: {monitor}, on random pictures."
        + (" The weights that the recipe starts from were not loaded." if started else "")
    )


def scaled(recipe: Recipe) -> Recipe:
    """A recipe as a dry run trains it: one epoch of small images, a narrow network."""
    options = recipe.dataset_options
    if recipe.dataset == "synthetic_streets":
        options = {**options, "size": _smaller(options.get("size", (360, 480)))}
    return recipe.replace(
        network_config=_narrow(recipe),
        dataset_options=options,
        augment={**recipe.augment, "steps": [_small_step(s) for s in recipe.augment["steps"]]},
        batch_size=min(recipe.batch_size, 2),
        epochs=1,
        warmup_steps=min(recipe.warmup_steps, 1),
        validate_every=1,
        backbone_weights=None,
        pretrained=None,
    )


def _narrow(recipe: Recipe) -> dict[str, Any]:
    """Arguments of the network, with fewer channels and the lightest backbone of its family."""
    config = dict(recipe.network_config)
    arguments = inspect.signature(presets.network_class(recipe.network)).parameters
    if "contrast_warmup" in arguments:
        config["contrast_warmup"] = 0  # so that its loss is tried
    config.setdefault("backbone", arguments["backbone"].default)
    for family, light in LIGHT.items():
        if str(config["backbone"]).startswith(family):
            config["backbone"] = light
            config.pop("backbone_options", None)  # which may give the sizes of the larger one
            for name, argument in arguments.items():
                width = config.get(name, argument.default)
                if name.endswith("filters") and isinstance(width, int):
                    config[name] = max(width // WIDTHS, 8)
    return config


def _small_step(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step of the augmentation whose sizes in pixels are scaled down."""
    small = {
        name: _smaller(step[name]) for name in ("size", "base_size") if step.get(name) is not None
    }
    return {**step, **small}


def _smaller(size: Any) -> tuple[int, ...]:
    return tuple(max(side // SCALE, SMALLEST) for side in size)


# Made-up benchmarks: random pictures where each keeps them ---------------------------------------


def _samples(ids: Any, size: tuple[int, int], count: int = 4) -> Iterator[tuple[int, Sample]]:
    """Numbered images of noise and masks of blocks of the ids."""
    rng, (height, width) = np.random.default_rng(0), _smaller(size)
    for number in range(count):
        blocks = rng.choice(np.asarray(ids, "uint8"), (-(-height // 8), -(-width // 8)))
        mask = blocks.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
        noise = rng.integers(0, 60, (height, width, 3))
        yield number, ((noise + mask[..., None] % 8 * 24).astype("uint8"), mask)


def _save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _cityscapes(root: Path) -> None:
    ids = [*label_spaces.get("cityscapes").ids, 0]
    for split in ("train", "val"):
        for number, (image, mask) in _samples(ids, (1024, 2048)):
            name = f"{split}/aachen/aachen_{number:06}_000019"
            _save(root / "leftImg8bit" / f"{name}_leftImg8bit.png", image)
            _save(root / "gtFine" / f"{name}_gtFine_labelIds.png", mask)


def _bdd100k(root: Path) -> None:
    for split in ("train", "val"):
        for number, (image, mask) in _samples([*range(19), 255], (720, 1280)):
            _save(root / "images/10k" / split / f"{number:08}.jpg", image)
            _save(root / "labels/sem_seg/masks" / split / f"{number:08}.png", mask)


def _ade20k(root: Path) -> None:
    for split, folder in (("train", "training"), ("val", "validation")):
        for number, (image, mask) in _samples(range(151), (512, 683)):
            name = f"ADE_{split}_{number + 1:08}"
            _save(root / "images" / folder / f"{name}.jpg", image)
            _save(root / "annotations" / folder / f"{name}.png", mask)


def _camvid(root: Path) -> None:
    for split in ("train", "val"):
        for number, (image, mask) in _samples(range(12), (360, 480)):
            frame = split_frames(split)[number]
            _save(root / split / f"{frame}.png", image)
            _save(root / f"{split}annot" / f"{frame}.png", mask)


def _camvid720(root: Path) -> None:
    """All 701 frames, which its splits ask for: few pictures under many names."""
    colors = np.array(label_spaces.grouping("camvid32").colors, "uint8")
    files = []
    for number, (image, mask) in _samples(range(32), (720, 960)):
        files.append((root / f"{number}.png", root / f"{number}_L.png"))
        _save(files[-1][0], image)
        _save(files[-1][1], colors[mask])
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    frames = [frame for split in ("train", "val", "test") for frame in split_frames(split)]
    for number, frame in enumerate(frames):
        image_file, label_file = files[number % len(files)]
        (root / "images" / f"{frame}.png").hardlink_to(image_file)
        (root / "labels" / f"{frame}_L.png").hardlink_to(label_file)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "ade20k": _ade20k,
    "bdd100k": _bdd100k,
    "camvid": _camvid,
    "camvid720": _camvid720,
    "cityscapes": _cityscapes,
}
