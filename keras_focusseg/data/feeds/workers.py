"""What loads the samples of a plan: threads of this process, or processes of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from keras_focusseg.data.feeds.plan import Plan
from keras_focusseg.data.transforms.canvas import Pair
from keras_focusseg.errors import DataError

Load = Callable[[int, int], Pair]
"""From epoch and key to image (H, W, 3) uint8 and mask (H, W) uint8."""


class Workers:
    """Several threads or processes that load samples of a plan.

    Threads share memory, and Pillow and NumPy let them run side by side for most of the work.
    Processes do where the rest, Python's own, is what holds threads up. Each takes some seconds
    to start, since it imports the library, and hands its samples over through a pipe. It does not
    touch accelerators. See `Plan.sample` for the size.
    """

    def __init__(
        self, plan: Plan, size: tuple[int, int] | None, count: int, processes: bool
    ) -> None:
        self._pool: Executor
        if processes:
            # Started anew and not forked: a copy of a process whose backend has threads may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(count, context, _begin, (plan, size))
            self._load: Load = _load
        else:
            self._pool = ThreadPoolExecutor(count, thread_name_prefix="focusseg-data")
            self._load = partial(plan.sample, size=size)

    def submit(self, epoch: int, key: int) -> Future[Pair]:
        """Begin to load a sample; see `Plan.sample` for what may be raised."""
        return self._pool.submit(self._load, epoch, key)


@contextlib.contextmanager
def told_of_death() -> Iterator[None]:
    """Says what it means that a worker process is gone.

    Raises:
        DataError: One died.
    """
    try:
        yield
    except BrokenProcessPool as error:
        raise DataError(
            "a process that reads and augments for the feed died",
            kind="worker process that died",
            fix="If no error of its own stands above, the system ended it, most likely for memory: "
            "take fewer of them (workers), or threads in their place.",
        ) from error


_loads: Load  # of a worker process


def _begin(plan: Plan, size: tuple[int, int] | None) -> None:
    """Runs once in each worker process."""
    global _loads
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    _loads = partial(plan.sample, size=size)


def _load(epoch: int, key: int) -> Pair:
    """Runs in a worker process."""
    return _loads(epoch, key)
