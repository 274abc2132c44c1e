"""The script that measures our networks beside others: its turns, its table, its processes."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import keras
import pytest

from keras_focusseg import inference, models, presets
from tests.conftest import REPOSITORY
from tests.testers import tiny_backbone

# Answers as `peer_worker.py` does: DeepLabV3+ cannot be built, FPN ends in its second run.
STUB = """
import json, sys
case = json.loads(input())
if case["build"] == "DeepLabV3Plus":
    print(json.dumps({"error": "no DeepLab"}), flush=True)
    sys.exit()
facts = {"parameters": 7, "macs": 2_000_000_000} if case["mode"] == "count" else {"versions": "v 1"}
print(json.dumps(facts), flush=True)
runs = 0
while json.loads(input()) == "run":
    runs += 1
    if case["build"] == "FPN" and runs == 2:
        sys.exit()
    with open(sys.argv[0] + ".log", "a") as log:
        print(case["build"], case["height"], case["width"], file=log)
    print(json.dumps({"clock": 0.004 * runs, "processor": 0.003}), flush=True)
print(json.dumps({"peak_bytes": 5_000_000}), flush=True)
"""


@pytest.fixture(scope="module")
def peers() -> Iterator[ModuleType]:
    """The script, which is not part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "benchmarks"))
        yield importlib.import_module("peers")


def test_contenders_take_turns(
    peers: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    monkeypatch.setattr(peers, "WORKER", stub)
    pythons = {"keras_focusseg": sys.executable}
    others = [c for c in peers.CONTENDERS if c.library in ("keras_hub", "smp")]
    chosen = [peers.CONTENDERS[0], *others]
    case = {"backend": "torch", "mode": "training", "image": "36x48", "batch": 2, "threads": 1}
    with open(tmp_path / "errors", "w") as errors:
        session = peers.Session(pythons, chosen, tmp_path, errors, 3, 0.0, "", apart=False)
        rows = session.turns({**case, "height": 36, "width": 48}, [])
    preset = peers.OURS["FoR-Net"]
    each = [f"{preset} 36 48", "segformer 32 32", "deeplab 64 64"]
    ran = (tmp_path / "stub.py.log").read_text().splitlines()
    assert ran == [*each, "FPN 64 64", *each, *each]
    told = capsys.readouterr().out
    assert "smp DeepLabV3+ MobileNet-EdgeTPU is left out: no DeepLab" in told
    assert "smp FPN MobileNet-EdgeTPU is left out: the process ended" in told
    assert [row["library"] for row in rows] == ["keras_focusseg", "keras_hub", "keras_hub"]
    assert set(rows[0]) == set(peers.COLUMNS)
    # 4, 8 and 12 ms for two images.
    wanted = {"ms": "4.0", "ms_low": "3.0", "ms_high": "5.0", "processor_ms": "1.5", "rounds": "3"}
    wanted |= {"gmac": "2.000", "ms_per_gmac": "2.0", "parameters": "7", "peak_mb": "5"}
    assert {column: rows[0][column] for column in wanted} == wanted


def test_rows_of_the_same_turns_are_replaced(peers: ModuleType) -> None:
    def row(backend: str, mode: str, library: str) -> dict[str, str]:
        place = {"image": "36x48", "batch": "1", "threads": "1"}
        return {"backend": backend, "mode": mode, **place, "library": library}

    torch, training = row("torch", "inference", "a"), row("tensorflow", "training", "a")
    rows = peers.replaced([training, torch], [row("torch", "inference", "b")])
    assert rows == [row("torch", "inference", "b"), training]


def test_a_process_measures_a_network(peers: ModuleType, tmp_path: Path) -> None:
    model = models.FoRNet(11, tiny_backbone(), neck="fpn", filters=8, dilation_rates=(1,) * 4)
    model.save_to_preset(tmp_path / "tiny")
    case = {
        "library": "keras_focusseg",
        "build": str(tmp_path / "tiny"),
        "backend": keras.backend.backend(),
        "mode": "training",
        "batch": 2,
        "height": 32,
        "width": 48,
        "threads": 1,
    }
    with open(tmp_path / "errors", "w") as errors:
        found = peers.take_turns({"tiny": peers.Worker(sys.executable, case, errors)}, 2, 0.0)
    assert found["tiny"]["versions"].startswith("keras ")
    assert len(found["tiny"]["clock"]) == 2 and min(found["tiny"]["clock"]) > 0
    assert found["tiny"]["peak_bytes"] > 1e7
    json.dumps(found)

    if keras.backend.backend() == "torch":
        worker = importlib.import_module("peer_worker")
        run, parameters = worker.keras_run({**case, "mode": "inference", "batch": 1})
        costs = inference.profile(presets.load(tmp_path / "tiny"), (32, 48), runs=0)
        assert (worker.macs(run), parameters) == (costs.macs, model.count_params())
