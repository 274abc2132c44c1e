"""Every block of Python in the package's docstrings runs as it stands there.

Each block runs in a folder of its own, with stand-ins for the files and the names that it takes for
granted: trees true to the layouts, drawn streets, tiny networks. Where it states a result behind or
below a line, as a literal in a comment, the result is compared. The examples that are written with
`>>>` run in the suite, as doctests.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from keras_focusseg import (
    data,
    export,
    files,
    inference,
    label_spaces,
    losses,
    models,
    optimizers,
    presets,
    streets,
    training,
)
from tests.data import layouts
from tests.models import tiny
from tests.training.small import Small

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "keras_focusseg"
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
SIZE = (96, 128)

pytestmark = pytest.mark.backend_free

NOT_RUN = {
    "data/records/tfds_builders/benchmarks.py:FocussegAde20k": "prepares in the home folder",
    "data/records/tfds_builders/cityscapes.py:TFDSCityscapes": "needs TFDS' own Cityscapes",
    "data/records/tfds_builders/examples.py:image_and_mask": "needs TFDS' own Cityscapes",
    "export/exporting.py:export": "takes long; tools/in_browser.py does it",
    "inference/shards.py:segment_shards": "needs a Ray cluster",
    "inference/video.py:segment_video": "needs a video and its codec",
    "models/fornet_torch.py:load_torch_weights": "needs a checkpoint that is not public",
    "presets/sharing.py:push": "needs an account at a hub",
    "remote.py:local": "needs a bucket",
    "training/dry_run.py:dry_run": "takes long; tests/training/test_dry_run.py does it",
    "training/fit.py:train": "trains two whole epochs, from weights that are downloaded",
}
NEEDS = {
    "data/records/read.py:Records": "tensorflow_datasets",
    "data/records/tfds_builders/prepare.py:prepare": "tensorflow_datasets",
    "export/runtimes.py:open_exported": "tf2onnx",
}


def examples() -> Iterator[tuple[str, tuple[str, str]]]:
    """Where each block stands, its module and its text; a docstring's second has ":2" behind it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for name, doc in docstrings(ast.parse(path.read_text("utf-8"))):
            for number, (_, code) in enumerate(BLOCK.findall(doc), 1):
                where = f"{path.relative_to(PACKAGE).as_posix()}:{name}"
                where += f":{number}" if number > 1 else ""
                yield where, (module.removesuffix(".__init__"), textwrap.dedent(code))


def docstrings(node: ast.AST, name: str = "") -> Iterator[tuple[str, str]]:
    """Dotted name and docstring of a module and all that is defined in it."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        yield name, ast.get_docstring(node) or ""
    for child in ast.iter_child_nodes(node):
        known = isinstance(child, ast.ClassDef | ast.FunctionDef)
        yield from docstrings(child, f"{name}.{child.name}".lstrip(".") if known else name)


EXAMPLES = dict(examples())


def street(number: int = 0) -> np.ndarray:
    return streets.render_scene(np.random.default_rng(number), SIZE)[0]


def small() -> models.Segmenter:
    return of_camvid(Small(num_classes=11))


def fornet() -> models.FoRNet:
    return of_camvid(tiny.network(11))


def scrnet() -> models.SCRNet:
    return of_camvid(models.SCRNet(11, backbone=tiny.backbone(strides=(4, 2, 2, 2)), filters=8))


def of_camvid(model: Any) -> Any:
    """The network, with CamVid's classes and compiled."""
    model.label_space = label_spaces.get("camvid11")
    model.compile()
    return model


def batches() -> Any:
    """One batch of two."""
    source = data.SyntheticStreets(2, size=SIZE)
    return data.batches(source, 2, data.Augment((64, 96)), shuffle=True)


# What blocks take for granted, made for those that name it.
STAND_INS: dict[str, Callable[[], Any]] = {
    "image": street,
    "images": lambda: street()[None],
    "model": small,
    "names": lambda: ["fornet_mobilenet_v2_camvid", "scrnet_mobilenet_v2_camvid"],
    "network": fornet,
    "recipe": lambda: training.Recipe("mine", "FoRNet", "synthetic_streets"),
    "source": lambda: data.SyntheticStreets(2, size=SIZE),
    "train": batches,
    "val": batches,
}
NAMES = {module.__name__.split(".")[-1]: module for module in (
    data, files, inference, keras, label_spaces, losses, models, optimizers, presets, training,
)} | {"Image": Image, "Path": Path, "np": np}  # fmt: skip


def moved(path: str, place: str) -> dict[str, Any]:
    """In the working folder, a file or tree takes the place of another."""
    os.replace(path, place)
    return {}


def exported() -> dict[str, Any]:
    export.export(small(), "street.onnx", "onnx", SIZE)
    return {}


def prepared() -> dict[str, Any]:
    from keras_focusseg.data.records import tfds_builders

    tfds_builders.prepare([data.CamVid("camvid", "train")], "prepared")
    return {}


# What one block alone needs: files in the working folder, or names.
OWN: dict[str, Callable[[], dict[str, Any]]] = {
    "data/feeds/batches.py:batches": lambda: {"source": data.SyntheticStreets(8, size=SIZE)},
    "models/passing.py:looked_at": lambda: {"batches": batches()},
    "data/records/read.py:Records": prepared,
    "data/sources/camvid.py:CamVid720": lambda: moved("camvid_original", "CamVid"),
    "data/sources/camvid.py:CamVidCopy": lambda: moved("camvid_kaggle", "CamVid"),
    "pictures/contents.py:discover_colors": lambda: moved("colored", "masks"),
    "data/sources/polygons/labelme.py:Labelme": lambda: moved("labelme", "my_data"),
    "export/runtimes.py:open_exported": exported,
    "label_spaces/class_tables.py:read_class_table": lambda: moved("table.csv", "class_dict.csv"),
    "models/fornet.py:FoRNet.sparse_inference": lambda: {"model": fornet()},
    "models/segmenter.py:Segmenter.inspect": lambda: {"model": fornet()},
    "visualization/flow.py:flow_arrows": lambda: {"model": scrnet()},
    "visualization/flow.py:flow_colors": lambda: {"model": scrnet()},
    "visualization/signals.py:signal_pictures": lambda: {"model": fornet()},
}


@pytest.fixture(autouse=True)
def eager(request: pytest.FixtureRequest) -> Iterator[None]:
    """TensorFlow traces no graph, which takes longer than the few steps; files need graphs."""
    if keras.backend.backend() != "tensorflow" or "export/" in request.node.name:
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files that blocks name."""
    root = tmp_path_factory.mktemp("shelf")
    (root / "recipes").symlink_to(REPOSITORY / "recipes")
    layouts.make_camvid_segnet(root / "camvid", {"train": 64, "val": 2, "test": 2})
    layouts.make_camvid_segnet(root / "CamVid")
    layouts.make_camvid_original(root / "camvid_original", ["train"], size=(8, 8))
    layouts.make_camvid_kaggle(
        root / "kaggle", {"train": 369, "val": 100, "test": 232}, size=(8, 8)
    )
    (root / "kaggle" / "CamVid").rename(root / "camvid_kaggle")
    layouts.make_cityscapes(root / "cityscapes")
    for make in (layouts.make_bdd100k, layouts.make_ade20k, layouts.make_pascal_voc):
        make(root)
    make_own_folders(root)
    make_polygons(root)
    for number, path in enumerate(("street.jpg", "holiday/beach.jpg", "holiday/town.jpg")):
        layouts.save(root / path, street(number))
    for name in ("mine/best", "seed0/best", "seed1/best", "seed2/best"):
        space = label_spaces.get("camvid11")
        presets.save(small(), root / "runs" / name, name="tiny", label_space=space)
        (root / "runs" / name).with_name("recipe.json").write_text("{}")
    return root


def make_own_folders(root: Path) -> None:
    """People's own data: `images` and `masks`, and `my_data` with a table of its classes."""
    rng = np.random.default_rng(0)
    space = label_spaces.get("camvid11")
    for number in range(2):
        layouts.save(root / f"images/{number}.jpg", layouts.picture(rng))
        layouts.save(root / f"masks/{number}.png", layouts.blocks(rng, 2))
        for split in ("train", "val"):
            colors = space.palette()[layouts.blocks(rng, 11)]
            layouts.save(root / f"my_data/{split}/images/{number}.jpg", layouts.picture(rng))
            layouts.save(root / f"my_data/{split}/masks/{number}.png", colors)
        layouts.save(root / f"colored/{number}.png", colors)
    for path in (root / "my_data/class_dict.csv", root / "table.csv"):
        label_spaces.write_class_dict(path, space)


def make_polygons(root: Path) -> None:
    """One picture with one car, as COCO and as Labelme have it."""
    size = dict(zip(("height", "width"), layouts.SIZE, strict=True))
    corners = [[1, 1], [9, 1], [9, 7]]
    car = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0}
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", **size}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{**car, "segmentation": [np.ravel(corners).tolist()]}],
    }
    shape = {"label": "car", "points": corners, "shape_type": "polygon"}
    labelme = {"imagePath": "a.jpg", "imageData": None, "shapes": [shape]}
    for image, table, content in (
        ("coco/val2017/a.jpg", "coco/annotations/instances_val2017.json", coco),
        ("labelme/a.jpg", "labelme/a.json", labelme),
    ):
        layouts.save(root / image, layouts.picture(np.random.default_rng(0)))
        (root / table).parent.mkdir(exist_ok=True)
        (root / table).write_text(json.dumps(content))
    (root / "labelme/labels.txt").write_text("car\n")


def stated(code: str, statement: ast.stmt) -> list[Any]:
    """The result that a comment behind a statement, or below it, states as a literal, if any."""
    lines = code.splitlines()
    behind = lines[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode().strip()
    below = lines[statement.end_lineno].strip() if statement.end_lineno < len(lines) else ""
    comment = behind or below
    try:
        return [ast.literal_eval(comment[1:].strip())] if comment.startswith("#") else []
    except (ValueError, SyntaxError):
        return []


def run(code: str, names: dict[str, Any]) -> None:
    """Runs a block and compares the results that it states; one epoch stands for many."""
    for statement in ast.parse(code).body:
        source = ast.get_source_segment(code, statement) or ""
        is_value = isinstance(statement, ast.Expr)
        source = re.sub(r"\bepochs=\d+", "epochs=1", f"_ = {source}" if is_value else source)
        exec(source, names)
        result = names.get("_" if is_value else ast.unparse(statement).split(" = ")[0])
        for value in stated(code, statement):
            assert without_numbers(result) == without_numbers(value), source


def without_numbers(value: Any) -> Any:
    """A text with each number as 0: stand-ins are smaller than what the examples tell of."""
    return re.sub(r"\d+", "0", value) if isinstance(value, str) else value


def test_tables_name_examples() -> None:
    assert {*NOT_RUN, *NEEDS, *OWN} <= EXAMPLES.keys()


@pytest.mark.parametrize("where", EXAMPLES)
def test_example(where: str, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, code = EXAMPLES[where]
    if reason := NOT_RUN.get(where):
        pytest.skip(reason)
    if package := NEEDS.get(where):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    for path in shelf.iterdir():
        Path(path.name).symlink_to(path)
    names = NAMES | vars(importlib.import_module(module)) | OWN.get(where, dict)()
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    names |= {name: STAND_INS[name]() for name in sorted(used & STAND_INS.keys() - names.keys())}
    run(code, names)
