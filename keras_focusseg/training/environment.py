"""In what a run takes place: versions, devices, command, the state of the sources."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras

from keras_focusseg.training.distribution import Distribution, device_names

PACKAGES = (
    "keras-focusseg",
    "keras",
    "numpy",
    "pillow",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "jaxlib",
    "torch",
)


def environment(spread: Distribution) -> dict[str, Any]:
    """What a run has to say of the place where it ran, to be repeated.

    Args:
        spread: The replicas that train.

    Returns:
        Plain values: `"command"`, `"started"`, `"backend"`, `"strategy"`, `"replicas"`,
        `"devices"`, `"machine"`, `"python"`, `"packages"` and, where the command was started in a
        Git repository, `"git_revision"`, with "+" where files differ from it.
    """
    program = Path(sys.argv[0]).name
    if program == "__main__.py":  # python -m keras_focusseg.cli
        program = "focusseg"
    return {
        "command": shlex.join([program, *sys.argv[1:]]),
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "backend": keras.backend.backend(),
        "strategy": spread.kind,
        "replicas": spread.replicas,
        "devices": device_names(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "git_revision": _git_revision(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """Of the folder that the command was started in."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
