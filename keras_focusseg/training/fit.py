"""Runs a recipe: data, network, schedule, checkpoints, from one call."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras

from keras_focusseg import backbones, data, files, losses, models, optimizers, presets
from keras_focusseg._replica_checks import check_rank
from keras_focusseg.models.mask_trainer import MaskTrainer
from keras_focusseg.optimizers import WarmupCosine, WarmupPoly, WarmupStep
from keras_focusseg.training.callbacks import RunCallbacks, StopOnNaN, ValidateAverages
from keras_focusseg.training.checkpoints import (
    Position,
    SaveEvery,
    check_space,
    newest_checkpoint,
    remove_leftovers,
)
from keras_focusseg.training.checks import (
    check_best,
    check_run_folder,
    check_same_classes,
    check_start,
    class_counts,
    warn_of_absent_classes,
)
from keras_focusseg.training.distribution import Distribution, distribution, make_deterministic
from keras_focusseg.training.environment import environment
from keras_focusseg.training.failures import explained
from keras_focusseg.training.loggers import check_logger, end, logger
from keras_focusseg.training.recipe import Recipe
from keras_focusseg.training.report import Report, Speed
from keras_focusseg.training.run_folder import RunFolder, locked
from keras_focusseg.training.stopping import Signals
from keras_focusseg.training.trainee import with_helpers
from keras_focusseg.training.watchdog import Watchdog

CALIBRATION_IMAGES = 32
ALL_AGAIN = (
    "Start all of them again with --resume: the run goes on from the last checkpoint, also on "
    "another number of devices."
)


def train(
    recipe: Recipe,
    data_root: str | Path | None = None,
    run_folder: str | Path = "runs/run",
    resume: bool = False,
    verbose: int | None = None,
    strategy: str = "none",
    limit: int | None = None,
    report: bool = False,
    log_to: str | None = None,
    deterministic: bool = False,
) -> Path:
    """Trains as a recipe says and keeps the best weights by validation mIoU.

    Writes into `run_folder`: `recipe.json`, `run.json` (the command, versions, devices), `log.csv`,
    `tensorboard/`, `checkpoints/` (the last two), and `best/`, a folder that `presets.load` takes.

    A run that was killed goes on from its last checkpoint, and ends with the weights and the log
    of one that was not. SIGTERM and Ctrl-C let it save one first.

    Args:
        recipe: What to do.
        data_root: Folder of the dataset; not needed for synthetic scenes.
        run_folder: Where everything of this run is written.
        resume: Go on from the last checkpoint in `run_folder`; from the start where the run ended
            before its first.
        verbose: Keras' 0, 1 or 2; by default a progress bar on a terminal, else a line an epoch.
        strategy: Devices that train together, see `distribution`. `batch_size` is that of all of
            them, so a recipe means the same on one device and on many, and a run may be resumed
            on other devices than it was started on.
        limit: At most so many images of either split, for a trial; `None` takes all.
        report: Write `report.html` after each validation and at the end, and pictures of a few
            frames into TensorBoard; see `Report`.
        log_to: `"wandb"` or `"mlflow"`: tell the figures to this service as well.
        deterministic: Has accelerators compute by operations that repeat their result, slower;
            on CPUs a run repeats itself without. Holds for the process from then on.

    Returns:
        The folder `best/`, which the first of several processes writes.

    Raises:
        ValueError: `run_folder` holds another run, is in use, or has nothing to resume; the data
            do not fit the recipe; the devices do not divide the batch; or there are no best
            weights.
        TrainingDiverged: The loss is no longer finite.
        TrainingStopped: SIGTERM or Ctrl-C came; a `KeyboardInterrupt`.

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
    check_start(recipe)
    if log_to is not None:
        check_logger(log_to)
    check_run_folder(recipe, run_folder, resume)
    keras.utils.set_random_seed(recipe.seed)
    if deterministic:
        make_deterministic()
    spread = distribution(strategy)  # before anything else starts the backend
    check_rank(spread.replicas)
    spread.check_batch(recipe.batch_size)
    save_every = SaveEvery.from_text(recipe.save_every)
    if spread.processes > 1 and save_every.minutes is not None:
        raise ValueError(
            f"save_every={recipe.save_every!r} cannot be had where several processes train, whose "
            "clocks differ: give a number of steps."
        )
    if not spread.is_chief:
        verbose = 0
    signals, watchdog = Signals(), Watchdog(spread.process, spread.processes, ALL_AGAIN)
    # The first of several processes writes; the others read what it resumes from.
    lock = locked(run_folder) if spread.is_chief else contextlib.nullcontext()
    with signals.caught(), watchdog.on_guard(), lock:
        check_run_folder(recipe, run_folder, resume)  # another run may have ended since
        where = (data_root, run_folder, limit)
        watched = (verbose, report, log_to)
        return _train(recipe, where, watched, spread, (signals, watchdog), save_every)


def _train(
    recipe: Recipe,
    where: tuple[str | Path | None, Path, int | None],
    watched: tuple[int | None, bool, str | None],
    spread: Distribution,
    ended_by: tuple[Signals, Watchdog],
    save_every: SaveEvery,
) -> Path:
    """What `train` does, in a folder that is this run's, by some of its arguments."""
    data_root, run_folder, limit = where
    verbose, report, log_to = watched
    signals, watchdog = ended_by
    begun = newest_checkpoint(run_folder) is not None
    train_source = data.open_source(
        recipe.dataset,
        data_root,
        recipe.train_split,
        **{**recipe.dataset_options, **recipe.train_options},
    )
    if limit is not None:
        train_source = data.First(train_source, limit)
    if recipe.cache == "memory":
        train_source = data.Cached(train_source)
    val_source = data.open_source(
        recipe.dataset,
        data_root,
        recipe.val_split,
        **{**recipe.dataset_options, **recipe.val_options},
    )
    if limit is not None:
        val_source = data.First(val_source, limit)
    check_same_classes(train_source, val_source)
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
        counts = class_counts(train_source, shown=verbose != 0)
    if spread.is_chief and not begun:
        warn_of_absent_classes(train_source, counts, shown=verbose != 0)
    best = run_folder / "best"
    machine = {**environment(spread), "epochs": epochs}

    def save_best(epoch: int, value: float) -> None:
        presets.save(
            model,
            best,
            name=recipe.name,
            label_space=train_source.label_space,
            recipe=recipe.to_config(),
            training={
                "epochs_done": epoch,
                **machine,
                "monitor": f"val mean_iou {value:.4f} ({recipe.dataset} {recipe.val_split})",
            },
        )

    folder = RunFolder(
        run_folder,
        save_best,
        spread=spread,
        save_every=save_every,
        patience=recipe.patience,
        signals=signals,
    )
    if spread.is_chief:
        remove_leftovers(run_folder)
        if not begun:  # what a run that ended before its first checkpoint kept
            shutil.rmtree(best, ignore_errors=True)
    start = Position(0)
    with spread.scope():
        model = build_model(recipe, train_source, load_weights=not begun)
        trainee = with_helpers(recipe, model, train_source)
        trainee.compile(
            make_optimizer(recipe, steps),
            jit_compile=recipe.jit_compile,
            steps_per_execution=recipe.steps_per_execution,
        )
        folder.set_model(trainee)
        trainee.optimizer.build(trainee.trainable_variables)
        if begun:
            start = folder.restore(steps)
            if start.step:
                trainee.build_metrics()  # for what they had counted
    if spread.is_chief:
        check_space(run_folder, trainee)
        files.write_json(run_folder / "recipe.json", recipe.to_config())
        files.write_json(run_folder / "run.json", machine)
        if folder.history:  # the process may have been killed before it wrote the last row
            folder.write_log()
    watch: Report | None = None
    if start.epoch < epochs and not folder.has_no_patience_left:
        train_feed = partial(
            data.batches,
            train_source,
            recipe.batch_size,
            data.augmentation(recipe.augment),
            shuffle=True,
            seed=recipe.seed,
            cache=recipe.cache,
            drop_remainder=True,
            class_uniform=recipe.class_uniform,
            class_counts=counts if recipe.class_uniform else None,
            shard=(spread.process, spread.processes),
            workers=recipe.workers,
            processes=recipe.worker_processes,
        )
        val_feed = data.batches(
            val_source, recipe.val_batch_size, cache=recipe.cache, workers=recipe.workers
        )
        listeners: list[keras.callbacks.Callback] = [
            watchdog,
            StopOnNaN(),
            Speed(recipe.batch_size),
            folder,
        ]
        if report and spread.is_chief:
            watch = Report(folder, recipe, model, val_source, machine, epochs, spread.replicas == 1)
            listeners.append(watch)
        if log_to is not None and spread.is_chief:
            listeners.append(logger(log_to, recipe, run_folder))
        if recipe.ema:
            listeners.append(ValidateAverages())
        if verbose is None:
            verbose = 1 if sys.stdout.isatty() else 2
        callbacks = RunCallbacks(
            listeners,
            add_history=True,
            add_progbar=verbose != 0,
            model=trainee,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
        )
        told = explained(recipe, trainee, folder)
        with spread.fit_scope(), _told_of_others(spread), signals.waiting(), told:
            _fit(trainee, spread, train_feed, val_feed, callbacks, start, recipe.validate_every)
        if log_to is not None and spread.is_chief:
            end(log_to)
    if spread.is_chief:
        check_best(best, f"no validation on {recipe.dataset} {recipe.val_split} gave a mIoU")
        if watch is not None:
            watch.finish()
    return best


def _fit(
    model: MaskTrainer,
    spread: Distribution,
    train_feed: Callable[..., Any],
    val_feed: Any,
    callbacks: RunCallbacks,
    start: Position,
    validate_every: int,
) -> None:
    """Trains from a position to the last epoch.

    An epoch that goes on has fewer steps than the others, and `fit` asks for their number only
    once: so it has a `fit` of its own.
    """
    epochs, steps = callbacks.params["epochs"], callbacks.params["steps"]
    validated = [n for n in range(1, epochs + 1) if n % validate_every == 0 or n == epochs]

    def fit(first: Position, end: int) -> None:
        feed = train_feed(start_epoch=first.epoch, start_batch=first.step)
        callbacks.first_step = first.step
        model.fit(
            spread.training_feed(feed),
            validation_data=spread.validation_feed(val_feed),
            validation_freq=validated,
            epochs=end,
            initial_epoch=first.epoch,
            callbacks=callbacks,
            shuffle=False,  # the data come shuffled
            **spread.steps(feed, val_feed),
        )

    with callbacks.run():
        if start.step == steps:
            _end_epoch(model, spread, val_feed, callbacks, start.epoch, validated)
        elif start.step:
            fit(start, start.epoch + 1)
        if start.step:
            start = Position(start.epoch + 1)
        if start.epoch < epochs and not model.stop_training:
            fit(start, epochs)


def _end_epoch(
    model: MaskTrainer,
    spread: Distribution,
    val_feed: Any,
    callbacks: RunCallbacks,
    epoch: int,
    validated: list[int],
) -> None:
    """What `fit` does after the last step of an epoch, where its validation was broken off."""
    model.stop_training = False
    callbacks.on_epoch_begin(epoch)  # gives the metrics what the steps have counted
    logs = dict(model.get_metrics_result())
    if epoch + 1 in validated:
        found = model.evaluate(
            spread.validation_feed(val_feed),
            steps=spread.steps(val_feed, val_feed).get("validation_steps"),
            callbacks=callbacks,
            return_dict=True,
        )
        logs |= {f"val_{name}": value for name, value in found.items()}
    callbacks.on_epoch_end(epoch, logs)


@contextlib.contextmanager
def _told_of_others(spread: Distribution) -> Iterator[None]:
    """Says what may end processes that train together: JAX beforehand, of others with the error."""
    if spread.kind == "data_parallel" and spread.processes > 1:
        print(
            f"Process {spread.process} of {spread.processes} trains. If another one dies or hangs, "
            "JAX ends this one, perhaps before Python can say so. Then start all again with "
            "--resume.",
            file=sys.stderr,
            flush=True,
        )
    try:
        yield
    except Exception as error:
        if spread.processes > 1:
            error.add_note(
                f"Process {spread.process} of {spread.processes} stops. If the error speaks of a "
                "connection, a worker or a deadline, another process died or hangs, and its own "
                f"output says why. {ALL_AGAIN}"
            )
        raise


def build_model(recipe: Recipe, source: data.Source, load_weights: bool = True) -> models.Segmenter:
    """The network of a recipe for the classes of a source, with the weights it starts from.

    It computes in `recipe.precision`.

    Args:
        recipe: What to build.
        source: The training split, for its classes.
        load_weights: Whether weights are read, or the network stays as it was drawn.

    Raises:
        ValueError: The network refuses what `network_config` says.
    """
    num_classes = source.label_space.num_classes
    if recipe.pretrained is not None:
        model: models.Segmenter = presets.load(
            recipe.pretrained, label_space=source.label_space, dtype=recipe.precision
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
    """The optimizer of a recipe, with its schedule over all steps of the run.

    Args:
        recipe: What to build.
        steps_per_epoch: Of the training feed, for the schedule.
    """
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
