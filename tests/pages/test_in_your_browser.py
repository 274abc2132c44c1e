"""The page that segments a visitor's picture says what Keras says, and asks no other host."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, export, files, presets
from tests.pages.conftest import CHROMIUM, SITE, watched

HERE = SITE / "in-your-browser"
NETWORK = HERE / "network.onnx"
FOUND = """() => {
    const {labels, importance, width, height} = document.getElementById("in-browser").segmented;
    return {labels: [...labels], importance: [...importance.data], width, height,
            cells: [importance.height, importance.width]};
}"""
DROP = """([name, bytes]) => {
    const given = new DataTransfer();
    given.items.add(new File([new Uint8Array(bytes)], name));
    const drop = new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true});
    document.querySelector(".in-browser-drop").dispatchEvent(drop);
}"""
HELD = """() => {
    const [decode, fetch] = [window.createImageBitmap, window.fetch];
    window.bitmaps = [];
    window.createImageBitmap = async (file) => {
        const bitmap = await decode(file);
        window.bitmaps.push(bitmap);
        if (file.name === "late.png") await new Promise((go) => (window.late = go));
        return bitmap;
    };
    window.fetch = (...what) => {
        window.fetch = fetch;
        return new Promise((_, fail) => (window.cut = () => fail(new Error("cut off"))));
    };
}"""
DONE = "document.querySelector('[role=status]').textContent.includes(' ms, on one thread')"

pytestmark = [
    pytest.mark.backend_free,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the path"),
    pytest.mark.skipif(
        not NETWORK.exists(),
        reason="there is no built site with a runtime for the browser: make docs says why",
    ),
]


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    faults = watched(page, address)
    page.goto(f"{address}/in-your-browser/index.html")
    yield page
    page.close()
    assert not faults, "\n".join(faults)


def found(page: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) and importance (h, w) that the page has computed."""
    page.wait_for_function(DONE, timeout=120_000)
    told = page.evaluate(FOUND)
    labels = np.array(told["labels"], "uint8").reshape(told["height"], told["width"])
    return labels, np.array(told["importance"], "float32").reshape(told["cells"])


def test_a_drawn_street_is_segmented_as_in_keras(page: Any) -> None:
    sample = page.locator("[data-sample='street-1.png']")
    sample.focus()
    page.keyboard.press("Enter")
    labels, importance = found(page)
    model = presets.load(files.read_json(export.facts_path(NETWORK))["preset"], dtype="float32")
    image = np.asarray(Image.open(HERE / "street-1.png"))
    seen = model.inspect(image[None])
    wanted = seen["logits"][0].argmax(-1)
    assert (labels == wanted).mean() >= 0.995
    np.testing.assert_allclose(importance, seen["importance"][0, ..., 0], atol=0.02)

    shares = page.locator("[data-part=legend] tr").all_inner_texts()
    name, share = shares[0].split("\t")
    most = np.bincount(wanted.ravel(), minlength=model.num_classes)
    assert name == model.label_space.classes[most.argmax()]
    assert float(share.removesuffix(" %")) == pytest.approx(100 * most.max() / most.sum(), abs=0.5)
    page.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    row, column = labels.shape[0] // 2, labels.shape[1] // 2 + 4
    under = model.label_space.classes[labels[row, column]]
    point = page.locator("[data-part=point]").inner_text()
    assert point.startswith(f"{under}, importance ") and point.endswith(f"at {column}, {row}")


def test_a_dropped_file_of_another_size_is_segmented_as_by_onnx_runtime(page: Any) -> None:
    image = data.SyntheticStreets(1, size=(181, 262), seed=5).load(0).image
    Image.fromarray(image).save(content := io.BytesIO(), "PNG")
    page.evaluate(DROP, ["mine.png", list(content.getvalue())])
    labels, importance = found(page)
    file = export.open_exported(NETWORK)
    assert (labels == file(image[None])[0]).mean() >= 0.995
    np.testing.assert_allclose(
        importance, file.signals(image[None])["importance"][0, ..., 0], atol=0.02
    )


def test_large_pictures_are_made_smaller_and_bad_ones_refused(page: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    Image.new("RGB", (40, 300)).save(tmp_path / "narrow.png")
    Image.new("RGB", (1200, 900)).save(tmp_path / "large.png")
    status = page.locator("[data-part=status]")
    for name, words in [("notes.txt", "is no picture"), ("narrow.png", "too narrow: 40x300")]:
        page.set_input_files("[data-part=file]", tmp_path / name)
        status.filter(has_text=words).wait_for(timeout=20_000)
        assert page.locator("[data-part=result]").is_hidden()
    page.set_input_files("[data-part=file]", tmp_path / "large.png")
    assert found(page)[0].shape == (360, 480)


def test_what_comes_late_changes_nothing(page: Any) -> None:
    """Neither a load that fails nor a picture that is decoded after another one was dropped."""
    content = io.BytesIO()
    Image.fromarray(data.SyntheticStreets(1, size=(64, 80)).load(0).image).save(content, "PNG")
    street, status = list(content.getvalue()), page.locator("[data-part=status]")
    page.evaluate(HELD)
    page.evaluate(DROP, ["first.png", street])
    status.filter(has_text="Loading").wait_for(timeout=20_000)
    page.evaluate(DROP, ["notes.txt", [1, 2, 3]])
    status.filter(has_text="is no picture").wait_for(timeout=20_000)
    page.evaluate("window.cut()")
    page.evaluate(DROP, ["late.png", street])
    page.wait_for_function("Boolean(window.late)", timeout=20_000)
    page.evaluate(DROP, ["soon.png", street])
    found(page)
    page.evaluate("window.late()")
    page.wait_for_function("window.bitmaps.every((bitmap) => bitmap.width === 0)", timeout=20_000)
    assert status.inner_text().startswith("soon.png: ")
