"""AdamW and SGD with a rate and a decay for each variable, and learning-rate schedules."""

from keras_focusseg.optimizers.per_variable import SGD, AdamW, own_optimizer, tell_network
from keras_focusseg.optimizers.schedules import WarmupCosine, WarmupPoly, WarmupStep

__all__ = [
    "SGD",
    "AdamW",
    "WarmupCosine",
    "WarmupPoly",
    "WarmupStep",
    "own_optimizer",
    "tell_network",
]
