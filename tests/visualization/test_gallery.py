"""The gallery: no more pictures than are looked at, those shown explained."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from keras_focusseg import data
from keras_focusseg.models.sernet_former import GATES, PANELS
from keras_focusseg.visualization import gallery


def test_six_pictures_a_network_and_scene(tmp_path: Path) -> None:
    signals = {"logits": np.zeros((1, 64, 96, 11), "float32")}
    for n in GATES:
        signals |= dict.fromkeys((f"gate{n}", f"boost{n}"), np.full((1, 4, 6, 2), 0.5, "float32"))
    model = SimpleNamespace(panels=PANELS, inspect=lambda images: signals)
    scores = SimpleNamespace(mean_iou=0.5, boundary={"boundary_f1": 0.5}, seconds_per_image=0.1)
    source = data.SyntheticStreets(2, size=(64, 96))
    columns = [gallery.Column("one", model, scores), gallery.Column("two/three", model, scores)]
    page = gallery.write(tmp_path / "gallery", source, columns).read_text()
    pictures = re.findall(r'src="([^"]+)"', page)
    assert len(set(pictures)) == len(pictures) == 1 + 2 * (2 + 2 * 6)  # legend; scenes
    assert all((tmp_path / "gallery" / picture).is_file() for picture in pictures)
    titles = re.findall(r"<figcaption>(gate \d|added by gate \d)", page)
    assert titles[:4] == ["gate 1", "added by gate 2", "gate 4", "added by gate 5"]
    assert "<b>Gates</b>" in page and "<b>two/three" not in page
