"""Puts the verbs together and turns known errors into one clear line."""

from __future__ import annotations

import os
import sys

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own start-up messages

app = typer.Typer(
    name="focusseg",
    help="Semantic segmentation with Keras 3: train, evaluate and use networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def main() -> None:
    """Runs the command line; errors of the user's input end with a message and code 2."""
    # Imported here so that `--help` does not wait for Keras to load more than it must.
    from keras_focusseg.cli import demo, evaluate, presets, segment, train
    from keras_focusseg.training import TrainingDiverged

    for verb in (train.train, evaluate.evaluate, segment.segment, presets.presets, demo.demo):
        app.command()(verb)
    try:
        app()
    except (ValueError, TrainingDiverged) as error:
        print(f"focusseg: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("focusseg: interrupted", file=sys.stderr)
        sys.exit(130)
