"""What lies in folders of runs: how far each is, and the best it reached."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

from keras_focusseg import files
from keras_focusseg.training.run_folder import ended_early, is_in_use


@dataclasses.dataclass(frozen=True)
class Run:
    """One run as its folder shows it.

    Args:
        folder: Its folder.
        name: Name of its recipe.
        state: `"running"`, `"finished"` or `"stopped"`.
        epochs: Epochs it is to have; `None` where that is not noted.
        history: Rows of `log.csv`, one an epoch; what an epoch has no value for is missing.
    """

    folder: Path
    name: str
    state: str
    epochs: int | None
    history: tuple[dict[str, float], ...]

    @property
    def best(self) -> tuple[float, int] | None:
        """Highest validated mean IoU and its epoch; `None` before the first validation."""
        scores = [
            (row["val_mean_iou"], -int(row["epoch"]))
            for row in self.history
            if math.isfinite(row.get("val_mean_iou", math.nan))
        ]
        if not scores:
            return None
        value, epoch = max(scores)
        return value, -epoch


def find_runs(folder: str | Path = "runs") -> list[Run]:
    """The runs of a folder and of the folders in it, by name of the folder.

    Args:
        folder: Folder of a run, or one that holds such folders.

    Raises:
        ValueError: There is no such folder, or no run in it.

    Example:
        ```python
        for run in find_runs("runs"):
            print(run.name, run.state, run.best)
        ```
    """
    folder = Path(folder)
    recipes = [folder / "recipe.json", *sorted(folder.glob("**/recipe.json"))]
    found = dict.fromkeys(path.parent for path in recipes if path.is_file())
    if not found:
        what = "holds no runs" if folder.is_dir() else "is no folder"
        raise ValueError(
            f"{folder.resolve()} {what}: a run is a folder with recipe.json, which focusseg train "
            "writes. Name a folder with runs: focusseg runs FOLDER."
        )
    return [_run(path) for path in found]


def _run(folder: Path) -> Run:
    recipe = files.read_json(folder / "recipe.json")
    noted: dict[str, Any] = {}
    if (folder / "run.json").is_file():
        noted = files.read_json(folder / "run.json")
    history = tuple(_rows(folder / "log.csv"))
    epochs = noted.get("epochs")
    run = Run(folder, str(recipe.get("name", folder.name)), "stopped", epochs, history)
    if is_in_use(folder):
        return dataclasses.replace(run, state="running")
    done = epochs is not None and len(history) >= epochs
    best_epoch = run.best[1] if run.best else 0
    if done or ended_early(history, best_epoch, recipe.get("patience")):
        return dataclasses.replace(run, state="finished")
    return run


def _rows(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [
            {name: float(value) for name, value in row.items() if name and value}
            for row in csv.DictReader(file)
        ]
