"""`focusseg train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe file, such as recipes/*.py.")],
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the dataset as it was unpacked.")
    ] = None,
    run_folder: Annotated[
        Path | None, typer.Option(help="Where to write; runs/NAME by default.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the training split, also where a recipe has steps."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order, augmentation.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="'float32', 'mixed_bfloat16' or 'mixed_float16'."),
    ] = None,
    steps_per_execution: Annotated[
        int | None, typer.Option(help="Steps compiled into one call.")
    ] = None,
    jit_compile: Annotated[
        bool | None, typer.Option(help="Compile the step by XLA; by default as Keras decides.")
    ] = None,
    save_every: Annotated[
        str | None,
        typer.Option(help="Checkpoints inside an epoch: every 500 steps, or '10min'."),
    ] = None,
    deterministic: Annotated[
        bool,
        typer.Option("--deterministic", help="Slower operations on GPUs, which repeat themselves."),
    ] = False,
    strategy: Annotated[
        str,
        typer.Option(
            help="'none', 'auto', 'mirrored', 'multi_worker', 'tpu', 'data_parallel', "
            "'model_parallel' or 'ranks'."
        ),
    ] = "none",
    workers: Annotated[
        int | None, typer.Option(help="Threads that read and augment; by default one a core.")
    ] = None,
    processes: Annotated[
        bool | None, typer.Option("--processes", help="Processes in place of these threads.")
    ] = None,
    backbone_weights: Annotated[
        str | None,
        typer.Option(help="'imagenet', a checkpoint file, hf://owner/repository, or 'none'."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any field of the recipe as FIELD=VALUE, such as network_config.filters=64; "
            "several times.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Two steps and a validation on small made-up data; keeps nothing."
        ),
    ] = False,
    report: Annotated[
        bool,
        typer.Option(help="Write report.html, and pictures into TensorBoard, at each validation."),
    ] = True,
    log_to: Annotated[
        str | None, typer.Option(help="'wandb' or 'mlflow': tell the figures to it as well.")
    ] = None,
) -> None:
    """Train as a recipe says; the best weights by validation mIoU land in RUN_FOLDER/best.

    Stop it with Ctrl-C or SIGTERM at any time and go on with --resume. Progress:
    RUN_FOLDER/report.html, RUN_FOLDER/log.csv and RUN_FOLDER/tensorboard.

    Example: focusseg train recipes/fornet_mobilenet_v2_camvid.py --data-root CamVid --epochs 60
    """
    from keras_focusseg import presets, training
    from keras_focusseg.data.opening import SYNTHETIC

    loaded = training.load_recipe(recipe)
    given: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "precision": precision,
        "steps_per_execution": steps_per_execution,
        "jit_compile": jit_compile,
        "save_every": save_every,
        "workers": workers,
        "worker_processes": processes,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if backbone_weights is not None:
        changes["backbone_weights"] = None if backbone_weights == "none" else backbone_weights
    loaded = training.override(loaded.replace(**changes), setting or ())
    if loaded.dataset == SYNTHETIC and data_root is not None:  # a folder was meant
        raise ValueError(
            f"The recipe {recipe} trains on {SYNTHETIC}, which lie in no folder: name a recipe for "
            f"the data in {data_root}, or leave --data-root out."
        )
    if dry_run:
        if strategy != "none":
            raise ValueError("--dry-run tries a recipe on one device: leave out --strategy.")
        print(training.dry_run(loaded))
        return
    folder = run_folder or Path("runs") / loaded.name
    try:
        best = training.train(
            loaded,
            data_root,
            folder,
            resume=resume,
            strategy=strategy,
            report=report,
            log_to=log_to,
            deterministic=deterministic,
        )
    except training.TrainingStopped as stopped:
        print(f"\n{stopped} Go on with the same command and --resume.", flush=True)
        raise typer.Exit(stopped.exit_code) from stopped
    if not (best / "preset.json").is_file():
        return  # another process of this run has it
    if (folder / "report.html").is_file():
        print(f"Report: {folder / 'report.html'}")
    print(f"Best weights: {best}")
    print(f"  {presets.record(best).training['monitor']}")
    print(f"Use them: focusseg segment IMAGE --preset {best}")
