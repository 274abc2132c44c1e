"""Settings that hold for the whole suite: few threads, fixed seeds, JAX's caches, markers."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# Most of the suite's time on JAX is spent compiling functions that run once: compile them fast. The
# emitters of fused loops alone take half of the time.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)

REPOSITORY = Path(__file__).resolve().parent.parent
# Every eager operation of JAX compiles once; kept on disk, a second run is 4 times faster. As
# variables they reach the processes that tests start, and cost no import of JAX here.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(REPOSITORY / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")

# Real CamVid frames and ImageNet weights cannot be part of the project; whoever has them points
# here. The default is a folder named "shared" beside the repository.
SHARED = Path(os.environ.get("FOCUSSEG_SHARED", REPOSITORY.parent / "shared"))
# Tests for which one backend is enough: they compute nothing with Keras, or ask how networks are
# laid out, stored and used, while tests with golden files hold the backends together. `make test`
# runs them with the first backend alone, but for those marked `each_backend`.
BACKEND_FREE = (
    "backbones/test_bridges.py",
    "backbones/test_efficientnet_lite.py",
    "backbones/test_large_kernel.py",
    "backbones/test_mobilenet_edgetpu.py",
    "backbones/test_mobilenet_v2.py",
    "backbones/test_resnet.py",
    "cli/",
    "data/checkup/",
    "data/feeds/",
    "data/records/",
    "data/sources/",
    "data/test_opening.py",
    "data/transforms/",
    "inference/",
    "label_spaces/",
    "metrics/test_boundary.py",
    "metrics/test_confusion.py",
    "metrics/test_per_image.py",
    "models/test_fornet_loss.py",
    "models/test_fornet_numerics.py",
    "models/test_fornet_regions.py",
    "models/test_fornet_structure.py",
    "models/test_fornet_torch.py",
    "models/test_fornet_training.py",
    "models/test_scrnet.py",
    "models/test_scrnet_training.py",
    "models/test_sernet_former.py",
    "models/test_sernet_former_parts.py",
    "pictures/",
    "presets/",
    "streets/",
    "test_backend.py",
    "test_comparison.py",
    "test_docs.py",
    "test_docstrings.py",
    "test_errors.py",
    "test_files.py",
    "test_image_data_format.py",
    "test_in_browser.py",
    "test_peers.py",
    "test_readme.py",
    "test_release_preset.py",
    "test_remote.py",
    "test_walls.py",
    "training/",
    "visualization/",
    "keras_focusseg/",  # the examples in its docstrings
)


def of_tests(path: Path) -> str:
    """Where a file stands: in `tests/`, or else in the repository."""
    return path.relative_to(REPOSITORY).as_posix().removeprefix("tests/")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files that `-m "not backend_free"` would leave out as a whole are not even imported."""
    if config.option.markexpr != "not backend_free" or collection_path.suffix != ".py":
        return None
    is_free = of_tests(collection_path).startswith(BACKEND_FREE)
    return (is_free and "each_backend" not in collection_path.read_text("utf-8")) or None


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if of_tests(item.path).startswith(BACKEND_FREE) and "each_backend" not in item.keywords:
            item.add_marker("backend_free")
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason=f"needs the shared data and weights, absent from {SHARED}")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


def free_garbage() -> None:
    """Frees what nobody holds; no later collection looks through what is left, which stays."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    free_garbage()  # all modules of the tests, and what they import, are there


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
    free_garbage()


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
