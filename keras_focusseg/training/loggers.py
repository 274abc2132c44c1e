"""Runs told to Weights & Biases or MLflow, through the callbacks that these bring for Keras."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from keras_focusseg.training.recipe import Recipe

PROJECT = "keras-focusseg"
LOGGERS = ("wandb", "mlflow")


def logger(name: str, recipe: Recipe, folder: Path) -> keras.callbacks.Callback:
    """A callback that tells a service the figures of each epoch.

    Where they go, and under whose name, is said by the service's own environment variables, such
    as `WANDB_MODE=offline` or `MLFLOW_TRACKING_URI=sqlite:///mlflow.db`.

    Args:
        name: `"wandb"` (Weights & Biases) or `"mlflow"`.
        recipe: Stored with the run; its name is that of the run.
        folder: The run's folder.

    Raises:
        ValueError: The name is unknown, the package is not installed, or the service refuses.
    """
    service = _service(name)
    config = recipe.to_config()
    if name == "wandb":
        with _refusal("Weights & Biases", service.Error, "WANDB_MODE=offline"):
            service.init(project=PROJECT, name=recipe.name, config=config, dir=str(folder))
        return _imported("wandb.integration.keras").WandbMetricsLogger()
    with _refusal("MLflow", service.MlflowException, "MLFLOW_TRACKING_URI=sqlite:///mlflow.db"):
        service.set_experiment(PROJECT)
        service.start_run(run_name=recipe.name)
        service.log_dict(config, "recipe.json")
    return _imported("mlflow.keras").MlflowCallback()


def end(name: str) -> None:
    """Tells a service that the run is over."""
    service = _service(name)
    (service.finish if name == "wandb" else service.end_run)()


def check_logger(name: str) -> None:
    """Refuses a service that is not there, before anything is done.

    Raises:
        ValueError: As for `logger`.
    """
    _service(name)


@contextlib.contextmanager
def _refusal(service: str, error: type[Exception], example: str) -> Iterator[None]:
    """Says in one sentence that a service takes no run, with the first sentence of its reason."""
    try:
        yield
    except error as refused:
        reason = " ".join(str(refused).split()).split(". ")[0].rstrip(".")
        raise ValueError(
            f"{service} takes no run ({reason}): say by its environment variables where the "
            f"figures go, for example {example}, or leave out --log-to."
        ) from refused


def _service(name: str) -> Any:
    if name not in LOGGERS:
        raise ValueError(f"log_to must be {' or '.join(map(repr, LOGGERS))}, got {name!r}.")
    return _imported(name)


def _imported(module: str) -> ModuleType:
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"--log-to {package} needs the package {package}, which could not be imported "
            f"({error}): pip install 'keras-focusseg[{package}]'."
        ) from error
