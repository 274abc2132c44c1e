"""Puts the verbs together."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import typer

from keras_focusseg._backend import choose_backend
from keras_focusseg.cli import (
    average,
    compare,
    data_check,
    data_prepare,
    data_show,
    demo,
    evaluate,
    export,
    inspect,
    presets,
    profile,
    recipes,
    runs,
    segment,
    serve,
    train,
)


def build_app() -> typer.Typer:
    """The program with all its verbs."""
    app = typer.Typer(
        name="focusseg",
        help="Semantic segmentation with Keras 3: train, evaluate and use networks.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    app.command()(_with_backend(train.train, seeds=True))
    for verb in (
        evaluate.evaluate,
        compare.compare,
        segment.segment,
        inspect.inspect,
        export.export,
        profile.profile,
        serve.serve,
        average.average,
    ):
        app.command()(_with_backend(verb))
    app.command()(presets.presets)
    app.command()(_with_backend(recipes.recipes))
    app.command()(_with_backend(runs.runs))
    app.command()(_with_backend(demo.demo))
    data = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
    for data_verb in (data_check.check, data_show.show, data_prepare.prepare):
        data.command()(_with_backend(data_verb))
    app.add_typer(data, name="data", help="Check, look at and pack the images and masks on disk.")
    return app


def _with_backend(verb: Callable[..., None], seeds: bool = False) -> Callable[..., None]:
    """The verb, which finds Keras and its backend imported, in silence.

    Args:
        verb: What runs then.
        seeds: Whether it sets seeds, for which Keras imports TensorFlow where it is installed.
    """

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        choose_backend()
        logging.getLogger("tensorflow").addFilter(_is_for_users)
        if "keras" not in sys.modules:
            with _quiet():
                import keras

                if seeds:
                    keras.utils.set_random_seed(0)
        verb(*args, **kwargs)

    return run


def _is_for_users(record: logging.LogRecord) -> bool:
    """Not that functions are traced often: several networks, or sizes of pictures, need it."""
    return "triggered tf.function retracing" not in str(record.msg)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what is written to stderr, and lets it out where the import fails.

    TensorFlow 2.21 announces itself there from C++, whatever `TF_CPP_MIN_LOG_LEVEL` says.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        stderr = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except Exception:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
