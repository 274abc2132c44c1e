"""The command line: `focusseg train | evaluate | segment | presets | demo`."""

from keras_focusseg.cli.app import app, main

__all__ = ["app", "main"]
