"""Several replicas train as one device does, with uneven shares of ignored pixels among them."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import _replica_checks, _replicas, data, losses, training
from keras_focusseg.models.compile_arguments import loss_of_logits
from keras_focusseg.training.checkpoints import Position
from tests.models import tiny
from tests.training import replicas

pytestmark = pytest.mark.each_backend
BACKEND = keras.backend.backend()
FLAGS = os.environ.get("XLA_FLAGS", "")  # of tests/conftest.py


def only(backend: str) -> Any:
    return pytest.mark.skipif(BACKEND != backend, reason=f"is an engine of {backend}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def log(folder: Path) -> list[dict[str, float]]:
    with open(folder / "log.csv") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def assert_equal_logs(found: Path, expected: Path) -> None:
    one, other = log(found), log(expected)
    assert len(one) == len(other)
    for row, wanted in zip(one, other, strict=True):
        for name, value in wanted.items():
            tolerance = 2e-2 if name.endswith("mean_iou") else 2e-4
            np.testing.assert_allclose(row[name], value, rtol=tolerance, err_msg=name)


@only("tensorflow")
def test_a_network_trained_on_replicas_is_saved_for_all_backends():
    model = tiny.network(4, 8)
    assert "'synchronized': False" in str(model.get_config())
    for layer in model.backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
    assert "'synchronized': True" not in str(model.get_config())


def test_strategies_of_other_backends_and_undescribed_jobs_are_refused():
    assert training.distribution("none") == training.Distribution()
    with pytest.raises(ValueError, match="strategy must be one of .*, got 'mirored'"):
        training.distribution("mirored")
    foreign = "data_parallel" if BACKEND != "jax" else "mirrored"
    with pytest.raises(ValueError, match=f"'{foreign}' is none of Keras' {BACKEND} backend"):
        training.distribution(foreign)
    described = {"tensorflow": ("multi_worker", "TF_CONFIG"), "torch": ("ranks", "torchrun")}
    for strategy, what in [described[BACKEND]] if BACKEND in described else []:
        with pytest.raises(ValueError, match=f"needs .*{what}"):
            training.distribution(strategy)


@pytest.mark.backend_free
def test_a_batch_has_to_be_divided():
    spread = training.Distribution("mirrored", replicas=4)
    spread.check_batch(8)
    with pytest.raises(ValueError, match="val_batch_size=6 .* 4 replicas; .* use 4 or 8"):
        spread.check_batch(6, "val_batch_size")
    with pytest.raises(ValueError, match="batch_size=3 .* use 4"):
        spread.check_batch(3)


@pytest.mark.backend_free
def test_a_run_says_that_it_goes_on_on_other_devices(tmp_path: Path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    spreads = training.Distribution("mirrored", replicas=4), training.Distribution()
    four, one = (training.RunFolder(tmp_path, lambda *_: None, spread=s) for s in spreads)
    for folder in (four, one):
        folder.set_model(model)
    four._write_checkpoint(Position(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        four.restore(1)
    with pytest.warns(
        UserWarning, match="by strategy 'mirrored' of 4 and goes on by .*'none' of 1"
    ):
        one.restore(1)


@only("tensorflow")
def test_a_loss_that_is_not_that_of_the_whole_batch_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_replicas, "loss_shares", lambda: 2)
    masks, logits = tiny.masks(16, 16), np.zeros((2, 16, 16, 4), "float32")
    says_so = {"expected_warning": UserWarning, "match": "in each replica from its own part"}
    for loss in (losses.Lovasz(), losses.CrossEntropy(ohem_threshold=0.7)):
        with pytest.warns(**says_so):
            loss(masks, logits)
    with pytest.warns(**says_so):
        losses.PixelContrast()(masks, logits, logits, seed=0)
    for ignored in (255, 0):
        with pytest.warns(**says_so):
            loss_of_logits(
                keras.losses.SparseCategoricalCrossentropy(True, ignore_class=ignored), 255
            )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses.Lovasz(per_image=True)(masks, logits)
        losses.CrossEntropy()(masks, logits)


@only("tensorflow")
@pytest.mark.parametrize(
    "given",
    [
        "{oops",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_a_job_that_tf_config_does_not_describe(given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TF_CONFIG", given)
    for strategy in ("multi_worker", "auto"):
        with pytest.raises(ValueError, match=r"TF_CONFIG is .*expected in each process, such as"):
            training.distribution(strategy)


@only("tensorflow")
def test_two_networks_are_trained_under_one_strategy():
    """TensorFlow's collectives of a second strategy met those of the first, of other shapes."""
    one, other = (training.distribution("mirrored").engine for _ in range(2))
    assert one is other


@only("tensorflow")
def test_a_tpu_that_is_not_there():
    with pytest.raises(ValueError, match="TensorFlow found no TPU.*data_parallel"):
        training.distribution("tpu")


@only("tensorflow")
def test_what_trains_another_network_is_refused(monkeypatch: pytest.MonkeyPatch):
    model = tiny.network(4, 8)
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)))
    with pytest.raises(ValueError, match="mixed_float16 cannot be trained on several replicas"):
        _replica_checks.check_training(model, 2)
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    with pytest.raises(ValueError, match="gradient_accumulation_steps cannot be had on several"):
        _replica_checks.check_training(model, 2)
    part = keras.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=5)
    for optimizer in (part, keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(part))):
        model.compile(optimizer)
        with pytest.raises(ValueError, match="ema_overwrite_frequency=5 cannot be had on several"):
            _replica_checks.check_training(model, 2)
    model.compile("sgd", steps_per_execution=2)
    with pytest.raises(ValueError, match="steps_per_execution=2 cannot be had on several replicas"):
        _replica_checks.check_training(model, 2)
    model.compile("sgd", jit_compile=True)
    with pytest.raises(ValueError, match="jit_compile=True cannot be had on several replicas"):
        _replica_checks.check_training(model, 2)
    monkeypatch.setattr(keras.distribution, "distribution", lambda: "some")
    with pytest.raises(ValueError, match="keras.distribution does nothing on TensorFlow"):
        model.make_train_function()


@only("jax")
def test_a_batch_that_devices_do_not_divide_is_counted(monkeypatch: pytest.MonkeyPatch):
    mesh = SimpleNamespace(shape=(4,), axis_names=["batch"])
    layout = SimpleNamespace(device_mesh=mesh, batch_dim_name="batch")
    monkeypatch.setattr(keras.distribution, "distribution", lambda: layout)
    _replica_checks.check_divided(np.zeros((8, 16, 16, 3)))
    with pytest.raises(ValueError, match=r"^A batch has 6 images for 4 devices\. Each batch has"):
        _replica_checks.check_divided(np.zeros((6, 16, 16, 3)))


@only("jax")
def test_a_process_does_not_wait_long_for_one_that_died(monkeypatch: pytest.MonkeyPatch):
    """JAX would let it wait for 100 seconds, after it has said why it stops."""
    import jax

    seen = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: seen.update(options))
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    job = {"JOB_ADDRESSES": "host0:1234,host1:1234", "NUM_PROCESSES": "2", "PROCESS_ID": "1"}
    for name, value in job.items():
        monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    training.distribution("data_parallel")
    assert (seen["coordinator_address"], seen["process_id"]) == ("host0:1234", 1)
    assert seen["heartbeat_timeout_seconds"] <= 60


@only("jax")
def test_processes_that_are_not_described(monkeypatch: pytest.MonkeyPatch):
    import jax

    def initialize(**options: Any) -> None:  # as JAX does, where nobody has used it before
        assert options["process_id"] is None
        raise ValueError("The process id of the current process must be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    monkeypatch.setenv("KERAS_DISTRIBUTION_JOB_ADDRESSES", "host0:1234")
    with pytest.raises(ValueError, match=r"needs in each of them .*_PROCESS_ID \(from 0\): The"):
        training.distribution("data_parallel")


@only("torch")
def test_ranks_that_average_do_not_add_up():
    model = tiny.network(4, 8)
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="sum"))
    _replica_checks.check_training(model, 1)
    with pytest.raises(ValueError, match=r"reduction='sum' would train at 1/2 of its rate"):
        _replica_checks.check_training(model, 2)


@only("torch")
def test_a_rank_does_not_train_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    model = tiny.network(4, 8)
    model.compile("sgd")
    with pytest.raises(ValueError, match="process 1 of the 2 that torchrun started"):
        model.fit(tiny.images(32, 32), tiny.masks(32, 32))
    with pytest.raises(ValueError, match="focusseg train: --strategy ranks"):
        training.train(replicas.recipe(), run_folder=tmp_path)
    assert not list(tmp_path.iterdir())


@only("torch")
@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE"])
def test_numbers_of_torchrun_that_are_none_are_named(name: str, monkeypatch: pytest.MonkeyPatch):
    job = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for variable, value in {**job, name: "two"}.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"{name} must be a whole number.* got 'two'"):
        training.distribution("ranks")


@pytest.mark.backend_free
@pytest.mark.parametrize("feed", ["tensorflow", "pydataset"])
def test_validation_is_filled_up_with_ignored_images(feed: str):
    """Three images in batches of two, for two processes of two devices each."""
    if feed == "tensorflow":
        pytest.importorskip("tensorflow")
    source = data.SyntheticStreets(3, size=(64, 64), split="val")
    whole = [[np.asarray(x) for x in batch] for batch in data.batches(source, 2, feed=feed)]
    parts = []
    for process in range(2):
        spread = training.Distribution("ranks", replicas=4, processes=2, process=process)
        batches = spread.validation_feed(data.batches(source, 2, feed=feed))
        batches = batches if feed == "tensorflow" else [batches[i] for i in range(len(batches))]
        parts.append([[np.asarray(x) for x in batch] for batch in batches])
    for (images, masks), first, second in zip(whole, *parts, strict=True):
        together = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
        assert len(first[0]) == len(second[0]) == 2
        np.testing.assert_array_equal(together[0][: len(images)], images)
        np.testing.assert_array_equal(together[1][: len(images)], masks)
        assert (together[1][len(images) :] == 255).all()


@pytest.mark.backend_free
def test_validation_is_filled_up_with_weights_too():
    class Feed(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
            ones = np.ones((3, 16, 16, 3), "float32")
            return ones, ones[..., :1].astype("uint8"), ones[:, 0, 0, 0]

    spread = training.Distribution("ranks", replicas=2, processes=2, process=1)
    images, masks, weights = spread.validation_feed(Feed(workers=1))[0]
    assert images.shape == (2, 16, 16, 3)
    assert masks.shape == (2, 16, 16, 1)
    assert (images[1] == 0).all()
    assert (masks[1] == 255).all()
    assert weights.tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"takes batches of \(images, masks\).*got a tuple"):
        spread.validation_feed((images, masks))


def test_what_fills_up_a_batch_is_not_counted_whatever_a_network_ignores():
    images = np.zeros((4, 8, 8, 3), "float32")
    images[0] = 1.0
    masks = np.full((4, 8, 8), 255, "uint8")
    masks[1] = 2
    masks[2] = 0
    for ignore_class, expected in ((255, 3), (0, 2), (None, 3)):
        assert float(_replicas.images_of((images, masks), ignore_class)) == expected


@pytest.fixture(scope="module")
def one_device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What others are held to: the small network's `one.npz`, and the run `one`."""
    folder = tmp_path_factory.mktemp("one_device")
    replicas.one_process(str(folder))
    replicas.train(str(folder / "one"), "none")
    return folder


def ended_by(process: subprocess.Popen, code: int) -> str:
    """What a child said that ended where it was to; shows it if it came to another end."""
    said: str = process.communicate(timeout=400)[0]
    assert process.returncode == code, said[-4000:]
    return said


@only("tensorflow")
def test_mirrored_and_on_on_one_device(one_device: Path, tmp_path: Path):
    """A run of three images in batches of two validates, is killed after an epoch, and goes on."""
    ended_by(replicas.child("tensorflow", "mirrored", tmp_path), code=9)
    for name in ("small", "function"):
        one, two = (replicas.read(tmp_path / f"{name}_{n}.npz") for n in ("one", "two"))
        replicas.assert_equal_training(two, one)
    replicas.train(str(tmp_path / "two"), "none")
    assert_equal_logs(tmp_path / "two", one_device / "one")


@only("jax")
def test_data_parallel(one_device: Path, tmp_path: Path):
    four = f"{FLAGS} --xla_force_host_platform_device_count=4"
    replicas.finish(replicas.child("jax", "data_parallel", tmp_path, XLA_FLAGS=four))
    one = replicas.read(one_device / "one.npz")
    for name in ("parallel", "model_parallel"):
        replicas.assert_equal_training(replicas.read(tmp_path / f"{name}.npz"), one)


@only("torch")
def test_ranks_of_which_one_is_stopped_then_hangs_and_on_with_one(one_device: Path, tmp_path: Path):
    """A signal to one stops both, saved. Where one hangs, it says where after a time limit, and
    ends, and so does the other; the run goes on after the last finished epoch.
    """
    port = str(free_port())
    job = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    first, second = (
        replicas.child("torch", "ranks", tmp_path, RANK=str(rank), **job) for rank in range(2)
    )
    said = ended_by(second, code=1)
    assert "Process 1 of 2 ends: it began no further step for 5 seconds" in said
    assert "in on_epoch_end" in said
    said = first.communicate(timeout=60)[0]
    assert first.returncode not in (0, 9)
    assert "Start all of them again with --resume" in said
    assert "FutureWarning" not in said
    rank0, rank1 = (replicas.read(tmp_path / f"rank{rank}.npz") for rank in range(2))
    replicas.assert_equal_training(rank1, rank0, tolerance=1e-12)
    replicas.assert_equal_training(rank0, replicas.read(one_device / "one.npz"))
    replicas.train(str(tmp_path / "two"), "none")
    assert_equal_logs(tmp_path / "two", one_device / "one")


ENGINE = {"tensorflow": "mirrored", "jax": "data_parallel", "torch": "ranks"}[BACKEND]


def test_each_network_trains_on_several_devices_as_on_one(tmp_path: Path):
    """20 steps: losses, weights, statistics and averages. JAX has four devices, others two."""
    variables: list[dict[str, str]] = [{}]
    if ENGINE == "data_parallel":
        variables = [{"XLA_FLAGS": f"{FLAGS} --xla_force_host_platform_device_count=4"}]
    if ENGINE == "ranks":
        job = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        variables = [{"RANK": str(rank), **job} for rank in range(2)]
    children = [replicas.child(BACKEND, "networks", tmp_path, ENGINE, **each) for each in variables]
    replicas.networks(str(tmp_path), "none")
    replicas.finish(*children)
    for name in ("fornet", "scrnet", "sernet_former"):
        several, one = (replicas.read(tmp_path / f"{name}_{n}.npz") for n in (ENGINE, "none"))
        replicas.assert_equal_training(several, one)


@only("tensorflow")
def test_two_workers(one_device: Path, tmp_path: Path):
    """Each has its half of the batches; the first writes; logs are those of one device."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    tasks = [
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        for index in range(2)
    ]
    workers = [
        replicas.child(
            "tensorflow", "train", tmp_path / "two", "multi_worker", TF_CONFIG=json.dumps(task)
        )
        for task in tasks
    ]
    replicas.finish(*workers)
    assert_equal_logs(tmp_path / "two", one_device / "one")


@only("jax")
def test_two_processes_of_two_devices(one_device: Path, tmp_path: Path):
    """Logs are those of one device, with validation of three images in batches of two."""
    job = {
        "XLA_FLAGS": f"{FLAGS} --xla_force_host_platform_device_count=2",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{free_port()}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
    }
    processes = [
        replicas.child(
            "jax",
            "train",
            tmp_path / "two",
            "data_parallel",
            **job,
            KERAS_DISTRIBUTION_PROCESS_ID=str(index),
        )  # fmt: skip
        for index in range(2)
    ]
    for said in replicas.finish(*processes):
        assert "Then start all again with --resume" in said  # JAX may leave no time to say it later
    assert_equal_logs(tmp_path / "two", one_device / "one")
