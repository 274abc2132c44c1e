"""What `inspect` gave, as pictures, for each network."""

import numpy as np
import pytest

from keras_focusseg import data, models, visualization
from keras_focusseg.visualization import gallery
from tests.models import tiny
from tests.testers import tiny_fornet

IMAGE = tiny.images(50, 70, batch=1)[0].astype("uint8")


def pictures(model: models.Segmenter) -> dict:
    found = visualization.signal_pictures(IMAGE, model.inspect(IMAGE[None]))
    assert all(picture.size == (70, 50) for picture in found.values())
    return {caption.split(":")[0]: np.asarray(picture) for caption, picture in found.items()}


def test_fornet() -> None:
    assert set(pictures(tiny_fornet())) == {"importance", "regions"}


def test_scrnet_draws_its_offsets_where_they_are() -> None:
    """The picture's size is no multiple of 32: what was padded is not shown."""
    model = models.SCRNet(
        3, tiny.backbone(8, (4, 2, 2, 2)), filters=8, context_filters=8, embedding_filters=4
    )
    srm = model.get_layer("srm_p2")
    srm.offset.bias.assign([1.5, 0.0])
    found = pictures(model)
    assert {"offsets p2", "offsets p3", "offsets p4", "mask p2", "saliency"} <= set(found)
    assert any(caption.startswith("offsets p2 as arrows") for caption in found)
    assert any(caption.startswith("position attention") for caption in found)
    assert any(caption.startswith("channel attention, 8 x 8") for caption in found)
    assert (found["offsets p2"] == (255, 0, 0)).all()  # to the right, at full length
    assert (found["offsets p4"] == 255).all()
    assert model.inspect(IMAGE[None])["offsets_p2"].shape == (1, 13, 18, 2)


def test_sernet_former_draws_its_gates() -> None:
    model = models.SERNetFormer(
        3, "mobilenet_v2", bridge_filters=8, skip_filters=8, decoder_filters=8
    )
    found = pictures(model)
    assert set(found) == {f"{kind} {n}" for kind in ("gate", "boost") for n in range(1, 6)}


@pytest.mark.parametrize("missing", ["masks", "unary_attention"])
def test_absent_signals_are_left_out(missing: str) -> None:
    seen = {"importance": np.full((1, 7, 9, 1), 0.5), "offsets_p2": np.ones((1, 13, 18, 2))}
    assert missing not in seen
    found = visualization.signal_pictures(IMAGE, seen)
    assert [caption.split(" ")[0] for caption in found] == ["importance", "offsets", "offsets"]


def test_the_gallery_takes_any_network(tmp_path) -> None:
    source = data.SyntheticStreets(1, size=(64, 96))
    columns = []
    for model in (
        tiny_fornet(11),
        models.SCRNet(11, tiny.backbone(), filters=8, context_filters=8, contrast_weight=0.0),
    ):

        class Scores:
            mean_iou, boundary, seconds_per_image = 0.5, {"boundary_f1": 0.4}, 0.1

        columns.append(gallery.Column(model.name, model, Scores))
    page = gallery.write(tmp_path, source, columns).read_text()
    assert "regions" in page and "offsets p3" in page and "wheel.png" in page
    assert len(list(tmp_path.glob("scene00_scrnet_*.png"))) > 8
