"""The old name of `keras_focusseg.data.records.tfds_builders`; goes with 0.3."""

from keras_focusseg.data.records.tfds_builders import *  # noqa: F403
