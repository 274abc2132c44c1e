"""The README's figures are those of the records."""

import re
from pathlib import Path

import pytest
from PIL import Image

from keras_focusseg import presets

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text("utf-8")


def test_the_table_has_every_shipped_preset_with_its_recorded_figures() -> None:
    rows = dict(re.findall(r"^\| `(\w+_\w+)` \|(.*)\|$", README, re.MULTILINE))
    shipped = [name for name in presets.names() if presets.record(name).weights is not None]
    assert sorted(rows) == shipped
    for name in shipped:
        cells = [cell.strip() for cell in rows[name].split("|")]
        if not presets.record(name).scores:
            assert cells[-3:] == ["nothing: it learned the frames of val too", "", ""]
            continue
        score = presets.record(name).scores[0]
        assert cells[-2:] == [
            f"{100 * score['mean_iou']:.1f}",
            f"{100 * score['boundary_f1']:.1f}",
        ]
        assert f"{score['dataset']} {score['split']}, {score['frames']} " in cells[1]
        for other in presets.record(name).scores[1:]:
            assert f"{100 * other['mean_iou']:.1f}" in README, (name, other["split"])


def test_every_shipped_preset_has_a_picture_on_its_card() -> None:
    """`python docs/make_pictures.py` draws them; without one the site does not build."""
    cards = {path.stem for path in (REPOSITORY / "docs" / "images" / "cards").glob("*.jpg")}
    assert cards == {n for n in presets.names() if presets.record(n).weights is not None}


def test_the_first_example_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    exec(compile(example.group(1), "README.md", "exec"), {})
    assert Image.open(tmp_path / "street_overlay.png").size == (480, 360)
