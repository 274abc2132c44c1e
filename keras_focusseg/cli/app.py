"""Puts the verbs together and turns known errors into one clear line."""

from __future__ import annotations

import os
import sys

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own start-up messages


def build_app() -> typer.Typer:
    """The program with all its verbs."""
    # Imported here: `keras_focusseg.cli` itself must not wait for Keras to load.
    from keras_focusseg.cli import (
        data_check,
        data_prepare,
        data_show,
        demo,
        evaluate,
        presets,
        profile,
        segment,
        train,
    )

    app = typer.Typer(
        name="focusseg",
        help="Semantic segmentation with Keras 3: train, evaluate and use networks.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    verbs = (
        train.train,
        evaluate.evaluate,
        segment.segment,
        profile.profile,
        presets.presets,
        demo.demo,
    )
    for verb in verbs:
        app.command()(verb)
    data = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
    for data_verb in (data_check.check, data_show.show, data_prepare.prepare):
        data.command()(data_verb)
    app.add_typer(data, name="data", help="Check, look at and pack the images and masks on disk.")
    return app


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; mistakes in what was given end with one line and code 2.

    Args:
        arguments: The words after the program's name; by default those of the process.
    """
    from keras_focusseg.training import TrainingDiverged

    try:
        build_app()(arguments, prog_name="focusseg")
    except (ValueError, ConnectionError, ImportError, TrainingDiverged) as error:
        print(f"focusseg: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("focusseg: interrupted", file=sys.stderr)
        sys.exit(130)
