"""A checkup finds each kind of damage, with file, value and advice, and stops at none of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.data import checkup
from keras_focusseg.data.checkup import Finding, Report
from tests.data.conftest import ArraySource, random_pair

FRAME = "0001TP_000060"
SPACE = label_spaces.get("camvid11")


def image_of(root: Path, frame: str = FRAME) -> Path:
    return root / "train" / f"{frame}.png"


def mask_of(root: Path, frame: str = FRAME) -> Path:
    return root / "trainannot" / f"{frame}.png"


def change(path: Path, how: Callable[[np.ndarray], np.ndarray]) -> None:
    Image.fromarray(how(np.array(Image.open(path)))).save(path)


def colored(mask: np.ndarray) -> np.ndarray:
    return SPACE.palette()[np.where(mask == 11, 255, mask)]


def exif(path: Path, orientation: int) -> None:
    tags = Image.Exif()
    tags[0x112] = orientation
    Image.open(path).save(path, "JPEG", exif=tags)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


def some_ids(mask: np.ndarray) -> np.ndarray:
    mask[0, :3] = (12, 12, 254)
    return mask


def outside(root: Path) -> None:
    target = root.parent / "elsewhere.png"
    mask_of(root).rename(target)
    mask_of(root).symlink_to(target)


def not_utf8(root: Path) -> None:
    path = os.fsencode(image_of(root))
    os.rename(path, path.replace(b".png", b"\xff.png"))


def copy_to_val(root: Path, quality: int | None = None) -> None:
    target = root / "val" / "0016E5_07959.png"
    if quality is None:
        Image.open(image_of(root)).save(target, compress_level=1)
    else:
        smooth = (
            Image.open(image_of(root)).resize((8, 6)).resize((32, 24), Image.Resampling.BICUBIC)
        )
        smooth.save(image_of(root))
        smooth.save(target, "JPEG", quality=quality)


def drop_line(root: Path) -> None:
    lines = (root / "train.txt").read_text().splitlines()
    (root / "train.txt").write_text("\n".join(line for line in lines if FRAME not in line))


def only(mask_value: int) -> Callable[[Path], None]:
    return lambda root: change(mask_of(root), lambda mask: np.full_like(mask, mask_value))


def in_all(folder: str, how: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for path in (root / folder).glob("*.png"):
            change(path, how)

    return damage


def palette_made_anew(root: Path) -> None:
    ids = np.array(Image.open(mask_of(root)))
    picture = Image.fromarray(((ids.astype(int) + 1) % 11).astype("uint8"), "P")
    ordered = np.roll(SPACE.palette()[:11], 1, axis=0)
    picture.putpalette(ordered.tobytes())
    picture.save(mask_of(root))


# name: damage, severity, kind, file, value, advice
DAMAGES: dict[str, tuple[Callable[[Path], object], str, str, str, str, str]] = {
    "truncated image": (
        lambda root: cut(image_of(root)),
        "error", "broken image", f"train/{FRAME}.png", "truncated", "Restore",
    ),
    "truncated mask": (
        lambda root: cut(mask_of(root)),
        "error", "broken mask", f"trainannot/{FRAME}.png", "truncated", "Restore",
    ),
    "empty file": (
        lambda root: mask_of(root).write_bytes(b""),
        "error", "empty file", f"trainannot/{FRAME}.png", "0 bytes", "Restore",
    ),
    "another size": (
        lambda root: change(mask_of(root), lambda mask: mask[::2, ::2]),
        "error", "mask of another size than its image", f"trainannot/{FRAME}.png",
        "16 x 12 but its image train/", "nearest neighbour",
    ),
    "ids outside": (
        lambda root: change(mask_of(root), some_ids),
        "error", "ids outside the table", f"trainannot/{FRAME}.png",
        "12 (2 of 768 pixels), 254 (1 of 768 pixels)", "Correct the mask",
    ),
    "colours": (
        lambda root: change(mask_of(root), colored),
        "error", "coloured mask where ids are expected", f"trainannot/{FRAME}.png",
        "mode 'RGB'", "Convert its colours to ids",
    ),
    "colours made grey": (
        lambda root: Image.fromarray(colored(np.array(Image.open(mask_of(root)))))
        .convert("L").save(mask_of(root)),
        "error", "coloured mask turned to grey", f"trainannot/{FRAME}.png",
        "grey values of the colours", "Restore the coloured masks",
    ),
    "a palette made anew": (
        palette_made_anew,
        "error", "palette whose colours contradict its ids", f"trainannot/{FRAME}.png",
        "has the colour", "by their colours",
    ),
    "16 bits, stretched": (
        lambda root: change(mask_of(root), lambda mask: mask.astype("uint16") * 257),
        "error", "ids outside the table", f"trainannot/{FRAME}.png",
        "id 514 (64 of 768", "Correct the mask",
    ),
    "16 bits": (
        lambda root: change(mask_of(root), lambda mask: mask.astype("uint16")),
        "note", "16-bit mask", f"trainannot/{FRAME}.png", "I;16", "8 bits would do",
    ),
    "JPEG mask": (
        lambda root: Image.open(mask_of(root)).save(mask_of(root), "JPEG"),
        "error", "mask with lossy compression", f"trainannot/{FRAME}.png", "JPEG", "as PNG",
    ),
    "transparency": (
        lambda root: change(image_of(root), lambda i: np.dstack([i, np.full_like(i[..., 0], 99)])),
        "error", "transparent image", f"train/{FRAME}.png", "alpha down to 99", "Flatten it",
    ),
    "opaque alpha": (
        lambda root: Image.open(image_of(root)).convert("RGBA").save(image_of(root)),
        "note", "image with an alpha channel", f"train/{FRAME}.png", "RGBA", "Nothing",
    ),
    "CMYK": (
        lambda root: Image.open(image_of(root)).convert("CMYK").save(image_of(root), "JPEG"),
        "warning", "CMYK image", f"train/{FRAME}.png", "CMYK", "Save it as RGB",
    ),
    "grey": (
        lambda root: Image.open(image_of(root)).convert("L").save(image_of(root)),
        "note", "grey image", f"train/{FRAME}.png", "mode 'L'", "Nothing",
    ),
    "lying on its side": (
        lambda root: exif(image_of(root), 6),
        "error", "mask that lies across its EXIF-rotated image", f"trainannot/{FRAME}.png",
        "32 x 24 but its image", "remove the tag",
    ),
    "upside down": (
        lambda root: exif(image_of(root), 3),
        "warning", "EXIF-rotated image", f"train/{FRAME}.png", "orientation 3", "Look whether",
    ),
    "case": (
        lambda root: image_of(root).rename(image_of(root, FRAME.lower())),
        "error", "file without partner", f"trainannot/{FRAME}.png",
        f"'train/{FRAME.lower()}.png' has nearly the same name", "same name",
    ),
    "suffix": (
        lambda root: mask_of(root).rename(mask_of(root, f"{FRAME}_L")),
        "error", "file without partner", f"train/{FRAME}.png",
        f"'trainannot/{FRAME}_L.png' has nearly the same name", "same name",
    ),
    "missing mask": (
        lambda root: mask_of(root).unlink(),
        "error", "file without partner", f"train/{FRAME}.png", "no partner", "Restore",
    ),
    "missing line of the list": (
        drop_line,
        "error", "file without partner", f"train/{FRAME}.png",
        f"not paired with 'trainannot/{FRAME}.png'", "list",
    ),
    "name that is no UTF-8": (
        not_utf8,
        "error", "file without partner", f"train/{FRAME}\\udcff.png",
        f"'trainannot/{FRAME}.png' has nearly", "same name",
    ),
    "link out of the root": (
        outside,
        "error", "link that leads out of the root", f"trainannot/{FRAME}.png",
        "elsewhere.png", "Copy the files",
    ),
    "missing folder": (
        lambda root: shutil.rmtree(root / "valannot"),
        "error", "split that cannot be opened", "val", "valannot: the mask folder is not there",
        "Restore",
    ),
    "copy in val": (
        copy_to_val,
        "error", "same picture in two splits", "val/0016E5_07959.png",
        f"the same picture as train/{FRAME}.png, with another mask", "Remove it from one",
    ),
    "compressed copy in val": (
        lambda root: copy_to_val(root, 95),
        "warning", "nearly the same picture in two splits", "val/0016E5_07959.png",
        f"the same picture as train/{FRAME}.png", "Look at the pairs",
    ),
    "copy in train": (
        lambda root: shutil.copy(image_of(root, "0001TP_000030"), image_of(root)),
        "warning", "same picture with different masks", f"train/{FRAME}.png",
        "the same picture as train/0001TP_000030.png", "Keep the pair",
    ),
    "mask of another": (
        lambda root: shutil.copy(mask_of(root, "0001TP_000030"), mask_of(root)),
        "warning", "same mask for different pictures", f"trainannot/{FRAME}.png",
        "trainannot/0001TP_000030.png", "restore it",
    ),
    "all ignored": (
        only(11),
        "warning", "mask that is ignored throughout", f"trainannot/{FRAME}.png",
        "'Unlabelled'", "Label it",
    ),
    "one class": (
        only(3),
        "warning", "mask of one class only", f"trainannot/{FRAME}.png",
        "the only class is 'Road'", "exported",
    ),
    "nothing labelled": (
        in_all("valannot", lambda mask: np.full_like(mask, 11)),
        "error", "split without a labelled pixel", "val", "all 1536 pixels", "label table",
    ),
    "black and white": (
        in_all("trainannot", lambda mask: np.where(mask > 4, 0, 11).astype("uint8")),
        "error", "split of one class only", "train", "the only class is 'Sky'", "255",
    ),
    "mostly ignored": (
        in_all("trainannot", lambda mask: np.where(mask > 7, mask, 11).astype("uint8")),
        "warning", "split that is mostly ignored", "train", "% of the pixels", "ignored ids",
    ),
    "a class that train lacks": (
        in_all("trainannot", lambda mask: np.where(mask == 8, 1, mask).astype("uint8")),
        "warning", "class that training never shows", "val", "'Car'", "training split",
    ),
    "several sizes": (
        lambda root: [change(path, lambda a: a[:20]) for path in (image_of(root), mask_of(root))],
        "note", "pictures of several sizes", "train", "2 sizes from 32 x 20 to 32 x 24", "crops",
    ),
}  # fmt: skip


def the(report: Report, kind: str) -> Finding:
    (found,) = [finding for finding in report.findings if finding.kind == kind]
    return found


def test_nothing_is_found_in_what_is_whole(camvid: Path) -> None:
    in_all("trainannot", lambda mask: np.roll(mask, 3))(camvid)
    report = checkup.check("camvid", camvid)
    assert report.findings == () and report.exit_code == 0
    assert report.verdict() == "Fit for training: nothing found."
    train, val = report.splits
    assert (train.split, train.samples, train.readable, val.samples) == ("train", 5, 5, 2)
    assert train.sizes == {(24, 32): 5}
    counts = data.class_counts(data.CamVid(camvid))
    assert train.pixels == tuple(counts[:, :-1].sum(0)) and train.ignored == counts[:, -1].sum()
    assert train.images == tuple((counts[:, :-1] > 0).sum(0))


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_found_with_file_value_and_advice(name: str, camvid: Path) -> None:
    damage, severity, kind, file, value, advice = DAMAGES[name]
    damage(camvid)
    report = checkup.check("camvid", camvid)
    found = the(report, kind)
    assert found.severity == severity
    case = next(example for example in found.examples if example.file == file)
    assert value in case.value and advice in found.fix
    assert report.exit_code == (severity == "error")
    # What was done to one sample is not told of another, and hides no other.
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert len(errors) <= 2 and sum(summary.samples for summary in report.splits) >= 2
    json.dumps(report.to_dict())


def test_every_sample_is_tried_and_like_cases_stand_together(camvid: Path) -> None:
    for frame in ("0001TP_000030", FRAME, "0006R0_f00930"):
        change(
            mask_of(camvid, frame),
            lambda mask: np.where(mask == mask[0, 0], 40, mask).astype("uint8"),
        )
    cut(image_of(camvid, "0016E5_00390"))
    mask_of(camvid, "0016E5_00390").write_bytes(b"")
    seen: list[tuple[int, int]] = []
    report = checkup.check("camvid", camvid, progress=lambda *step: seen.append(step))
    assert seen == [(done, 7) for done in range(1, 8)]
    assert the(report, "ids outside the table").count == 3
    # Both files of one sample are wrong, and both are told.
    assert the(report, "broken image").count == the(report, "empty file").count == 1
    assert [summary.readable for summary in report.splits] == [1, 2]
    assert report.findings[0].severity == "error" and report.verdict().startswith("Not fit")


def frames(first: int, count: int, step: int) -> dict[str, np.ndarray]:
    """A street that moves by a pixel every six frames."""
    rng = np.random.default_rng(0)
    street = Image.fromarray(rng.integers(0, 256, (6, 250, 3), "uint8"))
    wide = np.asarray(street.resize((5000, 24), Image.Resampling.BICUBIC))
    numbers = range(first, first + count * step, step)
    return {f"drive_{n:06}": wide[:, n // 6 : n // 6 + 64] for n in numbers}


def write_folder(root: Path, pictures: dict[str, np.ndarray], split: str) -> None:
    for number, (name, picture) in enumerate(pictures.items()):
        mask = random_pair(number + len(split), *picture.shape[:2])[1] % 3
        for folder, array in (("images", picture), ("masks", mask)):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / folder / split / f"{name}.png")


def test_frames_of_one_video_on_both_sides_of_a_split(tmp_path: Path) -> None:
    space = label_spaces.from_names(["a", "b", "c"])
    write_folder(tmp_path, frames(0, 40, 30), "train")
    write_folder(tmp_path, frames(1206, 6, 6), "val")
    report = checkup.check("folder", tmp_path, label_space=space)
    found = the(report, "frames of one video in two splits")
    assert found.severity == "warning" and found.split == "train, val" and report.exit_code == 0
    assert found.examples[0].samples == (("val", 0), ("train", 39))
    assert "36 frames from images/train/drive_001170.png" in found.examples[0].value
    assert "train usually steps by 30; 5 of val's 6 frames" in found.examples[0].value


def test_numbered_photographs_are_no_video(tmp_path: Path) -> None:
    space = label_spaces.from_names(["a", "b", "c"])
    for split, first in (("train", 0), ("val", 20)):
        pictures = {f"photo_{first + i:03}": random_pair(first + i)[0] for i in range(20)}
        write_folder(tmp_path, pictures, split)
    report = checkup.check("folder", tmp_path, label_space=space)
    assert report.findings == ()


def test_a_coloured_mask_among_ids_does_not_hide_the_others(tmp_path: Path) -> None:
    pictures = {f"photo {i}": random_pair(i)[0] for i in range(3)}
    write_folder(tmp_path, pictures, "train")
    mask = tmp_path / "masks" / "train" / "photo 0.png"
    change(mask, lambda ids: np.array([(9, 9, 200), (9, 200, 9), (200, 9, 9)], "uint8")[ids])
    space = label_spaces.from_names(["a", "b", "c"])
    for options in ({"label_space": space}, {}):
        report = checkup.check("folder", tmp_path, ["train"], **options)
        found = the(report, "coloured mask where ids are expected")
        assert found.examples[0].file == "masks/train/photo 0.png"
        assert report.splits[0].readable == 2


def test_ids_far_apart_without_a_table_may_be_levels_of_grey(tmp_path: Path) -> None:
    for split, first in (("train", 0), ("val", 40)):
        write_folder(tmp_path, frames(first, 2, 9), split)
        for path in (tmp_path / "masks" / split).iterdir():
            change(path, lambda mask: (np.indices(mask.shape).sum(0) % 11).astype("uint8"))
    kinds = [found.kind for found in checkup.check("folder", tmp_path).findings]
    assert "ids that may be levels of grey" not in kinds
    for path in (tmp_path / "masks").rglob("*.png"):
        gray = Image.fromarray(colored(np.array(Image.open(path)))).convert("L")
        gray.save(path)
    found = the(checkup.check("folder", tmp_path), "ids that may be levels of grey")
    assert found.severity == "warning" and found.split == "train, val"
    assert found.examples[0].value == "11 ids from 22 to 185: 22, 34, 38, 57, 71, 90, ..."
    assert "restore the coloured ones" in found.fix


def test_masks_from_one_file_are_told_by_their_images(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train").mkdir()
    square = [[2, 2, 9, 2, 9, 9, 2, 9]]
    content = {
        "categories": [{"id": 1, "name": "car"}],
        "images": [{"id": i, "file_name": f"{i}.png", "height": 16, "width": 20} for i in (0, 1)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "segmentation": square}
            for i in (0, 1)
        ],
    }
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(content))
    for i in (0, 1):
        picture = np.random.default_rng(i).integers(0, 256, (16, 20, 3), "uint8")
        Image.fromarray(picture).save(tmp_path / "train" / f"{i}.png")
    report = checkup.check("coco", tmp_path, ["train"])
    (found,) = (one for one in report.findings if one.kind == "same mask for different pictures")
    assert found.examples[0].file == "train/1.png"
    assert "train/0.png" in found.examples[0].value


def test_masks_none_of_which_can_be_read_are_told_what_is_wrong(tmp_path: Path) -> None:
    """Not to run the checkup, which says so itself."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), "uint8")
    for name, pixels in zip("ab", noise, strict=True):
        for folder, kind in (("images", "png"), ("masks", "jpg")):
            path = tmp_path / folder / "train" / f"{name}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    found = the(checkup.check("folder", tmp_path, ["train"]), "split that cannot be opened")
    assert "the first, a.jpg: the mask is a JPEG" in found.examples[0].value
    assert "Save the mask as PNG" in found.fix and "data check" not in found.fix
    for path in (tmp_path / "masks" / "train").iterdir():
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    found = the(checkup.check("folder", tmp_path, ["train"]), "split that cannot be opened")
    assert "images and masks are swapped" in found.fix


def test_splits_and_options_that_are_wrong(camvid: Path, tmp_path: Path) -> None:
    report = checkup.check("camvid", camvid, ["train", "test"])
    found = the(report, "split that cannot be opened")
    assert found.split == "test" and found.severity == "error" and len(report.splits) == 1
    assert [part.split for part in checkup.check("camvid", camvid, "train").splits] == ["train"]
    with pytest.raises(data.DataError, match="There is no source 'nope'"):
        checkup.check("nope", camvid)
    with pytest.raises(data.DataError, match="the root folder is not there"):
        checkup.check("camvid", tmp_path / "nothing")
    with pytest.raises(data.DataError, match="has no such option"):
        checkup.check("camvid", camvid, color="red")
    shutil.rmtree(camvid / "trainannot")
    report = checkup.check("camvid", camvid)
    assert the(report, "split that cannot be opened").split == "train" and report.exit_code == 1


def test_a_class_table_that_lists_nothing_is_named_once(tmp_path: Path) -> None:
    write_folder(tmp_path, frames(0, 1, 1), "train")
    (tmp_path / "classes.txt").touch()
    found = the(checkup.check("folder", tmp_path, "train"), "split that cannot be opened")
    assert found.examples[0].value == "classes.txt: lists no class. Write one name a line"


def test_streets_need_no_root_and_mind_none(tmp_path: Path) -> None:
    for root in (None, tmp_path):
        options = {"count": 2, "size": (64, 80)}
        report = checkup.check("synthetic_streets", root, ["train"], **options)
        assert report.splits[0].readable == 2
    with pytest.raises(data.DataError, match="has no such option"):
        checkup.check("synthetic_streets", color="red")


def test_sources_of_ones_own_are_checked_too(source: ArraySource) -> None:
    def make(index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = random_pair(index)
        if index == 2:
            raise KeyError("a bug")
        if index == 3:
            mask = mask[:5]
        return image, np.where(mask == 11, 255, mask).astype("uint8")

    report = checkup.check_sources([ArraySource(5, make)])
    assert report.exit_code == 1 and report.splits[0].readable == 3
    found = the(report, "sample that cannot be read")
    assert [example.samples for example in found.examples][0] == (("train", 2),)
    assert "KeyError: 'a bug'" in found.examples[0].value
    other = the(report, "sample that is not what a source promises")
    assert "the mask is uint8 (5, 32)" in other.examples[0].value
    with pytest.raises(ValueError, match="a split of its own"):
        checkup.check_sources([source, source])
    other = ArraySource(7, lambda index: (random_pair(index + 50)[0], random_pair(index)[1] % 2))
    other.split, other.label_space = "val", label_spaces.from_names(["x", "y"])
    assert the(checkup.check_sources([source, other]), "splits with different classes")


@pytest.mark.shared
def test_real_camvid_is_fit_but_for_its_neighbouring_frames(shared_dir: Path) -> None:
    report = checkup.check("auto", shared_dir / "data" / "camvid")
    assert [finding.kind for finding in report.findings] == ["frames of one video in two splits"]
    assert report.exit_code == 0 and [s.readable for s in report.splits] == [367, 101]
