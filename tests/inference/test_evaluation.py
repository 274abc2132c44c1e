"""Evaluations, comparisons and their reports, on a stand-in for a network that errs as told."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from keras_focusseg import data, files, inference, label_spaces
from keras_focusseg.inference import report
from keras_focusseg.inference.procedure import ClassMap, Procedure
from tests.metrics.test_boundary import brute_force, some_pair

SPACE = label_spaces.from_names(["road", "car", "sky", "tree"], name="toy")


class Pairs(data.Source):
    """Images whose first channel is what the stand-in predicts."""

    name, split, label_space = "pairs", "val", SPACE

    def __init__(self, count: int = 6) -> None:
        rng = np.random.default_rng(3)
        self.pairs = [some_pair(rng, 4, 24, 30) for _ in range(count)]

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> data.Sample:
        truth, prediction = self.pairs[index]
        return data.Sample(np.stack([prediction] * 3, -1), truth, f"pair{index}")

    def sample_name(self, index: int) -> str:
        return f"pair{index}"


class Network:
    """Says what the picture says; `worse` says class 0 in the left quarter as well."""

    num_classes, label_space, ignore_class = 4, SPACE, 255

    def __init__(self, name: str = "good", fails_at: int | None = None) -> None:
        self.name, self.fails_at, self.calls = name, fails_at, 0


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def class_maps(self: Procedure, model: Network, images: np.ndarray) -> list[ClassMap]:
        model.calls += 1
        if model.calls - 1 == model.fails_at:
            raise ValueError("no room")
        labels = images[0, ..., 0].copy()
        if model.name == "worse":
            labels[:, :8] = 0
        rng = np.random.default_rng(int(labels.sum()))
        return [ClassMap(labels, rng.random(labels.shape, "float32"))]

    monkeypatch.setattr(Procedure, "class_maps", class_maps)


def plain_mean_iou(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean IoU from a count of pairs of labels."""
    cells: Counter[tuple[int, int]] = Counter()
    for truth, prediction in pairs:
        cells.update(zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True))
    ious = []
    for c in range(4):
        both = cells[c, c]
        either = sum(n for (t, p), n in cells.items() if t != 255 and (c in (t, p)))
        ious += [both / either] if either else []
    return sum(ious) / len(ious)


def test_figures_are_those_of_plain_loops() -> None:
    source = Pairs()
    scores = inference.evaluate(Network(), source, workers=2)
    assert scores.mean_iou == pytest.approx(plain_mean_iou(source.pairs))
    total = scores.figures(scores.total)
    assert total["mean_iou"] == pytest.approx(scores.mean_iou)
    for tolerance in (1, 2, 3, 5, 10):
        _, f1 = brute_force(source.pairs, 4, tolerance=tolerance)
        assert total[f"boundary_f1_{tolerance}px"] == pytest.approx(np.nanmean(f1))
    each = [plain_mean_iou([pair]) for pair in source.pairs]
    np.testing.assert_allclose(scores.image_mean_iou(), each)
    assert scores.worst(2) == np.argsort(each)[:2].tolist()
    assert scores.mean_iou_under(average="image") == pytest.approx(np.mean(each))
    true, predicted, pixels, share = scores.confusions(1)[0]
    wrong = scores.matrix - np.diag(np.diag(scores.matrix))
    assert pixels == wrong.max() and true != predicted and 0 < share < 1
    # An interval by the definition: scores of drawn images.
    rng = np.random.default_rng(9)
    drawn = [plain_mean_iou([source.pairs[i] for i in rng.integers(0, 6, 6)]) for _ in range(400)]
    np.testing.assert_allclose(
        scores.intervals["mean_iou"], np.quantile(drawn, [0.025, 0.975]), atol=0.01
    )
    assert scores.counting_seconds_per_image > 0


def test_reports(tmp_path: Path) -> None:
    source = Pairs()
    scores = inference.evaluate(Network(), source)
    written = json.loads(files.json_text(scores.to_dict()))
    assert written["mean_iou"] == written["mean_iou_by_convention"][0]["mean_iou"]
    assert len(written["mean_iou_by_convention"]) == 5
    assert set(written["intervals_95"]["iou_per_class"]) == set(SPACE.classes)
    assert len(written["mean_iou_per_image"]) == 6 and written["confusions"][0]["pixels"] > 0
    report.write_csv(tmp_path / "a.csv", scores)
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == list(SPACE.classes)
    assert float(rows[1]["iou"]) == pytest.approx(written["iou_per_class"]["car"], abs=1e-6)
    assert float(rows[1]["iou_low"]) < float(rows[1]["iou"]) < float(rows[1]["iou_high"])
    pytest.importorskip("matplotlib")
    inference.write_report(tmp_path / "a.html", scores, Network(), source, worst=2)  # type: ignore[arg-type]
    page = (tmp_path / "a.html").read_text()
    assert files.MARK in page[:4096] and "boundary F1, 3 px" in page
    assert page.count("data:image/png;base64,") == 3 + 2 * 4
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_comparisons_draw_the_same_images_for_all(tmp_path: Path) -> None:
    source = Pairs()
    scores = {n: inference.evaluate(Network(n), source) for n in ("good", "worse")}
    found = inference.compare(scores)
    difference = found.differences["worse"]["mean_iou"]
    assert difference.value == pytest.approx(scores["worse"].mean_iou - scores["good"].mean_iou)
    assert difference.low <= difference.value <= difference.high < 0 and difference.clear
    worse = [np.where(np.arange(30) < 8, 0, p) for _, p in source.pairs]
    truth = [t for t, _ in source.pairs]
    for name, predictions in (("good", [p for _, p in source.pairs]), ("worse", worse)):
        pairs = list(zip(truth, predictions, strict=True))
        assert found.figures[name]["mean_iou"] == pytest.approx(plain_mean_iou(pairs))
    rng = np.random.default_rng(9)
    drawn = []
    for _ in range(200):  # by the definition: the same images for both
        some = rng.integers(0, 6, 6)
        both = [[(truth[i], p[i]) for i in some] for p in (worse, [p for _, p in source.pairs])]
        drawn.append(plain_mean_iou(both[0]) - plain_mean_iou(both[1]))
    ends = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose([difference.low, difference.high], ends, atol=0.015)
    (image, each), *_ = found.most_different(1)
    spread = [abs(a - b) for a, b in zip(*found.image_mean_iou.values(), strict=True)]
    assert image == f"pair{np.argmax(spread)}" and each["good"] > each["worse"]
    json.loads(files.json_text(found.to_dict()))
    same = inference.compare({"a": scores["good"], "b": scores["good"]})
    assert not same.differences["b"]["mean_iou"].clear


def test_comparisons_leave_out_what_one_could_not_segment() -> None:
    scores = {
        "good": inference.evaluate(Network(), Pairs()),
        "other": inference.evaluate(Network(fails_at=2), Pairs(), on_error=lambda *_: None),
    }
    found = inference.compare(scores)
    assert found.images == ("pair0", "pair1", "pair3", "pair4", "pair5")
    assert found.figures["good"] == found.figures["other"]
    with pytest.raises(ValueError, match="Two networks or more can be compared, got good"):
        inference.compare({"good": scores["good"]})
    streets = inference.evaluate(Network(), Renamed())
    with pytest.raises(ValueError, match="streets was scored on renamed val, others on pairs val"):
        inference.compare({"good": scores["good"], "streets": streets})


class Renamed(Pairs):
    name = "renamed"
