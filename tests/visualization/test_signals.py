"""What `inspect` gave, as pictures, for each network."""

import numpy as np
import pytest

from keras_focusseg import data, models, visualization
from keras_focusseg.models.panels import Drawing, Panel
from keras_focusseg.visualization import gallery
from tests.models import tiny
from tests.testers import tiny_fornet

IMAGE = tiny.images(50, 70, batch=1)[0].astype("uint8")


def pictures(model: models.Segmenter) -> dict:
    found = visualization.signal_pictures(IMAGE, model.inspect(IMAGE[None]), model.panels)
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
    fields = {f"{kind} offsets P{n}" for kind in ("initial", "refined") for n in (2, 3, 4)}
    masks = {f"neighbours' weights P{n}" for n in (2, 3, 4)}
    attention = {"pairwise attention", "unary attention", "channel attention"}
    assert fields | masks | attention == set(found)
    assert (found["initial offsets P2"] == (255, 0, 0)).all()  # to the right, at full length
    assert (found["refined offsets P4"] == 255).all()
    assert model.inspect(IMAGE[None])["offsets_p2"].shape == (1, 13, 18, 2)


def test_sernet_former_draws_its_gates() -> None:
    model = models.SERNetFormer(
        3, "mobilenet_v2", bridge_filters=8, skip_filters=8, decoder_filters=8
    )
    found = pictures(model)
    assert set(found) == {f"{kind}gate {n}" for kind in ("", "added by ") for n in range(1, 6)}


def test_absent_signals_are_left_out_and_wrong_ones_told() -> None:
    seen = {"importance": np.full((1, 7, 9, 1), 0.5), "offsets_p2": np.ones((1, 13, 18, 2))}
    panels = (*models.FoRNet.panels, *models.SCRNet.panels, *models.SERNetFormer.panels)
    seen["features"] = np.ones((1, 7, 9, 4))
    found = visualization.signal_pictures(IMAGE, seen, panels)
    assert [caption.split(":")[0] for caption in found] == [
        "importance",
        "refined offsets P2",
        "refined offsets P2",
    ]
    titles = [title for title, _ in visualization.signal_notes(seen, panels)]
    assert titles == ["Importance", "Offsets"]
    with pytest.raises(ValueError, match="give what inspect returned for one image"):
        visualization.signal_pictures(IMAGE, {"importance": np.ones((2, 7, 9, 1))}, panels)
    other = Panel("Other", "is not known.", (Drawing("sound", "features", "noise"),))
    with pytest.raises(ValueError, match="'noise' is declared as 'sound'; known kinds .* gate"):
        visualization.signal_pictures(IMAGE, seen, [other])


def brightness(picture: object) -> np.ndarray:
    return np.asarray(picture, "float32").sum(-1)


def test_brightness_says_what_the_captions_tell() -> None:
    """A picture of 60 x 90 that was padded to 64 x 96: two by three cells of stride 32."""
    image = np.full((60, 90, 3), 120, "uint8")
    pairs = np.full((1, 6, 6), 0.1, "float32")
    pairs[..., 4] = 0.5  # all look at the second row, second column
    weights = np.full((1, 15, 23, 9), 1 / 9, "float32")
    weights[:, :, 12:] = np.eye(9)[3]
    gate = np.linspace(0.25, 0.75, 23, dtype="float32")[None, None, :, None].repeat(15, 1)
    panels = (*models.SCRNet.panels, *models.SERNetFormer.panels)
    found = visualization.signal_pictures(
        image,
        {
            "spatial_attention": pairs,
            "context": np.zeros((1, 2, 3, 4), "float32"),
            "channel_attention": np.eye(4, dtype="float32")[None] / 2,
            "offsets_p2": np.full((1, 15, 23, 2), np.nan, "float32"),
            "offset_weights_p2": weights,
            "gate3": gate.repeat(2, -1),
            "boost3": np.concatenate([-8 * gate, 0 * gate], -1),  # sizes, not signs: 1 to 3
        },
        panels,
    )
    received = brightness(found["pairwise attention: up to 3.0 times the mean"])
    assert np.unravel_index(received.argmax(), received.shape) == pytest.approx((48, 48), abs=2)
    channels = brightness(found["channel attention: 4 x 4, 0 to 0.5"])
    assert channels[5, 20] > channels[5, 35] and channels[5, 2] > 600  # diagonal, other, frame
    decided = brightness(found["neighbours' weights P2: dark alike, light one alone"])
    assert decided[:, :40].max() < 50 and decided[:, 55:].min() > 600
    assert not np.asarray(found["refined offsets P2: all 0"]).any()  # unknown ones are black
    for caption in ("gate 3: 0.25 dark to 0.75 light", "added by gate 3: 0 dark to 3 light"):
        across = brightness(found[caption])[30]
        assert (np.diff(across) >= -1).all() and across[85] > across[5] + 100
    seen = {"spatial_attention": pairs, "context": np.zeros((1, 3, 3, 4), "float32")}
    with pytest.raises(ValueError, match="among 6 positions; context has 3 x 3"):
        visualization.signal_pictures(image, seen, panels)


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
    assert "regions" in page and "refined offsets P3" in page and "wheel.png" in page
    assert "<b>Importance</b>" in page and "<b>Gates</b>" not in page
    assert len(list(tmp_path.glob("scene00_network1_*.png"))) == 6


@pytest.mark.parametrize("network", [models.FoRNet, models.SCRNet, models.SERNetFormer])
def test_every_declared_kind_is_known(network: type[models.Segmenter]) -> None:
    drawings = [drawing for panel in network.panels for drawing in panel.drawings]
    assert {drawing.kind for drawing in drawings} <= set(visualization.KINDS)
    assert len({(drawing.title, drawing.kind) for drawing in drawings}) == len(drawings)
