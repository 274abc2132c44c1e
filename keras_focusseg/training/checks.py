"""What a run looks at before it trains: recipe, data, and what lies in its folder."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from rich.progress import Progress

from keras_focusseg import data, files, presets
from keras_focusseg.presets.registry import checked_weights
from keras_focusseg.training.checkpoints import checkpoint_to_resume, newest_checkpoint
from keras_focusseg.training.recipe import Recipe

WITHOUT_EFFECT = (
    "save_every",
    "workers",
    "worker_processes",
    "steps_per_execution",
    "jit_compile",
)
"""Values of a recipe that change nothing of what is trained: a run may be resumed with others.

The devices that it goes on on may not have the last two.
"""


def class_counts(source: data.Source, shown: bool) -> np.ndarray:
    """The pixels of each class, counted under a progress bar; later calls find them kept."""
    with Progress(transient=True, disable=not (shown and sys.stdout.isatty())) as progress:
        task = progress.add_task(f"counting classes of {source.name} {source.split}", total=None)

        def advance(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        counts = data.class_counts(source, advance)
    if shown:
        print(f"Counted the classes in {len(counts)} masks.", flush=True)
    return counts


def warn_of_absent_classes(source: data.Source, counts: np.ndarray | None, shown: bool) -> None:
    """Says which classes no training image shows, if the masks are files or were counted anyway."""
    if counts is None:
        if not source.files(0)[1:]:  # made anew in each epoch, and slow to make
            return
        counts = class_counts(source, shown)
    seen = counts[:, :-1].sum(axis=0) > 0
    classes = source.label_space.classes
    absent = [name for name, is_seen in zip(classes, seen, strict=True) if not is_seen]
    if absent:
        warnings.warn(
            f"No image of {source.name} {source.split} shows {', '.join(absent)}: the network "
            "cannot learn what it never sees, and where the validation shows it, its IoU will be "
            "0. Add images that show it, or take a label space without it.",
            stacklevel=4,
        )


def check_start(recipe: Recipe) -> None:
    """Refuses what cannot be trained, or from weights that are not there, before data are read.

    Raises:
        ValueError: What the recipe says does not go together, or a file is not there.
    """
    if recipe.worker_processes and recipe.cache is not None:
        raise ValueError(
            f"worker_processes=True cannot be had with cache={recipe.cache!r}: processes do not "
            "see what this one keeps in memory. Give cache=None (focusseg train: --set cache=none)."
        )
    source = recipe.backbone_weights
    if source is not None and Path(source).suffix in (".h5", ".npz", ".pth", ".safetensors"):
        if not str(source).startswith("hf://") and not Path(source).is_file():
            raise ValueError(f"There is no file {source}; backbone_weights must name one.")
    for preset in (recipe.pretrained, *recipe.teachers()):
        if preset is not None and presets.record(preset).weights is None:
            raise ValueError(
                f"No public weights exist for {str(preset)!r}: nothing can start or learn from it."
            )
    if recipe.pretrained is not None:
        _check_same_network(recipe, presets.record(recipe.pretrained))


def _check_same_network(recipe: Recipe, record: presets.PresetRecord) -> None:
    """Refuses a recipe that tells of another network than the preset that it starts from."""
    where = f"pretrained={str(recipe.pretrained)!r}"
    theirs, ours = presets.network_class(record.network), presets.network_class(recipe.network)
    if theirs is not ours:
        raise ValueError(
            f"{where} is a {theirs.__name__}, and network is {recipe.network!r}: a run starts from "
            "a preset of its own network."
        )
    told = json.loads(files.json_text(recipe.network_config))
    others = [name for name, value in told.items() if record.config.get(name) != value]
    if others:
        name = others[0]
        raise ValueError(
            f"{where} comes with its own arguments, and network_config has others: "
            f"{', '.join(others)}, for example {name} is {record.config.get(name)!r} there and "
            f"{told[name]!r} here. Leave them out, or train from backbone_weights."
        )


def check_same_classes(train: data.Source, val: data.Source) -> None:
    """Refuses splits whose classes differ.

    Raises:
        ValueError: They differ.
    """
    ours, theirs = train.label_space.classes, val.label_space.classes
    if ours != theirs:
        raise ValueError(
            f"{train.name} {train.split} has the classes {', '.join(ours)}, and {val.split} has "
            f"{', '.join(theirs)}, so one's class k is not the other's. Give both the same label "
            "space, class table or list of categories."
        )


def check_best(best: Path, otherwise: str) -> None:
    """Refuses to end a run with best weights that are not there, or damaged.

    Raises:
        ValueError: They are not there, or damaged.
    """
    record = best / "preset.json"
    if not record.is_file():
        raise ValueError(
            f"{best} is not there: {otherwise}, or the folder was removed. Look at val_mean_iou in "
            "log.csv, then train anew."
        )
    try:
        checked_weights(presets.record(best), record)
    except ValueError as error:
        raise ValueError(f"{best} cannot be used: {error}") from error


def check_run_folder(recipe: Recipe, folder: Path, resume: bool) -> None:
    """Refuses to start over what a run left, and to resume what is not there or another run.

    Raises:
        ValueError: The folder holds a run, no checkpoint, or a run of another recipe.
    """
    for name in ("best", "checkpoints", "tensorboard"):
        files.check_folder(folder / name)
    for name in ("recipe.json", "log.csv"):
        files.check_file(folder / name)
    if not resume:
        left = [name for name in ("best", "log.csv") if (folder / name).exists()]
        if newest_checkpoint(folder) is not None or (left and _ended_early(folder)):
            raise ValueError(
                f"{folder} holds a run already. Give --resume to go on with it, or another folder."
            )
        if left:
            raise ValueError(
                f"{folder} holds {' and '.join(left)} of a run, and no checkpoint to resume. "
                "Name another folder, or remove what you do not need."
            )
        return
    if not _ended_early(folder):
        checkpoint_to_resume(folder)
    stored = folder / "recipe.json"
    config = files.read_json(stored)
    try:
        before = Recipe.from_config(config).to_config()
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{stored} holds no recipe: {error}") from error
    before, now = (json.loads(files.json_text(each)) for each in (before, recipe.to_config()))
    changed = sorted(key for key in now if now[key] != before[key] and key not in WITHOUT_EFFECT)
    if changed:
        raise ValueError(
            f"{folder} was started with another recipe: {', '.join(changed)} differ, for example "
            f"{changed[0]} was {before[changed[0]]!r} and is {now[changed[0]]!r} now. Resume "
            "with the same recipe, or start another folder."
        )


def _ended_early(folder: Path) -> bool:
    """Whether a run began here and ended before its first checkpoint: nothing of it is lost.

    A row of the log comes after a checkpoint, so where there is a log somebody took that away.
    """
    begun = (folder / "recipe.json").is_file() and not (folder / "log.csv").exists()
    return begun and newest_checkpoint(folder) is None
