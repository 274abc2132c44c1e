"""Presets on the Hugging Face Hub: pushed, fetched, refused. A local server stands in for it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_focusseg import label_spaces, models, presets
from keras_focusseg.presets import hub
from keras_focusseg.presets.retired import RETIRED
from keras_focusseg.presets.sharing import model_card
from tests.presets.hub_stand_in import Hub
from tests.testers import randomize_weights, tiny_fornet

constants = pytest.importorskip("huggingface_hub.constants")

ADDRESS = "hf://somebody/mine"
SCORE = {"dataset": "camvid", "split": "val", "resolution": "360x480", "mean_iou": 0.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_fornet()
    randomize_weights(model, seed=3)
    folder = tmp_path_factory.mktemp("preset") / "mine"
    presets.save(
        model,
        folder,
        name="mine",
        label_space=label_spaces.from_names(["road", "sky", "car"]),
        scores=(SCORE,),
        license={"weights": "for research: 'quoted'\nand on two lines"},
    )
    return folder


def use_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """What HF_ENDPOINT and HF_HUB_CACHE set, which are read when huggingface_hub is imported."""
    server = Hub()
    use_endpoint(server.url, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.close()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def content(folder: Path, **changes: Any) -> dict[str, bytes]:
    """The files of a preset, with other values in its record's weights."""
    record = json.loads((folder / "preset.json").read_text())
    record["weights"].update(changes)
    weights = (folder / "mine.safetensors").read_bytes()
    return {"preset.json": json.dumps(record).encode(), "mine.safetensors": weights}


def test_pushed_and_loaded_again(server: Hub, folder: Path, offline: Any) -> None:
    pinned = presets.push(folder, ADDRESS)
    (commit, files), *others = server.repositories["somebody/mine"]
    assert pinned == f"{ADDRESS}@{commit}" and not others
    assert set(files) == {"preset.json", "mine.safetensors", "README.md"}
    assert str(presets.record(pinned)) == str(presets.record(folder))

    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 48, 3)).astype("float32")
    expected = presets.load(folder).predict(image, verbose=0)
    model = models.FoRNet.from_preset(ADDRESS)
    np.testing.assert_array_equal(model.predict(image, verbose=0), expected)
    assert model.label_space.classes == ("road", "sky", "car")

    # A commit never changes: what the cache has of it is not asked for again.
    server.asked.clear()
    presets.load(pinned)
    assert server.asked == []
    offline()
    presets.load(ADDRESS)
    assert server.asked == []
    with pytest.raises(ConnectionError, match="not in the cache .* HF_HUB_OFFLINE forbids"):
        presets.load("hf://somebody/else")


def test_record_and_weights_are_of_one_commit(server: Hub, folder: Path) -> None:
    """Also where somebody pushes between the two requests."""
    first = server.add("somebody/mine", content(folder))
    record = hub.fetch_record(ADDRESS)
    server.add("somebody/mine", {"mine.safetensors": b"another"})
    size = (folder / "mine.safetensors").stat().st_size
    weights = hub.fetch_weights(ADDRESS, record.parent.name, "mine.safetensors", size)
    assert record.parent == weights.parent and record.parent.name == first


def test_a_revision_is_pinned(server: Hub, folder: Path) -> None:
    first = server.add("somebody/mine", content(folder))
    server.add("somebody/mine", {"preset.json": b"{}"})
    with pytest.raises(ValueError, match="is not a preset record"):
        presets.record(ADDRESS)
    assert presets.record(f"{ADDRESS}@{first}").name == "mine"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://nobody/mine", "There is no repository nobody/mine on the Hub at http"),
        (f"{ADDRESS}@v9", "hf://somebody/mine has no revision 'v9'"),
        ("hf://somebody/empty", "is not a preset of this library: it has no file preset.json"),
        ("hf://somebody/large", "preset.json has 1048577 bytes; at most 1048576 are fetched"),
        ("hf://somebody/altered", "is not the file of 'mine': its SHA-256 is"),
        ("hf://somebody/longer", "has .* bytes; at most .* are fetched"),
        ("hf://somebody/shorter", "bytes, the record says"),
        ("hf://somebody/huge", "more than 2147483648 are not fetched"),
        ("hf://somebody/half", "is not whole: it has no file mine.safetensors"),
        ("hf://somebody/pickled", "'weights.file' is 'mine.bin'; expected a name"),
        ("hf://somebody/upward", "'weights.file' is '../mine.safetensors'; expected a name"),
        ("hf://somebody", "is no address of a preset: expected hf://owner/name"),
        ("hf://a/../b", "is no address of a preset"),
        ("hf://a/b@../../c", "is no address of a preset"),
        ("hf://a/b/mine.safetensors", "is no address of a preset"),
    ],
)
def test_what_is_refused(address: str, message: str, server: Hub, folder: Path) -> None:
    weights = (folder / "mine.safetensors").read_bytes()
    for name, files in {
        "mine": content(folder),
        "empty": {"model.bin": b"x"},
        "large": {"preset.json": b" " * (hub.LARGEST_RECORD + 1)},
        "altered": {**content(folder), "mine.safetensors": weights[:-1] + b"x"},
        "longer": {**content(folder), "mine.safetensors": weights + b"x"},
        "shorter": {**content(folder), "mine.safetensors": weights[:-1]},
        "huge": content(folder, bytes=1 << 40),
        "half": {"preset.json": content(folder)["preset.json"]},
        "pickled": {**content(folder, file="mine.bin"), "mine.bin": b"x"},
        "upward": content(folder, file="../mine.safetensors"),
    }.items():
        server.add(f"somebody/{name}", files)
    with pytest.raises(ValueError, match=message):
        presets.load(address)
    assert not any("GET" in asked and ".bin" in asked for asked in server.asked)


def test_without_network_or_package(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(ConnectionError, match="preset.json could not be fetched from http"):
        presets.record(ADDRESS)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        presets.record(ADDRESS)


def test_links_that_lead_out_of_the_cache(server: Hub, folder: Path, tmp_path: Path) -> None:
    pinned = f"{ADDRESS}@{server.add('somebody/mine', content(folder))}"
    record = hub.fetch_record(pinned)
    shutil.copy(record, tmp_path / "elsewhere.json")
    record.unlink()
    record.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ValueError, match="is a link that leads out of the cache"):
        presets.load(pinned)


def test_weights_that_lie_elsewhere(server: Hub, folder: Path, tmp_path: Path) -> None:
    """A record may name them by a pinned address, where they are too large to go with it."""
    commit = server.add("somebody/mine", content(folder))
    files = content(folder, address=f"{ADDRESS}@{commit}")
    (tmp_path / "preset.json").write_bytes(files["preset.json"])
    assert isinstance(presets.load(tmp_path), models.FoRNet)
    assert f"at {ADDRESS}@{commit}" in str(presets.record(tmp_path))
    (tmp_path / "preset.json").write_bytes(content(folder, address=ADDRESS)["preset.json"])
    with pytest.raises(ValueError, match="'weights.address' is .*; expected hf://owner/name@rev"):
        presets.load(tmp_path)


def test_what_is_not_pushed(server: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="name no revision"):
        presets.push(folder, f"{ADDRESS}@main")
    with pytest.raises(ValueError, match="'fornet_resnet101_cityscapes' has no weights to upload"):
        presets.push("fornet_resnet101_cityscapes", ADDRESS)
    with pytest.raises(ValueError, match="hf://a/b lies on the Hub already"):
        presets.push("hf://a/b", ADDRESS)
    with pytest.raises(ValueError, match="hf://some--body/mine is no address of the Hub"):
        presets.push(folder, "hf://some--body/mine")
    use_endpoint("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(ConnectionError, match="could not be uploaded to http"):
        presets.push(folder, ADDRESS)


def test_the_model_card(folder: Path) -> None:
    """Its front matter is YAML whose values are JSON, so that no text of a record can break it."""
    _, front, body = model_card(presets.record(folder), ADDRESS).split("---\n", 2)
    values = {
        key: json.loads(value)
        for key, value in (line.split(": ", 1) for line in front.splitlines())
    }
    assert values["license"] == "other" and "FoRNet" in values["tags"]
    assert values["datasets"] == ["camvid"] and values["metrics"] == ["mean_iou"]
    result = values["model-index"][0]["results"][0]
    assert result["metrics"][0]["value"] == 0.5 and result["dataset"]["split"] == "val"
    assert f'presets.load("{ADDRESS}")' in body and "- mIoU 50.0 on camvid" in body
    assert "- weights: for research: 'quoted' and on two lines\n" in body
    bare = dataclasses.replace(presets.record(folder), scores=())
    assert "model-index" not in model_card(bare, ADDRESS)


def test_retired_names_say_what_took_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (successor, _) in RETIRED.items():
        assert name not in presets.names() and successor in presets.names()
    monkeypatch.setitem(RETIRED, "fornet_old", ("fornet_new", "0.2.0"))
    with pytest.raises(
        ValueError, match="'fornet_old' is not shipped since version 0.2.0: 'fornet"
    ):
        presets.load("fornet_old")
