"""Runs a recipe: data, network, schedule, checkpoints, from one call."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.progress import Progress

from keras_focusseg import backbones, data, files, losses, models, optimizers, presets
from keras_focusseg.optimizers import WarmupCosine, WarmupPoly, WarmupStep
from keras_focusseg.presets.registry import checked_weights
from keras_focusseg.training.callbacks import StopOnNaN, ValidateAverages
from keras_focusseg.training.distribution import Distribution, distribution
from keras_focusseg.training.recipe import Recipe
from keras_focusseg.training.run_folder import (
    RunFolder,
    checkpoint_to_resume,
    locked,
    newest_checkpoint,
)
from keras_focusseg.training.trainee import with_helpers

CALIBRATION_IMAGES = 32


def train(
    recipe: Recipe,
    data_root: str | Path | None = None,
    run_folder: str | Path = "runs/run",
    resume: bool = False,
    verbose: int | None = None,
    strategy: str = "none",
) -> Path:
    """Trains as a recipe says and keeps the best weights by validation mIoU.

    Writes into `run_folder`: `recipe.json`, `log.csv`, `tensorboard/`, `checkpoints/` (the last
    finished epoch), and `best/`, a folder that `presets.load` takes.

    Args:
        recipe: What to do.
        data_root: Folder of the dataset; not needed for synthetic scenes.
        run_folder: Where everything of this run is written.
        resume: Go on after the last finished epoch of `run_folder`.
        verbose: Keras' 0, 1 or 2; by default a progress bar on a terminal, else a line an epoch.
        strategy: Devices that train together, see `distribution`. `batch_size` is that of all of
            them, so a recipe means the same on one device and on many, and a run may be resumed
            on other devices than it was started on.

    Returns:
        The folder `best/`, which the first of several processes writes.

    Raises:
        ValueError: `run_folder` holds another run, is in use, or has nothing to resume; the data
            do not fit the recipe; the devices do not divide the batch; or there are no best
            weights.
        TrainingDiverged: The loss is no longer finite.

    Example:
        ```python
        from keras_focusseg import presets, training

        recipe = training.load_recipe("recipes/fornet_mobilenet_v2_synthetic_streets.py")
        best = training.train(recipe.replace(epochs=2), run_folder="runs/try")
        model = presets.load(best)
        ```
    """
    run_folder = Path(run_folder)
    files.check_folder(run_folder)
    presets.network_class(recipe.network)
    _check_start(recipe)
    _check_run_folder(recipe, run_folder, resume)
    keras.utils.set_random_seed(recipe.seed)
    spread = distribution(strategy)  # before anything else starts the backend
    spread.check_batch(recipe.batch_size)
    if not spread.is_chief:
        verbose = 0
    # The first of several processes writes; the others read what it resumes from.
    with locked(run_folder) if spread.is_chief else contextlib.nullcontext():
        _check_run_folder(recipe, run_folder, resume)  # another run may have ended since
        return _train(recipe, data_root, run_folder, resume, verbose, spread)


def _train(
    recipe: Recipe,
    data_root: str | Path | None,
    run_folder: Path,
    resume: bool,
    verbose: int | None,
    spread: Distribution,
) -> Path:
    """What `train` does, in a folder that is this run's."""
    train_source = data.open_source(
        recipe.dataset,
        data_root,
        recipe.train_split,
        **{**recipe.dataset_options, **recipe.train_options},
    )
    if recipe.cache == "memory":
        train_source = data.Cached(train_source)
    val_source = data.open_source(
        recipe.dataset,
        data_root,
        recipe.val_split,
        **{**recipe.dataset_options, **recipe.val_options},
    )
    _check_same_classes(train_source, val_source)
    if verbose != 0:
        for source in (train_source, val_source):
            print(source, flush=True)
    steps = len(train_source) // recipe.batch_size
    if steps == 0:
        raise ValueError(
            f"{recipe.dataset} {recipe.train_split} has {len(train_source)} images, fewer than "
            f"one batch of {recipe.batch_size}; lower batch_size."
        )
    epochs = recipe.num_epochs(steps)
    counts = None
    if recipe.class_weights is not None or recipe.class_uniform:
        counts = _class_counts(train_source, shown=verbose != 0)
    best = run_folder / "best"

    def save_best(epoch: int, value: float) -> None:
        presets.save(
            model,
            best,
            name=recipe.name,
            label_space=train_source.label_space,
            recipe=recipe.to_config(),
            training={
                "epochs_done": epoch,
                "monitor": f"val mean_iou {value:.4f} ({recipe.dataset} {recipe.val_split})",
            },
        )

    folder = RunFolder(run_folder, save_best, spread=spread)
    epochs_done = 0
    with spread.scope():
        model = build_model(recipe, train_source, load_weights=not resume)
        trainee = with_helpers(recipe, model, train_source)
        trainee.compile(
            make_optimizer(recipe, steps),
            jit_compile=recipe.jit_compile,
            steps_per_execution=recipe.steps_per_execution,
        )
        folder.set_model(trainee)
        if resume:
            trainee.optimizer.build(trainee.trainable_variables)
            epochs_done = folder.restore()
    if spread.is_chief:
        files.write_json(run_folder / "recipe.json", recipe.to_config())
    if epochs_done < epochs:
        train_feed = data.batches(
            train_source,
            recipe.batch_size,
            data.augmentation(recipe.augment),
            shuffle=True,
            seed=recipe.seed,
            cache=recipe.cache,
            drop_remainder=True,
            start_epoch=epochs_done,
            class_uniform=recipe.class_uniform,
            class_counts=counts if recipe.class_uniform else None,
            shard=(spread.process, spread.processes),
        )
        val_feed = data.batches(val_source, recipe.val_batch_size, cache=recipe.cache)
        callbacks: list[keras.callbacks.Callback] = [StopOnNaN(), folder]
        if recipe.ema:
            callbacks.append(ValidateAverages())
        with spread.fit_scope(), _told_of_others(spread):
            trainee.fit(
                spread.training_feed(train_feed),
                validation_data=spread.validation_feed(val_feed),
                validation_freq=[
                    epoch
                    for epoch in range(1, epochs + 1)
                    if epoch % recipe.validate_every == 0 or epoch == epochs
                ],
                epochs=epochs,
                initial_epoch=epochs_done,
                callbacks=callbacks,
                shuffle=False,  # the data come shuffled
                verbose=(1 if sys.stdout.isatty() else 2) if verbose is None else verbose,
                **spread.steps(train_feed, val_feed),
            )
    if spread.is_chief:
        _check_best(best, f"no validation on {recipe.dataset} {recipe.val_split} gave a mIoU")
    return best


@contextlib.contextmanager
def _told_of_others(spread: Distribution) -> Iterator[None]:
    """Adds to an error what it may mean where several processes train together."""
    try:
        yield
    except Exception as error:
        if spread.processes > 1:
            error.add_note(
                f"Process {spread.process} of {spread.processes} stops. If the error speaks of a "
                "connection, a worker or a deadline, another process died or hangs, and its own "
                "output says why. Start all of them again with --resume: the run goes on after "
                "the last finished epoch, also on another number of devices."
            )
        raise


def build_model(recipe: Recipe, source: data.Source, load_weights: bool = True) -> models.Segmenter:
    """The network of a recipe for the classes of a source, with the weights it starts from.

    It computes in `recipe.precision`.
    """
    num_classes = source.label_space.num_classes
    if recipe.pretrained is not None:
        model: models.Segmenter = presets.load(
            recipe.pretrained, num_classes=num_classes, dtype=recipe.precision
        )
    else:
        config = {"dtype": recipe.precision, **recipe.network_config}
        if recipe.class_weights is not None:
            config["class_weights"] = data.class_weights(source, recipe.class_weights)
        network = presets.network_class(recipe.network)
        try:
            model = network(num_classes=num_classes, **config)
        except TypeError as error:
            raise ValueError(
                f"{recipe.network} cannot be built from network_config: {error}"
            ) from error
        if load_weights and recipe.backbone_weights is not None:
            backbones.load_weights(
                model.backbone,
                recipe.backbone_weights,
                calibration_images=partial(_calibration_images, recipe, source),
            )
    if recipe.ohem_threshold is not None:
        model.cross_entropy = losses.CrossEntropy(
            ignore_class=model.ignore_class,
            class_weights=model.cross_entropy.class_weights,
            ohem_threshold=recipe.ohem_threshold,
            ohem_min_kept=recipe.ohem_min_kept,
        )
    if recipe.freeze_backbone:
        model.backbone.trainable = False
    if recipe.freeze_backbone_norm:
        for layer in model.backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    return model


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> optimizers.AdamW | optimizers.SGD:
    """The optimizer of a recipe, with its schedule over all steps of the run."""
    total = steps_per_epoch * recipe.num_epochs(steps_per_epoch)
    peak, warmup = recipe.learning_rate, min(recipe.warmup_steps, total - 1)
    schedule: WarmupPoly | WarmupCosine | WarmupStep
    if recipe.schedule == "step":
        every = recipe.step_epochs * steps_per_epoch
        schedule = WarmupStep(peak, every, recipe.step_factor, warmup, recipe.warmup_start)
    elif recipe.schedule == "cosine":
        schedule = WarmupCosine(peak, total, warmup, warmup_start=recipe.warmup_start)
    else:
        schedule = WarmupPoly(peak, total, warmup, recipe.power, warmup_start=recipe.warmup_start)
    options: dict[str, Any] = {
        "weight_decay": recipe.weight_decay,
        "head_learning_rate_factor": recipe.head_learning_rate_factor,
        "stage_learning_rate_factor": recipe.stage_learning_rate_factor,
        "global_clipnorm": recipe.clip_norm or None,
        "ema": recipe.ema,
    }
    if recipe.optimizer == "sgd":
        return optimizers.SGD(schedule, recipe.momentum, **options)
    return optimizers.AdamW(schedule, **options)


def _calibration_images(recipe: Recipe, source: data.Source) -> Any:
    batches = data.batches(
        source,
        min(CALIBRATION_IMAGES, len(source)),
        data.augmentation(recipe.augment).at_scale_1(),
        shuffle=True,
        feed="pydataset",
    )
    return batches[0][0]


def _class_counts(source: data.Source, shown: bool) -> np.ndarray:
    """The pixels of each class, counted under a progress bar; later calls find them kept."""
    with Progress(transient=True, disable=not (shown and sys.stdout.isatty())) as progress:
        task = progress.add_task(f"counting classes of {source.name} {source.split}", total=None)

        def advance(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        counts = data.class_counts(source, advance)
    if shown:
        print(f"Counted the classes in {len(counts)} masks.", flush=True)
    return counts


def _check_start(recipe: Recipe) -> None:
    """Refuses weights to start from that are not there, before the data are read."""
    source = recipe.backbone_weights
    if source is not None and Path(source).suffix in (".h5", ".npz", ".pth", ".safetensors"):
        if not str(source).startswith("hf://") and not Path(source).is_file():
            raise ValueError(f"There is no file {source}; backbone_weights must name one.")
    for preset in (recipe.pretrained, recipe.teacher):
        if preset is not None:
            presets.record(preset)


def _check_same_classes(train: data.Source, val: data.Source) -> None:
    ours, theirs = train.label_space.classes, val.label_space.classes
    if ours != theirs:
        raise ValueError(
            f"{train.name} {train.split} has the classes {', '.join(ours)}, and {val.split} has "
            f"{', '.join(theirs)}, so one's class k is not the other's. Give both the same label "
            "space, class table or list of categories."
        )


def _check_best(best: Path, otherwise: str) -> None:
    """Refuses to end a run with best weights that are not there, or damaged."""
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


def _check_run_folder(recipe: Recipe, folder: Path, resume: bool) -> None:
    """Refuses to start over what a run left, and to resume what is not there or another run."""
    for name in ("best", "checkpoints", "tensorboard"):
        files.check_folder(folder / name)
    for name in ("recipe.json", "log.csv"):
        files.check_file(folder / name)
    if not resume:
        left = [name for name in ("best", "log.csv") if (folder / name).exists()]
        if newest_checkpoint(folder) is not None:
            raise ValueError(
                f"{folder} holds a run already. Give --resume to go on with it, or another folder."
            )
        if left:
            raise ValueError(
                f"{folder} holds {' and '.join(left)} of a run, and no finished epoch to resume. "
                "Name another folder, or remove what you do not need."
            )
        return
    checkpoint_to_resume(folder)
    stored = folder / "recipe.json"
    config = files.read_json(stored)
    try:
        before = Recipe.from_config(config).to_config()
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{stored} holds no recipe: {error}") from error
    before, now = (json.loads(files.json_text(each)) for each in (before, recipe.to_config()))
    changed = sorted(key for key in now if now[key] != before[key])
    if changed:
        raise ValueError(
            f"{folder} was started with another recipe: {', '.join(changed)} differ, for example "
            f"{changed[0]} was {before[changed[0]]!r} and is {now[changed[0]]!r} now. Resume "
            "with the same recipe, or start another folder."
        )
