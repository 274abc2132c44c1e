"""AdamW as segmentation networks want it: no weight decay on norms and biases."""

from __future__ import annotations

from typing import Any

import keras

NOT_DECAYED = ["bias", "gamma", "beta"]


@keras.saving.register_keras_serializable(package="keras_focusseg")
class AdamW(keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` that leaves biases and normalisation weights undecayed.

    Keras can exclude variables from decay, but does not store the exclusion with the optimizer: a
    reloaded model would decay everything. Here it belongs to the class.

    Args:
        learning_rate: Rate or schedule.
        weight_decay: Decay of convolution and dense kernels.
        **kwargs: Further arguments of `keras.optimizers.AdamW`.

    Example:
        ```python
        optimizer = AdamW(2e-4, weight_decay=0.05, global_clipnorm=1.0)
        ```
    """

    def __init__(
        self, learning_rate: Any = 2e-4, weight_decay: float = 0.05, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, **kwargs)
        self.exclude_from_weight_decay(var_names=NOT_DECAYED)
