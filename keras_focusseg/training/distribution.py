"""One compiled step on many devices: the engines of TensorFlow, JAX and PyTorch by one name.

A `Distribution` says how many replicas take a step together, in which processes, and where this
process stands among them. Each replica computes its part of the batch; sums over replicas make the
loss, the clipped gradient and the batch-norm statistics those of the whole batch (see
`keras_focusseg._replicas`), so a run has the result of one device, up to the order of sums.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_focusseg import _replicas
from keras_focusseg._replica_checks import check_torchrun, torchrun_number
from keras_focusseg.training import watchdog
from keras_focusseg.training.cut_weights import CutWeights
from keras_focusseg.training.filled_batches import FILL, FilledBatches

OF_BACKEND: dict[str, tuple[str, ...]] = {
    "tensorflow": ("mirrored", "multi_worker", "tpu"),
    "jax": ("data_parallel", "model_parallel"),
    "torch": ("ranks",),
}
# On JAX: after so long without a sign of life a process counts as dead, and the others end.
HEARTBEAT_SECONDS = 30
TF_CONFIG = (
    'in each process, such as {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": '
    '{"type": "worker", "index": 0}} in the first one of two'
)


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Replicas that train one network together.

    Attributes:
        kind: `"none"` or the name of an engine, see `distribution`.
        replicas: Parts that a batch is divided into, in all processes.
        processes: Processes that train together.
        process: Number of this process, from 0.
        engine: The object of the engine: a `tf.distribute` strategy, a `keras.distribution`
            layout, or None.
    """

    kind: str = "none"
    replicas: int = 1
    processes: int = 1
    process: int = 0
    engine: Any = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def is_chief(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.process == 0

    def devices(self) -> dict[str, Any]:
        """What a run notes of the devices that it was trained on."""
        return {"strategy": self.kind, "replicas": self.replicas}

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Where a network has to be built, compiled and trained.

        Example:
            ```python
            from keras_focusseg import models, training

            with training.distribution("auto").scope():
                model = models.FoRNet(num_classes=11, backbone="resnet18")
                model.compile()
                model.fit(train, validation_data=val, epochs=10)
            ```
        """
        if self.kind == "ranks":
            _replicas.train_on_ranks(self.replicas)
            try:
                yield
            finally:
                _replicas.train_on_ranks(1)
        else:
            with contextlib.nullcontext() if self.engine is None else self.engine.scope():
                yield

    @contextlib.contextmanager
    def fit_scope(self) -> Iterator[None]:
        """Where `fit` runs if this process writes files alone during it.

        A model knows the strategy of TensorFlow that it was built under, and within the scope of
        that strategy every new variable is a meeting of all processes.
        """
        with contextlib.nullcontext() if _is_tensorflow() else self.scope():
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Where one process makes or saves variables while the others do not.

        With `keras.distribution` every new variable is placed by all processes together; Keras
        makes some while it saves, and the one that saves would wait for ever.
        """
        if self.kind != "data_parallel" or self.processes == 1:
            yield
            return
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(self.engine)

    def check_batch(self, batch_size: int, name: str = "batch_size") -> None:
        """Refuses a global batch that the replicas do not divide.

        Raises:
            ValueError: With the nearest sizes that they divide.
        """
        if batch_size % self.replicas:
            below = batch_size // self.replicas * self.replicas
            sizes = " or ".join(str(n) for n in (below, below + self.replicas) if n)
            raise ValueError(
                f"{name}={batch_size} images are not divided by {self.replicas} replicas; it is "
                f"the size of the batch of all of them: use {sizes}."
            )

    def training_feed(self, feed: Any) -> Any:
        """What `fit` is given to train on: batches of this process, for ever where need be.

        Args:
            feed: Whole batches of this process' part, as `data.batches` gives them.
        """
        return self._handed_out(feed.repeat()) if self.kind == "multi_worker" else feed

    def validation_feed(self, feed: Any) -> Any:
        """What `fit` is given to validate on: every batch filled up until the replicas divide it.

        What is added are images without a valid pixel, of the size of the others: no metric and
        no loss counts them, so that any number of images of any sizes can be validated.

        Args:
            feed: Batches of the whole split, the same in all processes: a `PyDataset` or a
                `tf.data.Dataset` of images, masks and, if any, sample weights.

        Raises:
            ValueError: The feed is of another form.
        """
        if self.replicas == 1:
            return feed
        if isinstance(feed, keras.utils.PyDataset):
            return FilledBatches(feed, self.replicas, self.part)
        if not hasattr(feed, "element_spec"):
            raise ValueError(
                f"validation_feed takes batches of (images, masks), as a keras.utils.PyDataset or "
                f"a tf.data.Dataset, got a {type(feed).__name__}: data.batches makes them from a "
                "source."
            )
        feed = feed.map(self._filled_tensors)
        return self._handed_out(feed.repeat()) if self.kind == "multi_worker" else feed

    def steps(self, train_feed: Any, val_feed: Any) -> dict[str, int]:
        """Arguments of `fit` that end an epoch of feeds without end."""
        if self.kind != "multi_worker":
            return {}
        return {"steps_per_epoch": len(train_feed), "validation_steps": len(val_feed)}

    def part(self, images: int) -> slice:
        """The images of a filled batch that are this process' own."""
        own = images // self.processes
        return slice(self.process * own, (self.process + 1) * own)

    def _filled_tensors(self, *batch: Any) -> tuple[Any, ...]:
        import tensorflow as tf

        count = tf.shape(batch[0])[0] if batch[0].shape[0] is None else batch[0].shape[0]
        missing = -count % self.replicas
        own = self.part(count + missing)

        def filled(values: Any, fill: int) -> Any:
            paddings = [[0, missing]] + [[0, 0]] * (len(values.shape) - 1)
            return tf.pad(values, paddings, constant_values=tf.cast(fill, values.dtype))[own]

        return tuple(filled(*pair) for pair in zip(batch, FILL, strict=False))

    def _handed_out(self, feed: Any) -> Any:
        """A dataset of this process' batches, cut for its devices.

        TensorFlow would shard a dataset by reading all of it in every process.
        """
        import tensorflow as tf

        devices = self.replicas // self.processes

        def cut(*batch: Any) -> tuple[Any, ...]:
            return tuple(
                tf.reshape(x, tf.concat([[devices, -1], tf.shape(x)[1:]], axis=0)) for x in batch
            )

        spec = feed.element_spec
        if devices > 1:
            shapes = [tf.TensorShape([None, *x.shape[1:]]) for x in spec]
            feed = feed.map(cut).unbatch()
            feed = feed.map(
                lambda *batch: tuple(
                    tf.ensure_shape(x, shape) for x, shape in zip(batch, shapes, strict=True)
                )
            )
        return self.engine.distribute_datasets_from_function(lambda context: feed)


def distribution(strategy: str = "auto") -> Distribution:
    """The replicas that a strategy has on this machine, or among the machines of a job.

    Args:
        strategy: `"none"`: one device. `"auto"`: what this machine or this job offers to the
            backend, or one device. On TensorFlow `"mirrored"`: all GPUs of a machine;
            `"multi_worker"`: the processes that `TF_CONFIG` lists; `"tpu"`: a TPU (never run by
            us). On JAX `"data_parallel"`: all devices that JAX sees, of several processes if
            `KERAS_DISTRIBUTION_*` variables say so; `"model_parallel"`: the same in one process,
            where each device holds a part of each large weight, see `CutWeights`. On PyTorch
            `"ranks"`: the processes that `torchrun` started.

    Returns:
        The replicas; for several processes, once all of them have come.

    Raises:
        ValueError: The backend does not have the strategy, or the job is not described.
    """
    backend = keras.backend.backend()
    if strategy == "auto":
        strategy = _offered(backend)
    if strategy == "none":
        return Distribution()
    if strategy not in OF_BACKEND[backend]:
        others = {name for names in OF_BACKEND.values() for name in names}
        known = ", ".join(sorted(others | {"none", "auto"}))
        if strategy not in others:
            raise ValueError(f"strategy must be one of {known}, got {strategy!r}.")
        raise ValueError(
            f"strategy {strategy!r} is none of Keras' {backend} backend, which would train on one "
            f"device without a word; it has {' and '.join(OF_BACKEND[backend])}."
        )
    return _ENGINES[strategy]()


def _offered(backend: str) -> str:
    """What `"auto"` means here."""
    if backend == "jax":
        several = "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ
        return "data_parallel" if several or len(_jax_devices()) > 1 else "none"
    if backend == "torch":
        return "ranks" if torchrun_number("WORLD_SIZE", 1) > 1 else "none"
    if len(_workers()[0]) > 1:
        return "multi_worker"
    if os.environ.get("TPU_NAME"):
        return "tpu"
    return "mirrored" if len(_tensorflow_devices()) > 1 else "none"


@functools.cache  # collectives of a second one would be taken for those of the first
def _mirrored() -> Distribution:
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(_tensorflow_devices())
    return Distribution("mirrored", strategy.num_replicas_in_sync, engine=strategy)


@functools.cache
def _multi_worker() -> Distribution:
    import tensorflow as tf

    workers, process = _workers()
    if not workers:
        raise ValueError(
            f"strategy 'multi_worker' needs the environment variable TF_CONFIG, {TF_CONFIG}."
        )
    options = tf.distribute.experimental.CommunicationOptions(
        timeout_seconds=watchdog.TIMEOUT_SECONDS
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    replicas = strategy.num_replicas_in_sync
    return Distribution("multi_worker", replicas, len(workers), process, strategy)


def _tpu() -> Distribution:
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            os.environ.get("TPU_NAME", "local")
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(
            f"TensorFlow found no TPU: {str(error).splitlines()[0]} Set TPU_NAME, or use the JAX "
            "backend with strategy 'data_parallel', which is what current TPUs are served by."
        ) from error
    strategy = tf.distribute.TPUStrategy(resolver)
    return Distribution("tpu", strategy.num_replicas_in_sync, engine=strategy)


def _data_parallel() -> Distribution:
    import jax

    if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ and not jax.distributed.is_initialized():
        # Without effect on accelerators; CPUs have no collectives between processes otherwise.
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        initialize = jax.distributed.initialize
        # Keras 3.15 has no argument for it, and JAX takes 100 seconds: so long a process whose
        # neighbor died would wait for it at its own end.
        jax.distributed.initialize = functools.partial(
            initialize, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
        )
        try:
            keras.distribution.initialize()
        except ValueError as error:
            raise ValueError(
                "strategy 'data_parallel' of several processes needs in each of them "
                "KERAS_DISTRIBUTION_JOB_ADDRESSES (host0:8476 of the first one), _NUM_PROCESSES "
                f"and _PROCESS_ID (from 0): {error}"
            ) from error
        finally:
            jax.distributed.initialize = initialize
    engine = keras.distribution.DataParallel(devices=_jax_devices(), auto_shard_dataset=False)
    return Distribution(
        "data_parallel", jax.device_count(), jax.process_count(), jax.process_index(), engine
    )


def _model_parallel() -> Distribution:
    if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ:
        raise ValueError(
            "strategy 'model_parallel' is for the devices of one process: no process of several "
            "has all parts of a weight, and none could write a checkpoint. Use 'data_parallel'."
        )
    devices = _jax_devices()
    return Distribution("model_parallel", len(devices), engine=CutWeights(devices))


def _ranks() -> Distribution:
    import torch.distributed

    check_torchrun()
    if not torch.distributed.is_initialized():
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(torchrun_number("LOCAL_RANK", 0))
        limit = datetime.timedelta(seconds=watchdog.TIMEOUT_SECONDS)
        torch.distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=limit)
    world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    return Distribution("ranks", world, world, rank)


_ENGINES: dict[str, Callable[[], Distribution]] = {
    "mirrored": _mirrored,
    "multi_worker": _multi_worker,
    "tpu": _tpu,
    "data_parallel": _data_parallel,
    "model_parallel": _model_parallel,
    "ranks": _ranks,
}


def _is_tensorflow() -> bool:
    return keras.backend.backend() == "tensorflow"


def _tensorflow_devices() -> list[str]:
    """The GPUs, or where there are none the logical CPUs."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:") for device in devices]


def device_names() -> list[str]:
    """Names of what the backend computes on in this process: its GPUs or TPUs, or "CPU".

    Example:
        ```python
        device_names()    # one A100: ["NVIDIA A100-SXM4-40GB"]
        ```
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU") + tf.config.list_physical_devices("TPU")
        details = [tf.config.experimental.get_device_details(device) for device in found]
        names = [str(detail.get("device_name", "accelerator")) for detail in details]
    elif backend == "jax":
        import jax

        names = [str(device.device_kind) for device in jax.local_devices()]
    else:
        import torch

        count = torch.cuda.device_count()
        names = [torch.cuda.get_device_name(number) for number in range(count)]
    return ["CPU" if name == "cpu" else name for name in names] or ["CPU"]


def _jax_devices() -> list[str]:
    found: list[str] = keras.distribution.list_devices()
    return found


def make_deterministic() -> None:
    """Has accelerators compute by operations that repeat their result, where they are slower.

    To be called before the backend starts. CPUs repeat theirs without it.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    else:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def generator_states() -> dict[str, np.ndarray]:
    """States of the random generators that a step draws from and that no variable holds.

    Keras 3.15 draws a dropout without a seed from PyTorch's own generators.
    """
    if keras.backend.backend() != "torch":
        return {}
    import torch

    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda_{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return {name: state.numpy() for name, state in states.items()}


def set_generator_states(states: Mapping[str, np.ndarray]) -> None:
    """Lets the generators of this machine go on from what `generator_states` returned."""
    for name, state in states.items():
        import torch

        if name == "cpu":
            torch.set_rng_state(torch.from_numpy(state))
        elif int(name.removeprefix("cuda_")) < torch.cuda.device_count():
            torch.cuda.set_rng_state(torch.from_numpy(state), int(name.removeprefix("cuda_")))


def device_memory() -> int | None:
    """Bytes of memory of the first accelerator; None without one, and where nobody says."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        found = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
        return None if found is None else int(found)
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return int(torch.cuda.get_device_properties(0).total_memory)
    return None


def _workers() -> tuple[list[str], int]:
    """Addresses of the processes in TF_CONFIG, the chief's first; and which of them is this one.

    Raises:
        ValueError: TF_CONFIG is there, and does not say that.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        job = json.loads(text)
        if job == {}:
            return [], 0
        cluster, task = job["cluster"], job["task"]
        workers = [*cluster.get("chief", []), *cluster.get("worker", [])]
        return workers, workers.index(cluster[task["type"]][int(task["index"])])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"The environment variable TF_CONFIG is {text!r}; expected {TF_CONFIG}."
        ) from error
