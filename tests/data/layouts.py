"""Makers of tiny trees that are true to the layouts people have on disk, of random pictures.

Each maker writes below `root`, makes it if need be, and returns it. `counts` says how many frames
a split gets; all pictures differ from each other, and the same seed writes the same tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.camvid_frames import split_frames

SIZE = (24, 32)
"""Height and width of the pictures."""

OFFICIAL = ("train", "val", "test")
"""CamVid's official splits; `split_frames` names their frames."""

VOC_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


def make_cityscapes(
    root: Path,
    counts: Mapping[str, int] | None = None,
    encodings: Iterable[str] = ("labelIds",),
    cities: bool = True,
    together: bool = True,
    coarse: bool = False,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """`leftImg8bit` and `gtFine`, with the files beside the masks that the archives have.

    Args:
        root: where to write.
        counts: frames of each split; default 3, 2 and 1. "test" gets dummies, as there.
        encodings: "labelIds", "labelTrainIds" or both.
        cities: a folder a city; without, as mirrors have it.
        together: both folders in the root; without, each in a folder named like its archive.
        coarse: `gtCoarse` instead of `gtFine`.
        size: height and width.
        seed: of the pictures.

    Returns:
        The root.
    """
    rng = np.random.default_rng(seed)
    label = "gtCoarse" if coarse else "gtFine"
    images, masks = root / "leftImg8bit", root / label
    if not together:
        images = root / "leftImg8bit_trainvaltest" / "leftImg8bit"
        masks = root / f"{label}_trainvaltest" / label
    raw = np.array([7, 8, 11, 21, 23, 24, 26, 33, 1, 3, 29, 255], "uint8")  # 1, 3, 29: ignored
    train = label_spaces.get("cityscapes").to_train_ids(raw)
    towns = {"train": ("aachen", "bochum"), "val": ("munster",), "test": ("berlin",)}
    for split, count in (counts or {"train": 3, "val": 2, "test": 1}).items():
        for number in range(count):
            town = towns.get(split, ("augsburg",))[number % len(towns.get(split, (0,)))]
            stem = f"{town}_{number:06}_{number + 19:06}"
            inner = f"{town}/{stem}" if cities else stem
            save(images / split / f"{inner}_leftImg8bit.png", picture(rng, size))
            choice = blocks(rng, len(raw), size)
            if split == "test":
                choice[:] = 9  # all "out of roi"
            base = masks / split / f"{inner}_{label}"
            if "labelIds" in encodings:
                save(Path(f"{base}_labelIds.png"), raw[choice])
            if "labelTrainIds" in encodings:
                save(Path(f"{base}_labelTrainIds.png"), train[choice])
            save(Path(f"{base}_instanceIds.png"), raw[choice].astype("uint16"))
            palette = label_spaces.get("cityscapes").palette()[train[choice]]
            save(Path(f"{base}_color.png"), np.dstack([palette, np.full(size, 255, "uint8")]))
            Path(f"{base}_polygons.json").write_text("{}")
    (root / "README").write_text("about")
    return root


def make_bdd100k(
    root: Path,
    counts: Mapping[str, int] | None = None,
    layout: str = "today",
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """The folder `bdd100k` that its archives unpack to.

    Args:
        root: where to write; it gets a folder `bdd100k`.
        counts: frames of each split; default 3, 2 and 1. "test" has no masks, as there.
        layout: "today" (`images/10k`, `labels/sem_seg/masks`) or "older" (`seg`).
        size: height and width.
        seed: of the pictures.

    Returns:
        The root.
    """
    rng = np.random.default_rng(seed)
    base = root / "bdd100k"
    ids = np.array([*range(19), 255], "uint8")
    palette = label_spaces.get("bdd100k").palette()
    for split, count in (counts or {"train": 3, "val": 2, "test": 1}).items():
        for number in range(count):
            name = f"{number:08x}-{rng.integers(1 << 32):08x}"
            mask = ids[blocks(rng, len(ids), size)]
            if layout == "today":
                image = base / "images" / "10k" / split / f"{name}.jpg"
                labels = base / "labels" / "sem_seg"
                mask_path = labels / "masks" / split / f"{name}.png"
                color_path = labels / "colormaps" / split / f"{name}.png"
                extra = labels / "polygons" / f"sem_seg_{split}.json"
            else:
                image = base / "seg" / "images" / split / f"{name}.jpg"
                mask_path = base / "seg" / "labels" / split / f"{name}_train_id.png"
                color_path = base / "seg" / "color_labels" / split / f"{name}_train_color.png"
                extra = None
            save(image, picture(rng, size))
            if split == "test":
                continue
            save(mask_path, mask)
            save(color_path, palette[mask])
            if extra:
                extra.parent.mkdir(parents=True, exist_ok=True)
                extra.write_text("[]")
    return root


def make_ade20k(
    root: Path,
    counts: Mapping[str, int] | None = None,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """`ADEChallengeData2016` with pictures of different sizes, 0 unlabelled, 1..150 classes.

    Args:
        root: where to write; it gets a folder `ADEChallengeData2016`.
        counts: frames of "train" and "val"; default 3 and 2.
        size: height and width of the first; each further one is two pixels wider.
        seed: of the pictures.

    Returns:
        The root.
    """
    rng = np.random.default_rng(seed)
    base = root / "ADEChallengeData2016"
    folders = {"train": "training", "val": "validation"}
    scenes = []
    for split, count in (counts or {"train": 3, "val": 2}).items():
        for number in range(1, count + 1):
            name, shape = f"ADE_{split}_{number:08}", (size[0], size[1] + 2 * (number - 1))
            save(base / "images" / folders[split] / f"{name}.jpg", picture(rng, shape))
            mask = np.array([0, 1, 2, 3, 13, 100, 150], "uint8")[blocks(rng, 7, shape)]
            save(base / "annotations" / folders[split] / f"{name}.png", mask)
            scenes.append(f"{name} street")
    (base / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n")
    (base / "sceneCategories.txt").write_text("\n".join(scenes) + "\n")
    return root


def make_camvid_segnet(
    root: Path,
    counts: Mapping[str, int] | None = None,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """The SegNet tutorial's copy: `train`, `trainannot`, `train.txt` with foreign absolute paths.

    Args:
        root: where to write.
        counts: how many of the first frames of each official split; default 3, 2 and 2.
        size: height and width.
        seed: of the pictures.

    Returns:
        The root.
    """
    rng = np.random.default_rng(seed)
    for split, count in (counts or {"train": 3, "val": 2, "test": 2}).items():
        lines = []
        for frame in split_frames(split)[:count]:
            save(root / split / f"{frame}.png", picture(rng, size))
            save(root / f"{split}annot" / f"{frame}.png", blocks(rng, 12, size))
            start = f"/SegNet/CamVid/{split}"
            lines.append(f"{start}/{frame}.png {start}annot/{frame}.png\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root


def make_camvid_original(
    root: Path,
    splits: Iterable[str] = OFFICIAL,
    folders: tuple[str, str] = ("701_StillsRaw_full", "LabeledApproved_full"),
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """The original archives: every frame of some official splits, label images in 32 colours.

    Args:
        root: where to write.
        splits: whose frames; all three make 701.
        folders: folder of images and folder of label images.
        size: height and width.
        seed: of the pictures.

    Returns:
        The root.
    """
    rng = np.random.default_rng(seed)
    for frame in (frame for split in splits for frame in split_frames(split)):
        save(root / folders[0] / f"{frame}.png", picture(rng, size))
        save(root / folders[1] / f"{frame}_L.png", camvid_label(rng, size))
    return root


def make_camvid_lists(
    root: Path,
    counts: Mapping[str, int] | None = None,
    style: str = "pairs",
    suffix: str = ".txt",
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """`images` and `labels` in 32 colours, with a list a split.

    Args:
        root: where to write.
        counts: how many of the first frames of each official split; default 3, 2 and 2.
        style: "pairs" (`images/x.png labels/x_L.png` a line), "files" (`x.png`) or "names" (`x`).
        suffix: of the lists, ".txt" or ".lst".
        size: height and width.
        seed: of the pictures.

    Returns:
        The root.
    """
    rng = np.random.default_rng(seed)
    line = {"pairs": "images/{0}.png labels/{0}_L.png", "files": "{0}.png", "names": "{0}"}[style]
    for split, count in (counts or {"train": 3, "val": 2, "test": 2}).items():
        frames = split_frames(split)[:count]
        for frame in frames:
            save(root / "images" / f"{frame}.png", picture(rng, size))
            save(root / "labels" / f"{frame}_L.png", camvid_label(rng, size))
        (root / f"{split}{suffix}").write_text("".join(line.format(f) + "\n" for f in frames))
    return root


def make_camvid_fastai(
    root: Path,
    counts: Mapping[str, int] | None = None,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """fastai's copy: `labels/*_P.png` with ids 0..31, `codes.txt`, and `valid.txt` alone.

    Args:
        root: where to write.
        counts: how many of the first frames of each official split; default 3, 2 and 2. Those of
            "val" stand in `valid.txt`.
        size: height and width.
        seed: of the pictures.

    Returns:
        The root.
    """
    rng = np.random.default_rng(seed)
    for split, count in (counts or {"train": 3, "val": 2, "test": 2}).items():
        for frame in split_frames(split)[:count]:
            save(root / "images" / f"{frame}.png", picture(rng, size))
            save(root / "labels" / f"{frame}_P.png", blocks(rng, 32, size))
    held_out = split_frames("val")[: (counts or {"val": 2})["val"]]
    (root / "valid.txt").write_text("".join(f"{frame}.png\n" for frame in held_out))
    (root / "codes.txt").write_text("\n".join(label_spaces.grouping("camvid32").names))
    return root


def make_camvid_kaggle(
    root: Path,
    counts: Mapping[str, int] | None = None,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """Kaggle's copy: `train`, `train_labels` and so on, split at random, and `class_dict.csv`.

    Args:
        root: where to write; it gets a folder `CamVid`.
        counts: frames of each split; default 3, 2 and 2. There they are 369, 100 and 232.
        size: height and width.
        seed: of the pictures.

    Returns:
        The root.
    """
    rng = np.random.default_rng(seed)
    base = root / "CamVid"
    frames = sorted(frame for split in OFFICIAL for frame in split_frames(split))
    order = iter(np.random.default_rng(3).permutation(frames).tolist())
    for split, count in (counts or {"train": 3, "val": 2, "test": 2}).items():
        for _ in range(count):
            frame = next(order)
            save(base / split / f"{frame}.png", picture(rng, size))
            save(base / f"{split}_labels" / f"{frame}_L.png", camvid_label(rng, size))
    groups = label_spaces.grouping("camvid32")
    rows = [
        f"{name},{r},{g},{b}\n" for name, (r, g, b) in zip(groups.names, groups.colors, strict=True)
    ]
    (base / "class_dict.csv").write_text("name,r,g,b\n" + "".join(rows))
    return root


def make_pascal_voc(
    root: Path,
    counts: Mapping[str, int] | None = None,
    style: str = "voc",
    masks: str = "palette",
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """Pascal VOC 2012, or a folder in its style as CVAT exports it.

    Args:
        root: where to write. "voc" makes `VOCdevkit/VOC2012` below it, "cvat" uses it itself.
        counts: frames of each list; default 3 and 2 for "train" and "val", 3 for CVAT's "default".
        style: "voc", with 21 classes, and 255 at borders;
            or "cvat", with `labelmap.txt` and the classes background, road and "zebra crossing".
        masks: of "voc" "palette", or "grey" in `SegmentationClassAug` beside those; of "cvat"
            "palette" or "rgb".
        size: height and width.
        seed: of the pictures.

    Returns:
        The root.
    """
    rng = np.random.default_rng(seed)
    if style == "voc":
        base, palette = root / "VOCdevkit" / "VOC2012", voc_palette()
        splits = dict(counts or {"train": 3, "val": 2})
        ids = np.array([*range(21), 255], "uint8")
        (base / "Annotations").mkdir(parents=True)
    else:
        base, splits = root, dict(counts or {"default": 3})
        palette = np.zeros((256, 3), "uint8")
        palette[1:3] = (128, 64, 128), (250, 250, 55)
        ids = np.array([0, 1, 2], "uint8")
    lists: dict[str, list[str]] = {}
    for split, count in splits.items():
        for number in range(count):
            name = f"2007_{len(lists.get('trainval', [])) + 32:06}"
            name = name if style == "voc" else f"{split}_{number}"
            lists.setdefault(split, []).append(name)
            lists.setdefault("trainval", []).append(name)
            save(base / "JPEGImages" / f"{name}.jpg", picture(rng, size))
            mask = ids[blocks(rng, len(ids), size)]
            path = base / "SegmentationClass" / f"{name}.png"
            if masks == "rgb":
                save(path, palette[mask])
            else:
                save_palette(path, mask, palette)
            save_palette(base / "SegmentationObject" / f"{name}.png", mask, voc_palette())
            if masks == "grey":
                save(base / "SegmentationClassAug" / f"{name}.png", mask)
    if style != "voc":
        del lists["trainval"]
        (base / "labelmap.txt").write_text(
            "# label:color_rgb:parts:actions\n"
            "background:0,0,0::\nroad:128,64,128::\nzebra crossing:250,250,55::\n"
        )
    folder = base / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True)
    for split, names in lists.items():
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def picture(rng: np.random.Generator, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A random image (H, W, 3) uint8 of blocks with some noise."""
    values = rng.integers(16, 240, (-(-size[0] // 8), -(-size[1] // 8), 3))
    large = np.kron(values, np.ones((8, 8, 1), int))[: size[0], : size[1]]
    return (large + rng.integers(-16, 16, (*size, 3))).astype("uint8")


def blocks(rng: np.random.Generator, count: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask (H, W) uint8 of 4x4 blocks 0..count-1, each of them there while there is room."""
    rows, columns = -(-size[0] // 4), -(-size[1] // 4)
    values = rng.permutation(np.resize(np.arange(count, dtype="uint8"), rows * columns))
    large = np.kron(values.reshape(rows, columns), np.ones((4, 4), "uint8"))
    return np.ascontiguousarray(large[: size[0], : size[1]])


def camvid_label(rng: np.random.Generator, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A CamVid label image (H, W, 3) uint8 in its 32 colours."""
    colors = np.array(label_spaces.grouping("camvid32").colors, "uint8")
    return colors[blocks(rng, len(colors), size)]


def voc_palette() -> np.ndarray:
    """Pascal VOC's colour map (256, 3) uint8: bit k of each channel is bit 3(7-k)+c of the id."""
    ids = np.arange(256)
    return np.stack(
        [sum(((ids >> (3 * k + c)) & 1) << (7 - k) for k in range(8)) for c in range(3)], -1
    ).astype("uint8")


def save(path: Path, array: np.ndarray) -> None:
    """Write a picture and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"compress_level": 1} if path.suffix == ".png" else {}
    Image.fromarray(array).save(path, **options)


def save_palette(path: Path, ids: np.ndarray, palette: np.ndarray) -> None:
    """Write ids as a palette PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids, "P")
    image.putpalette(palette.ravel().tolist())
    image.save(path)
