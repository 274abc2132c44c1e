"""The comparison of the networks: cells build, baselines train, the page says what is so."""

from __future__ import annotations

import csv
import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import data, presets
from tests.conftest import REPOSITORY
from tests.testers import check_config_round_trip, tiny_backbone


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, Any]]:
    """The scripts, which are not part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in ("benchmarks", "docs"):
            patch.syspath_prepend(str(REPOSITORY / folder))
        names = ("baselines", "comparison", "make_comparison")
        yield {name: importlib.import_module(name) for name in names}


def test_every_cell_is_a_recipe_with_arguments_of_its_network(scripts: dict[str, Any]) -> None:
    comparison = scripts["comparison"]
    for name, cell in comparison.CELLS.items():
        recipe = comparison.recipe_of(cell, comparison.Budget(2, 45, (160, 208), 4, None), seed=1)
        network = presets.network_class(recipe.network)
        inspect.signature(network.__init__).bind(None, 11, **recipe.network_config)
        assert data.augmentation(recipe.augment).crop_size == (160, 208)
        assert (recipe.epochs, recipe.batch_size, recipe.seed) == (2, 4, 1)
        assert recipe.warmup_steps == 6 and recipe.backbone_weights is None
        assert recipe.network_config.get("contrast_warmup", 11) == 11
        assert cell.of is None or name.startswith(f"{cell.of}, ")


def test_baselines_train_and_come_back(scripts: dict[str, Any], tmp_path: Path) -> None:
    baselines = scripts["baselines"]
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 48, 3)).astype("float32")
    masks = np.random.default_rng(1).integers(0, 3, (2, 32, 48))
    for network, options in (
        (baselines.DeepLabV3Plus, {"dice_weight": 0.5}),
        (baselines.PlainFPN, {}),
    ):
        model = network(3, tiny_backbone(), filters=8, **options)
        model.compile()
        loss = model.fit(images, masks, batch_size=2, verbose=0).history["loss"][0]
        assert np.isfinite(loss)
        assert set(model.loss_term_weights()) == {"cross_entropy", *(["dice"] if options else [])}
        check_config_round_trip(model)
        model.save_to_preset(tmp_path / model.name)
        again = presets.load(tmp_path / model.name)
        expected = model.predict(images, verbose=0)
        np.testing.assert_allclose(again.predict(images, verbose=0), expected, atol=1e-5)


def test_random_cells_are_as_many_and_others(scripts: dict[str, Any]) -> None:
    z = keras.Input((None, None, 1))
    model = keras.Model(z, scripts["baselines"].RandomCellsFoRNet.choose_cells(z, (0.1, 0.5)))
    scores = np.zeros((2, 8, 10, 1), "float32")
    masks = model.predict(scores, verbose=0)
    assert masks.sum((1, 2)).tolist() == [[8, 40], [8, 40]]
    assert (masks[0] != masks[1]).any() and (masks != model.predict(scores, verbose=0)).any()


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([], "not compared, no seed was run for both."),
        ([0.9], "no finding: +0.9 points, from one run."),
        ([-0.9], "no finding: -0.9 points, from one run."),
        ([1.2], "helps: +1.2 points, from one run."),
        ([-1.2], "does not help: -1.2 points, from one run."),
        ([0.4, 0.2], "no finding: +0.3 points (+0.2 to +0.4, 2 seeds)."),
        ([0.4, 0.2, 0.3], "helps: +0.3 points (+0.2 to +0.4, 3 seeds)."),
        ([3.0, -0.2], "no finding: +1.4 points (-0.2 to +3.0, 2 seeds)."),
        ([-3.0, -1.0], "does not help: -2.0 points (-3.0 to -1.0, 2 seeds)."),
    ],
)
def test_what_differences_allow_to_say(
    gains: list[float], expected: str, scripts: dict[str, Any]
) -> None:
    assert scripts["make_comparison"].verdict(gains, "helps", "does not help") == expected


def test_the_page(scripts: dict[str, Any], tmp_path: Path) -> None:
    common = {
        "epochs": 2, "batch_size": 8, "crop": "160x208", "start": "none", "scored_on": "a val",
        "boundary_f1": 0.4, "parameters": 1000, "gmac": 2.5, "ms": 30, "peak_mb": 10,
        "device": "numpy on paper", "iou sky": 0.9, "iou pole": "",
    }  # fmt: skip
    figures = (
        ("FPN", "", 0, 0.50), ("FoR-Net", "", 0, 0.52), ("FoR-Net", "", 1, 0.54),
        ("FoR-Net, all cells", "FoR-Net", 0, 0.525), ("FoR-Net, random cells", "FoR-Net", 1, 0.5),
        ("SCRNet, SRM off", "SCRNet", 0, 0.5),
    )  # fmt: skip
    rows = [
        {"cell": cell, "of": of, "seed": seed, "mean_iou": iou, **common}
        for cell, of, seed, iou in figures
    ]
    longer = {**common, "epochs": 12, "of": "", "seed": 0}
    rows += [
        {**longer, "cell": "FPN", "mean_iou": 0.7}, {**longer, "cell": "SCRNet", "mean_iou": 0.65},
    ]  # fmt: skip
    with open(tmp_path / "comparison.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    script = scripts["make_comparison"]
    budgets = script.read_runs(tmp_path / "comparison.csv")
    assert list(budgets) == ["12 epochs of 160x208", "2 epochs of 160x208"]
    page = script.page(budgets)
    assert page.index("## 12 epochs") < page.index("## 2 epochs")
    assert '--epochs 12 --crop 160x208 --seeds 0 \\\n    --cells "FPN" "SCRNet"\n' in page
    assert '--epochs 2 --crop 160x208 --seeds 0 1 \\\n    --cells "FoR-Net"\n' in page
    assert '--seeds 1 \\\n    --cells "FoR-Net, random cells"\n' in page
    said = "Seeds: 0, 1; 0 of FPN, FoR-Net, all cells, SCRNet, SRM off; 1 of FoR-Net, random cells."
    assert said in page
    assert "- SCRNet and FPN: behind: -5.0 points, from one run." in page
    assert "| FoR-Net | 53.0 (52.0 to 54.0) | 40.0 | 1,000 | 2.50 | 30 | 10 |" in page
    assert "- FoR-Net and FPN: ahead: +2.0 points, from one run." in page
    assert "Top-K selection against all cells: no finding: -0.5 points, from one run." in page
    assert "Top-K selection against random cells: helps: +4.0 points, from one run." in page
    assert "SRM:" not in page  # the whole network was not run
    pytest.importorskip("matplotlib")
    script.draw(budgets, tmp_path)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    classes = {f"comparison_classes_{epochs}_epochs_160x208.png" for epochs in (2, 12)}
    assert drawn == {"comparison_cost.png", *classes}


def test_the_table_keeps_other_budgets(
    scripts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = scripts["comparison"]
    monkeypatch.setattr(comparison, "RESULTS", tmp_path / "results" / "comparison.csv")
    for epochs, iou in ((2, 0.5), (12, 0.6), (2, 0.7)):
        folder = tmp_path / str(epochs) / "fpn_0"
        folder.mkdir(parents=True, exist_ok=True)
        row = {"cell": "FPN", "seed": 0, "epochs": epochs, "batch_size": 8, "crop": "160x208"}
        (folder / "row.json").write_text(json.dumps({**row, "start": "none", "mean_iou": iou}))
        comparison.write_table(folder.parent)
    with open(comparison.RESULTS, newline="") as file:
        found = [(row["epochs"], row["mean_iou"]) for row in csv.DictReader(file)]
    assert found == [("12", "0.6"), ("2", "0.7")]
