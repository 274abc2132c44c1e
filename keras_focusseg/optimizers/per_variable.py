"""AdamW and SGD as segmentation networks want them.

No weight decay on norms and biases, and, on demand, a higher rate outside the backbone: what
PyTorch does with parameter groups, which Keras' optimizers lack.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

NOT_DECAYED = ("bias", "gamma", "beta")


class _PerVariable(keras.optimizers.Optimizer):
    """An optimizer that asks for each variable how fast it learns and how much it decays.

    Keras decays all variables by one rate, before the step. So it is told of no decay, and the
    subclasses decay in `update_step`, which every backend calls for each variable.
    """

    def _set_up(self, weight_decay: float | None, head_learning_rate_factor: float) -> None:
        if head_learning_rate_factor <= 0:
            raise ValueError(
                f"head_learning_rate_factor must be above 0, got {head_learning_rate_factor}."
            )
        self.weight_decay = None  # Keras' own decay
        self.kernel_decay = weight_decay or 0.0
        self.head_learning_rate_factor = head_learning_rate_factor
        # Ids and not variables: Keras would take those for the optimizer's own.
        self._backbone: frozenset[int] | None = None
        self._spared: frozenset[int] = frozenset()
        self._spared_names: tuple[str, ...] = NOT_DECAYED
        self._rates: tuple[float, ...] = ()
        self._decays: tuple[float, ...] = ()

    def set_backbone(self, variables: Iterable[keras.Variable]) -> None:
        """Says which variables learn at the plain rate; the `compile` of a network does it.

        Args:
            variables: All variables of the backbone. Whatever is not among them learns at
                `head_learning_rate_factor` times the rate.
        """
        self._backbone = frozenset(id(variable) for variable in variables)

    def exclude_from_weight_decay(
        self,
        var_list: Iterable[keras.Variable] | None = None,
        var_names: Iterable[str] | None = None,
    ) -> None:
        """Further variables that are not decayed; is not stored with the optimizer.

        Args:
            var_list: Variables.
            var_names: Parts of names of variables.
        """
        if self.built:
            raise ValueError("What is not decayed must be said before the optimizer is built.")
        self._spared = frozenset(id(variable) for variable in var_list or ())
        self._spared_names = (*NOT_DECAYED, *(var_names or ()))

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes the variables of the optimizer, and notes rate and decay of each variable.

        Raises:
            ValueError: There is a factor for the head, but what the backbone is was never said.
        """
        if self.built:
            return
        factor = self.head_learning_rate_factor
        if factor != 1 and self._backbone is None:
            raise ValueError(
                f"head_learning_rate_factor is {factor}, but the optimizer does not know the "
                "backbone: compile a network of keras_focusseg with it, or call "
                "set_backbone(backbone.variables) before it is built."
            )
        backbone = self._backbone or frozenset()
        self._rates = tuple(1.0 if id(v) in backbone else factor for v in variables)
        self._decays = tuple(
            0.0
            if id(v) in self._spared or any(name in v.name for name in self._spared_names)
            else self.kernel_decay
            for v in variables
        )
        super().build(variables)

    def _own(self, variable: Any, learning_rate: Any) -> tuple[Any, float]:
        """Rate and decay of one variable; `variable` may be a copy on one device of several."""
        index = self._get_variable_index(variable)
        return learning_rate * self._rates[index], self._decays[index]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "weight_decay": self.kernel_decay,
            "head_learning_rate_factor": self.head_learning_rate_factor,
        }


@keras.saving.register_keras_serializable(package="keras_focusseg")
class AdamW(_PerVariable, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` that leaves biases and normalisation weights undecayed.

    Keras can exclude variables from decay, but does not store the exclusion with the optimizer: a
    reloaded model would decay everything. Here it belongs to the class. A step is
    `w = w - rate * weight_decay * w`, then Adam's step, both at the variable's own rate
    (Loshchilov and Hutter, arXiv 1711.05101, as in Keras and PyTorch).

    Args:
        learning_rate: Rate or schedule.
        weight_decay: Decay of convolution and dense kernels. Kept as `kernel_decay`; Keras'
            attribute `weight_decay` stays `None`.
        head_learning_rate_factor: What is not in the backbone learns, and decays, at this
            multiple of the rate.
        **kwargs: Further arguments of `keras.optimizers.AdamW`.

    Example:
        ```python
        optimizer = AdamW(2e-4, weight_decay=0.05, global_clipnorm=1.0)
        model.compile(AdamW(6e-5, weight_decay=0.01, head_learning_rate_factor=10.0))
        ```
    """

    def __init__(
        self,
        learning_rate: Any = 2e-4,
        weight_decay: float = 0.05,
        head_learning_rate_factor: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, weight_decay=0.0, **kwargs)
        self._set_up(weight_decay, head_learning_rate_factor)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decays one variable, then takes Adam's step, both at the variable's rate."""
        rate, decay = self._own(variable, learning_rate)
        if decay:
            shrinkage = ops.cast(rate * decay, variable.dtype)
            self.assign_sub(variable, ops.multiply(variable, shrinkage))
        super().update_step(gradient, variable, rate)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class SGD(_PerVariable, keras.optimizers.SGD):
    """`keras.optimizers.SGD` whose weight decay is an L2 penalty, without biases and norms.

    The decay is added to the gradient, `g = g + weight_decay * w`, so that it goes through
    momentum and rate as the gradient does: what published settings of SGD mean, in Caffe,
    PyTorch and MATLAB. (Keras' own decay shrinks the weight beside the step, and so only
    1 - momentum times as much.) Gradients are clipped before. As in Keras, the velocity holds
    past steps, `v = momentum * v - rate * g`, `w = w + v`; PyTorch multiplies by the present rate
    last, which is the same while the rate is.

    Args:
        learning_rate: Rate or schedule.
        momentum: Share of the velocity that each step keeps, 0..1.
        weight_decay: Factor of the penalty on convolution and dense kernels. Kept as
            `kernel_decay`; Keras' attribute `weight_decay` stays `None`.
        head_learning_rate_factor: What is not in the backbone learns at this multiple of the rate.
        **kwargs: Further arguments of `keras.optimizers.SGD`.

    Example:
        ```python
        model.compile(SGD(0.01, momentum=0.9, weight_decay=5e-4))
        ```
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        head_learning_rate_factor: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, momentum=float(momentum), **kwargs)
        self._set_up(weight_decay, head_learning_rate_factor)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Adds the penalty to the gradient, then takes the step at the variable's rate."""
        rate, decay = self._own(variable, learning_rate)
        if decay:
            gradient = ops.add(gradient, ops.multiply(variable, decay))
        super().update_step(gradient, variable, rate)


def tell_backbone(optimizer: Any, backbone: keras.Model | None) -> None:
    """Says to an optimizer of this file, wrapped for loss scaling or not, what the backbone is."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if isinstance(inner, _PerVariable) and backbone is not None:
        inner.set_backbone(backbone.variables)
