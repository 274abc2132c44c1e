"""What networks saw, as pictures."""

from keras_focusseg.visualization.pictures import colorize, heatmap, legend, overlay, region_map

__all__ = ["colorize", "heatmap", "legend", "overlay", "region_map"]
