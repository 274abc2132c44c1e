"""The command line: `focusseg train | evaluate | segment | presets | demo`."""

from keras_focusseg.cli.app import build_app, main

__all__ = ["build_app", "main"]
