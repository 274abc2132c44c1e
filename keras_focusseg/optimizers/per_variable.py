"""AdamW and SGD as segmentation networks want them.

No weight decay on norms and biases, and, on demand, a higher rate outside the backbone: what
PyTorch does with parameter groups, which Keras' optimizers lack. And a moving average of the
weights that is part of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

NOT_DECAYED = ("bias", "gamma", "beta")
STATISTICS = ("moving_mean", "moving_variance")


def _of_backend(kind: Any) -> Any:
    """What Keras makes instead of `kind` on this backend.

    On PyTorch that is a subclass which updates all variables by a few fused calls, through
    `_parallel_update_step`; elsewhere it is `kind`. Keras hands it out for its own classes alone,
    so classes of ours have to inherit from it. No variable is made here: that would start the
    backend at import, before anybody can choose devices.
    """
    return type(kind.__new__(kind))


_KerasAdamW: Any = _of_backend(keras.optimizers.AdamW)
_KerasSGD: Any = _of_backend(keras.optimizers.SGD)
FUSED = _KerasSGD is not keras.optimizers.SGD


class _PerVariable(keras.optimizers.Optimizer):
    """An optimizer that asks for each variable how fast it learns and how much it decays.

    Keras decays all variables by one rate, before the step. Here that does nothing, and the
    subclasses decay in `update_step`, which TensorFlow and JAX call for each variable, or in
    `_decay_group`, which PyTorch calls for all variables of the same rate and decay at once.

    With `ema` it keeps an average beside each variable and each batch-norm statistic of the
    network, among its own variables: they are saved with it, and placed where the weights are.
    """

    def _set_up(
        self,
        weight_decay: float | None,
        head_learning_rate_factor: float,
        stage_learning_rate_factor: float,
        ema: float,
    ) -> None:
        if head_learning_rate_factor <= 0:
            raise ValueError(
                f"head_learning_rate_factor must be above 0, got {head_learning_rate_factor}."
            )
        if not 0 < stage_learning_rate_factor <= 1:
            raise ValueError(
                "stage_learning_rate_factor must be above 0 and at most 1, got "
                f"{stage_learning_rate_factor}."
            )
        if not 0 <= ema < 1:
            raise ValueError(f"ema must be in [0, 1), got {ema}.")
        self.weight_decay = weight_decay or 0.0
        self.head_learning_rate_factor = head_learning_rate_factor
        self.stage_learning_rate_factor = stage_learning_rate_factor
        self.ema = ema
        # In a function, because Keras would take variables for the optimizer's own.
        self._statistics: Callable[[], list[keras.Variable]] = list
        self._averages: list[keras.Variable] = []
        self._averages_of_statistics: list[keras.Variable] = []
        # Ids and not variables: Keras would take those for the optimizer's own.
        self._backbone: dict[int, int] | None = None  # to the number of stages that come after
        self._spared: frozenset[int] = frozenset()
        self._spared_names: tuple[str, ...] = NOT_DECAYED
        self._rates: tuple[float, ...] = ()
        self._decays: tuple[float, ...] = ()

    def set_backbone(
        self, variables: Iterable[keras.Variable], stages_after: Iterable[int] | None = None
    ) -> None:
        """Says which variables are the backbone's; the `compile` of a network does it.

        Args:
            variables: All variables of the backbone. Whatever is not among them learns at
                `head_learning_rate_factor` times the rate.
            stages_after: How many stages of the backbone come after that of each variable; by
                default all are of the last one, and learn at the plain rate.
        """
        ids = [id(variable) for variable in variables]
        self._backbone = dict.fromkeys(ids, 0)
        if stages_after is not None:
            self._backbone = dict(zip(ids, stages_after, strict=True))

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

    def _apply_weight_decay(self, variables: Any) -> None:
        """Nothing in place of Keras' own decay (3.15), which reads `weight_decay` too."""

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes the variables of the optimizer, and notes rate and decay of each variable.

        Raises:
            ValueError: There is a factor for the head, but what the backbone is was never said.
        """
        if self.built:
            return
        factor, of_stage = self.head_learning_rate_factor, self.stage_learning_rate_factor
        if (factor, of_stage) != (1, 1) and self._backbone is None:
            raise ValueError(
                f"head_learning_rate_factor is {factor} and stage_learning_rate_factor "
                f"{of_stage}, but the optimizer does not know the backbone: compile a network of "
                "keras_focusseg with it, or call set_backbone(backbone.variables) before it is "
                "built."
            )
        backbone = self._backbone or {}
        self._rates = tuple(
            of_stage ** backbone[id(v)] if id(v) in backbone else factor for v in variables
        )
        self._decays = tuple(
            0.0
            if id(v) in self._spared or any(name in v.name for name in self._spared_names)
            else self.weight_decay
            for v in variables
        )
        super().build(variables)
        if not self.ema:
            return
        self._averages = self._average_beside(variables)
        self._averages_of_statistics = self._average_beside(self._statistics())
        try:
            self.start_averages()
        except NotImplementedError as error:  # TensorFlow is tracing: it would start anew each step
            raise ValueError(
                "An optimizer with ema must be built before the step is traced: call "
                "optimizer.build(model.trainable_variables) before fit."
            ) from error

    def set_statistics(self, variables: Iterable[keras.Variable]) -> None:
        """Says what is averaged beside the weights; the `compile` of a network does it.

        Averaged kernels with the batch-norm statistics of other kernels would be a network that
        was never trained. The statistics are no business of an optimizer, so the step of the
        network has to call `average_statistics`, as `Segmenter.train_step` does.

        Args:
            variables: Batch-norm statistics.

        Raises:
            ValueError: The optimizer was built without them.
        """
        known = list(variables)
        if self.ema and self.built and len(known) != len(self._averages_of_statistics):
            raise ValueError(
                f"The optimizer averages {len(self._averages_of_statistics)} batch-norm "
                f"statistics, and the network has {len(known)}: compile the network with it "
                "before it is built, and each network with an optimizer of its own."
            )
        self._statistics = lambda: known

    def start_averages(self) -> None:
        """Lets the averages start from the weights as they are, unless a step has been taken."""
        if self.ema and self.built and int(ops.convert_to_numpy(self._iterations)) == 0:
            for average, variable in self._averaged():
                average.assign(ops.copy(variable.value))

    def swap_averages(self) -> None:
        """Exchanges weights and averages, for a validation; a second call puts them back.

        Under a strategy every process has to call it. Under `mixed_float16` Keras wraps the
        optimizer, and `own_optimizer(model.optimizer)` has this method.

        Example:
            ```python
            optimizer = optimizers.AdamW(2e-4, ema=0.999)
            model.compile(optimizer)
            model.fit(train)
            optimizer.swap_averages()    # the model now holds the averaged weights
            ```
        """
        for average, variable in self._averaged():
            present = ops.copy(variable.value)
            variable.assign(ops.copy(average.value))
            average.assign(present)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Keras' step, after which the averages of the weights move."""
        super().apply(grads, trainable_variables)
        self._move(self._averages, self._trainable_variables)

    def average_statistics(self) -> None:
        """Moves the averages of the batch-norm statistics; to be called after `apply`."""
        self._move(self._averages_of_statistics, self._statistics())

    def _average_beside(self, variables: Iterable[keras.Variable]) -> list[keras.Variable]:
        return [self.add_variable_from_reference(v, name="average") for v in variables]

    def _averaged(self) -> Iterator[tuple[keras.Variable, keras.Variable]]:
        if self.ema and self.built:
            yield from zip(self._averages, self._trainable_variables, strict=True)
            yield from zip(self._averages_of_statistics, self._statistics(), strict=True)

    def _move(self, averages: Sequence[keras.Variable], values: Sequence[Any]) -> None:
        """`a = m a + (1 - m) w` with `m = min(ema, (1 + t) / (10 + t))` after the t-th step.

        The momentum grows with the steps so that the first weights do not linger (Tarvainen and
        Valpola, arXiv 1703.01780). A step is one that changed the weights: while gradients are
        accumulated nothing moves.
        """
        if not averages:
            return
        steps = ops.cast(self.iterations, "float32")
        share = 1.0 - ops.minimum(self.ema, (1.0 + steps) / (10.0 + steps))
        if self.gradient_accumulation_steps:
            stepped = ops.equal(self._iterations % self.gradient_accumulation_steps, 0)
            share = share * ops.cast(stepped, "float32")
        self._mix(averages, values, share)

    def _mix(self, averages: Sequence[keras.Variable], values: Sequence[Any], share: Any) -> None:
        """`a += share (w - a)` for every pair."""
        if FUSED:
            import torch

            # A tensor for each: a number would have to be read from the device.
            shares = [share] * len(averages)
            with torch.no_grad():
                torch._foreach_lerp_([a.value for a in averages], [v.value for v in values], shares)
            return
        for average, value in zip(averages, values, strict=True):
            difference = ops.subtract(value, average)
            self.assign_add(average, ops.multiply(difference, ops.cast(share, average.dtype)))

    def _parallel_update_step(
        self, grads: Sequence[Any], variables: Sequence[keras.Variable], learning_rate: Any
    ) -> None:
        """What PyTorch calls in place of `update_step`: all variables of a rate and a decay."""
        groups: dict[tuple[float, float], list[int]] = {}
        for i, variable in enumerate(variables):
            own = self._get_variable_index(variable)
            groups.setdefault((self._rates[own], self._decays[own]), []).append(i)
        for (factor, decay), members in groups.items():
            of_group = [grads[i] for i in members]
            group = [variables[i] for i in members]
            rate = learning_rate * factor
            if decay:
                of_group = self._decay_group(of_group, [v.value for v in group], rate, decay)
            super()._parallel_update_step(of_group, group, rate)

    def _decay_group(
        self, grads: list[Any], values: list[Any], rate: Any, decay: float
    ) -> list[Any]:
        """Decays PyTorch's tensors that share rate and decay; the gradients to go on with."""
        raise NotImplementedError

    def _own(self, variable: Any, learning_rate: Any) -> tuple[Any, float]:
        """Rate and decay of one variable; `variable` may be a copy on one device of several."""
        index = self._get_variable_index(variable)
        return learning_rate * self._rates[index], self._decays[index]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "weight_decay": self.weight_decay,
            "head_learning_rate_factor": self.head_learning_rate_factor,
            "stage_learning_rate_factor": self.stage_learning_rate_factor,
            "ema": self.ema,
        }


@keras.saving.register_keras_serializable(package="keras_focusseg")
class AdamW(_PerVariable, _KerasAdamW):
    """`keras.optimizers.AdamW` that leaves biases and normalisation weights undecayed.

    Keras can exclude variables from decay, but does not store the exclusion with the optimizer: a
    reloaded model would decay everything. Here it belongs to the class. A step is
    `w = w - rate * weight_decay * w`, then Adam's step, both at the variable's own rate
    (Loshchilov and Hutter, arXiv 1711.05101, as in Keras and PyTorch).

    Args:
        learning_rate: Rate or schedule.
        weight_decay: Decay of convolution and dense kernels.
        head_learning_rate_factor: What is not in the backbone learns, and decays, at this
            multiple of the rate.
        stage_learning_rate_factor: Each stage of the backbone learns at this multiple of the next
            one's rate, in (0, 1]; the last one learns at the plain rate.
        ema: Momentum of the moving average of the weights, in [0, 1); 0 keeps none. `swap_averages`
            puts the averages in place.
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
        stage_learning_rate_factor: float = 1.0,
        ema: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, weight_decay=0.0, **kwargs)
        self._set_up(weight_decay, head_learning_rate_factor, stage_learning_rate_factor, ema)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decays one variable, then takes Adam's step, both at the variable's rate."""
        rate, decay = self._own(variable, learning_rate)
        if decay:
            shrinkage = ops.cast(rate * decay, variable.dtype)
            self.assign_sub(variable, ops.multiply(variable, shrinkage))
        super().update_step(gradient, variable, rate)

    def _decay_group(
        self, grads: list[Any], values: list[Any], rate: Any, decay: float
    ) -> list[Any]:
        """The same decay on PyTorch."""
        import torch

        torch._foreach_mul_(values, 1.0 - rate * decay)
        return grads


@keras.saving.register_keras_serializable(package="keras_focusseg")
class SGD(_PerVariable, _KerasSGD):
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
        weight_decay: Factor of the penalty on convolution and dense kernels.
        head_learning_rate_factor: What is not in the backbone learns at this multiple of the rate.
        stage_learning_rate_factor: Each stage of the backbone learns at this multiple of the next
            one's rate, in (0, 1]; the last one learns at the plain rate.
        ema: Momentum of the moving average of the weights, in [0, 1); 0 keeps none. `swap_averages`
            puts the averages in place.
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
        stage_learning_rate_factor: float = 1.0,
        ema: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, momentum=float(momentum), **kwargs)
        self._set_up(weight_decay, head_learning_rate_factor, stage_learning_rate_factor, ema)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Adds the penalty to the gradient, then takes the step at the variable's rate."""
        rate, decay = self._own(variable, learning_rate)
        if decay:
            gradient = ops.add(gradient, ops.multiply(variable, decay))
        super().update_step(gradient, variable, rate)

    def _decay_group(
        self, grads: list[Any], values: list[Any], rate: Any, decay: float
    ) -> list[Any]:
        """The same penalty on PyTorch."""
        import torch

        penalised: list[Any] = torch._foreach_add(grads, values, alpha=decay)
        return penalised


def tell_network(optimizer: Any, network: keras.Model) -> None:
    """Says to an optimizer of this file what of a network is backbone, and what statistics.

    Args:
        optimizer: Any optimizer; one that is not of this file is left as it is.
        network: The network that it will train.
    """
    own = own_optimizer(optimizer)
    if own is None:
        return
    backbone = getattr(network, "backbone", None)
    if backbone is not None:
        stages = _stages_after(backbone) if own.stage_learning_rate_factor != 1 else None
        own.set_backbone(backbone.variables, stages)
    layers = network._flatten_layers()  # Keras has no public way to the layers inside layers
    frozen = {id(v) for layer in layers if not layer.trainable for v in layer.variables}
    moving = (v for v in network.non_trainable_variables if v.name in STATISTICS)
    own.set_statistics(v for v in moving if id(v) not in frozen)


def _stages_after(backbone: keras.Model) -> list[int]:
    """Of each variable of a pyramid, how many of its outputs are made after the one that needs it.

    The stem belongs to the first output, and what leads to none of them to the last.
    """
    levels = sorted(name for name in backbone.output if name in ("P2", "P3", "P4", "P5"))
    after: dict[int, int] = {}
    for number, level in enumerate(levels):
        for variable in keras.Model(backbone.input, backbone.output[level]).variables:
            after.setdefault(id(variable), len(levels) - 1 - number)
    return [after.get(id(variable), 0) for variable in backbone.variables]


def own_optimizer(optimizer: Any) -> AdamW | SGD | None:
    """An optimizer of this file, taken out of Keras' loss scaling, or None if it is another.

    Args:
        optimizer: Any optimizer.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return inner if isinstance(inner, _PerVariable) else None
