"""What networks saw, as pictures."""

from keras_focusseg.visualization.flow import flow_arrows, flow_colors, flow_wheel
from keras_focusseg.visualization.pictures import colorize, heatmap, legend, overlay, region_map
from keras_focusseg.visualization.signals import KINDS, signal_notes, signal_pictures

__all__ = [
    "KINDS",
    "colorize",
    "flow_arrows",
    "flow_colors",
    "flow_wheel",
    "heatmap",
    "legend",
    "overlay",
    "region_map",
    "signal_notes",
    "signal_pictures",
]
