"""Shards of pictures on the workers of a cluster: the same files, and nothing done twice."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import files, label_spaces, models, presets
from keras_focusseg.inference import shards
from keras_focusseg.inference.folder_run import SETTINGS, FolderRun
from keras_focusseg.inference.shards import FOLDER, Shard, remaining
from tests.cli.conftest import Done

Run = Callable[..., Done]


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(random.integers(0, 256, (48, 64, 3), "uint8")).save(folder / f"{i:02}.png")
    return folder


def results(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.iterdir() if path.is_file() and path.name != SETTINGS]
    kept = [path for path in found if not path.name.startswith(files.TEMPORARY)]
    return {path.name: path.read_bytes() for path in kept}


def test_a_list_says_what_is_done(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in ("a", "b", "c", os.fsdecode(b"\xff"))]
    run = FolderRun(tmp_path / "out", "any", kinds=("labels",))
    (run.output / FOLDER).mkdir(parents=True)
    assert remaining(run, paths) == paths  # there are no settings
    files.write_json(run.output / SETTINGS, {})
    for path in paths:
        path.touch()
        run.places(path)[0].touch()
    shard = Shard(
        "host:7", 1.5, {str(p): f"{p}: road 9 %" for p in paths[1:]}, {str(paths[0]): "no"}
    )
    assert Shard.from_bytes(shard.to_bytes()) == shard
    manifest = run.output / FOLDER / "0.jsonl"
    manifest.write_bytes(shard.to_bytes())
    assert files.is_result(manifest)
    (run.output / FOLDER / f"{files.TEMPORARY}1.jsonl").write_text('{"half')  # by a lost worker
    foreign = run.output / FOLDER / "notes.jsonl"
    foreign.write_text('{"whose": "mine"}')
    assert remaining(run, paths) == paths[:1]
    run.places(paths[1])[0].unlink()  # a result has gone
    late = time.time() + 10
    os.utime(paths[2], (late, late))  # a picture has changed
    assert remaining(run, paths) == paths[:3]
    shards._new_folder(run.output / FOLDER, resume=False)
    assert foreign.exists() and not manifest.exists()
    os.utime(run.output / SETTINGS, (late, late))  # another run has begun
    assert remaining(run, paths) == paths


def test_what_a_cluster_cannot_do(
    run: Run, preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drive.mp4").touch()
    folder = pictures(tmp_path / "in", 1)
    words = ("--preset", preset, "--output", tmp_path / "out", "--engine", "ray")
    done = run("segment", folder, tmp_path / "drive.mp4", *words)
    assert done.returncode == 2 and "drive.mp4 is a video or a camera" in done.stderr
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run("segment", folder, *words)
    assert done.returncode == 2 and "pip install 'keras-focusseg[ray]'" in done.stderr
    done = run("segment", folder, *words, "--workers", 0)
    assert done.returncode == 2 and "workers and shard_size must be 1 or more" in done.stderr


def test_a_worker_is_lost(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two is killed in mid-run; every file is what one process writes."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: make ray")
    model = models.FoRNet(
        num_classes=11, backbone="resnet18", filters=8, kernel_sizes=(1,), dilation_rates=(1,),
        ratios=(0.2,),
    )  # fmt: skip
    preset = tmp_path / "preset"
    presets.save(model, preset, name="small", label_space=label_spaces.get("camvid11"))
    folder = pictures(tmp_path / "in", 31)
    (folder / "07.png").write_bytes(b"no picture")
    words = ("segment", folder, "--preset", preset, "--write", "overlay,labels,areas")
    here, there = tmp_path / "here", tmp_path / "there"
    assert run(*words, "--output", here).returncode == 1
    killed: list[int] = []

    def kill() -> None:
        while not (lists := list((there / FOLDER).glob("[!.]*.jsonl"))):
            time.sleep(0.001)
        killed.append(int(Shard.from_bytes(lists[0].read_bytes()).worker.rpartition(":")[2]))
        os.kill(killed[0], signal.SIGKILL)

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        words = (*words, "--output", there, "--engine", "ray")
        done = run(*words, "--workers", 2, "--shard-size", 4)
        thread.join(1)
        assert done.returncode == 1 and "1 of 31 pictures left out:" in done.stderr, done.stderr
        assert "07.png: the image cannot be read" in done.stderr and killed
        assert results(there) == results(here)
        lists = [Shard.from_bytes(p.read_bytes()) for p in (there / FOLDER).glob("[!.]*.jsonl")]
        assert len(lists) == 8 and sum(len(shard.written) for shard in lists) == 30
        by_killed = [shard for shard in lists if shard.worker.endswith(f":{killed[0]}")]
        assert len(by_killed) < 3  # the first, and one between looking and killing

        (there / "03_areas.json").unlink()
        done = run(*words, "--resume")
        assert done.returncode == 1 and "29 of 31 pictures are done already" in done.stdout
        assert results(there) == results(here)
        done = run(*words, "--workers", 3)
        assert done.returncode == 2 and "3 workers of 1 processors" in done.stderr
    finally:
        ray.shutdown()
