"""Settings that hold for the whole suite: few threads, fixed seeds, JAX's caches, markers."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# Most of the suite's time on JAX is spent compiling functions that run once: compile them fast.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

REPOSITORY = Path(__file__).resolve().parent.parent
# Real CamVid frames and ImageNet weights cannot be part of the project; whoever has them points
# here. The default is a folder named "shared" beside the repository.
SHARED = Path(os.environ.get("FOCUSSEG_SHARED", REPOSITORY.parent / "shared"))
# Tests that compute nothing with Keras: `make test` runs them with the first backend alone.
BACKEND_FREE = (
    "cli/",  # it has no logic of its own, so one backend is enough
    "data/checkup/",
    "data/feeds/test_balance.py",
    "data/feeds/test_statistics.py",
    "data/records/",
    "data/sources/",
    "data/test_opening.py",
    "data/transforms/test_augment.py",
    "data/transforms/test_steps.py",
    "inference/test_results.py",
    "inference/test_windows.py",
    "label_spaces/",
    "metrics/test_boundary.py",
    "metrics/test_confusion.py",
    "pictures/",
    "presets/test_hub.py",
    "streets/",
    "test_docs.py",
    "test_errors.py",
    "test_readme.py",
    "test_walls.py",
    "visualization/test_checkup_page.py",
    "visualization/test_contact_sheet.py",
)


def pytest_configure(config: pytest.Config) -> None:
    import keras

    if keras.backend.backend() == "jax":
        import jax

        # Every eager operation of JAX compiles once; kept on disk, a second run is 4 times faster.
        jax.config.update("jax_compilation_cache_dir", str(REPOSITORY / ".cache" / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(tests):
            if item.path.relative_to(tests).as_posix().startswith(BACKEND_FREE):
                item.add_marker("backend_free")
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason=f"needs the shared data and weights, absent from {SHARED}")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def shared_dir() -> Path:
    """Folder with `data/camvid`, `weights` and `labels`; only for tests marked `shared`."""
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the library keeps between runs stays in this run, and out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOCUSSEG_HOME", str(tmp_path_factory.mktemp("focusseg_home")))
        yield


@pytest.fixture(autouse=True, scope="module")
def memory_given_back() -> Iterator[None]:
    """What a file's tests compiled goes with the file: a process on JAX grew to 5 GB without."""
    yield
    import keras

    keras.backend.clear_session(free_memory=False)
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()
    gc.collect()


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    import keras

    keras.utils.set_random_seed(7)


@pytest.fixture
def mixed_precision() -> Iterator[str]:
    """Sets the mixed policy of the backend for one test: bfloat16, which CPUs compute too."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield "bfloat16"
    keras.config.set_dtype_policy(before)
