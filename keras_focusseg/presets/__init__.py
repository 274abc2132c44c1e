"""Networks with their weights, their classes and their measured score."""

from keras_focusseg.presets.record import PresetRecord
from keras_focusseg.presets.registry import load, names, record, save

__all__ = ["PresetRecord", "load", "names", "record", "save"]
