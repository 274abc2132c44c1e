"""The renderer of street scenes in CamVid's 11 classes: drawn with NumPy and Pillow, exact masks.

It knows nothing of the rest of the library; `data.SyntheticStreets` makes a source of it.
"""

from keras_focusseg.streets.scene import render_scene

__all__ = ["render_scene"]
