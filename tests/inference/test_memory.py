"""Pictures that do not fit into memory are refused, and what sizes compiled is given back."""

from pathlib import Path

import numpy as np
import pytest

from keras_focusseg import inference, segment
from keras_focusseg.inference import memory, procedure
from keras_focusseg.inference.procedure import Procedure
from keras_focusseg.models import predictors
from tests.testers import tiny_fornet


def test_a_picture_without_room_is_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_fornet()
    needed = memory.needed_memory(model, 2000, 3000)
    costs = inference.profile(model, (200, 300), runs=0)
    assert needed == pytest.approx(100 * costs.peak_activation_bytes, rel=0.05)
    monkeypatch.setattr(memory, "available_memory", lambda: needed - 1)
    picture = np.broadcast_to(np.uint8(7), (2000, 3000, 3))
    told = r"image_000: A picture of 2000x3000 .* needs at least .* GB are free.*--window 1024"
    with pytest.raises(ValueError, match=told):
        next(segment(model, [picture], window=None))
    whole, windows = Procedure(window=None), Procedure()
    assert whole.window_of(model, (1000, 1000)) is None  # small ones are not asked about
    assert windows.window_of(model, (2000, 3000)) == (1024, 1024)
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with pytest.raises(ValueError, match="in windows of 256x256, .* Take smaller windows"):
        windows.window_of(model, (2000, 3000))
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    for one in (whole, windows):  # not known: tried
        assert one.window_of(model, (2000, 3000)) is None


def test_a_picture_without_room_is_cut_into_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_fornet()
    monkeypatch.setattr(memory, "SMALL", 1000)
    monkeypatch.setattr(procedure, "AUTOMATIC", (64, 32))
    room = 2 * Procedure()._needed(model, (80, 90), (32, 32))
    monkeypatch.setattr(memory, "available_memory", lambda: room)
    picture = np.random.default_rng(0).integers(0, 256, (80, 90, 3)).astype("uint8")
    with pytest.warns(UserWarning, match=r"80x90 .* cut into windows of 32x32"):
        found = next(segment(model, picture))
    asked = next(segment(model, picture, window=32))
    assert found.window == asked.window == (32, 32)
    np.testing.assert_array_equal(found.labels, asked.labels)


def test_free_memory_is_that_of_the_machine_or_the_container(tmp_path: Path) -> None:
    assert memory.available_memory(tmp_path, tmp_path) is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    3 kB\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.available_memory(tmp_path, tmp_path) == 3 * 1024
    (tmp_path / "memory.max").write_text("2500\n")
    assert memory.available_memory(tmp_path, tmp_path) == 1500


def test_compiled_functions_of_few_sizes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The results stay the same before and after."""
    monkeypatch.setattr(predictors, "SIZES", 2)
    model = tiny_fornet()
    images = [np.full((1, 32, width, 3), 90, "uint8") for width in (32, 40, 48)]
    first = model.predict_on_batch(images[0])
    functions = [model.logits_model.predict_function]
    for image in images[1:]:
        model.predict(image, verbose=0)
        functions.append(model.logits_model.predict_function)
    assert functions[0] is functions[1] is not functions[2]
    np.testing.assert_array_equal(model.predict_on_batch(images[0]), first)
