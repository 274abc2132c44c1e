"""Synthetic street scenes in CamVid's 11 classes: drawn, not stored, any size, exact masks."""

from keras_focusseg.data.sources.synthetic_streets.source import SyntheticStreets

__all__ = ["SyntheticStreets"]
