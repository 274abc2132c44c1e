"""The README's figures are those of the records."""

import re
from pathlib import Path

from keras_focusseg import presets

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")


def test_the_table_has_every_shipped_preset_with_its_recorded_figures() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", README, re.MULTILINE))
    shipped = [name for name in presets.names() if presets.record(name).weights is not None]
    assert sorted(rows) == shipped
    for name in shipped:
        score = presets.record(name).scores[0]
        cells = [cell.strip() for cell in rows[name].split("|")]
        assert cells[-2:] == [
            f"{100 * score['mean_iou']:.1f}",
            f"{100 * score['boundary_f1']:.1f}",
        ]
        assert f"{score['dataset']} {score['split']}, {score['frames']} " in cells[1]
