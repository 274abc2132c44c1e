"""What every network has in common: masks as targets, its paper's loss, its signals."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_focusseg import _replicas
from keras_focusseg.metrics import MeanIoU
from keras_focusseg.models.panels import Panel
from keras_focusseg.optimizers import AdamW, own_optimizer, tell_network

SMALLEST_SIDE = 16


class Segmenter(keras.Model):
    """A functional Keras model from images to a dict with `"logits"`, trained on integer masks.

    Subclasses build their graph, hand it to this constructor and say what their paper's loss is
    (`loss_terms`) and how its terms are weighted (`loss_term_weights`). `fit`, `evaluate`,
    `predict`, `save` and `export` are Keras' own.

    Args:
        inputs: Image tensor (B, H, W, 3): RGB, 0..255, any height and width.
        outputs: Dict of tensors; `"logits"` is (B, H, W, classes) in float32.
        signals: Named intermediate tensors that `inspect` returns.
        num_classes: Number of classes.
        ignore_class: Mask value that no loss and no metric counts.
        name: Name of the model.
        **kwargs: Further arguments of `keras.Model`.

    Attributes:
        panels: How the signals of `inspect` are drawn.
    """

    panels: ClassVar[tuple[Panel, ...]] = ()

    def __init__(
        self,
        inputs: keras.KerasTensor,
        outputs: Mapping[str, keras.KerasTensor],
        *,
        signals: Mapping[str, keras.KerasTensor],
        num_classes: int,
        ignore_class: int | None = 255,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(inputs=inputs, outputs=dict(outputs), name=name, **kwargs)
        self.input_spec = None  # `call` checks the images, and says what to do
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        # Hidden from Keras' attribute tracking, which would take them for parts of the model.
        self._plain = _Untracked(signals=dict(signals))

    # What a network says of itself ---------------------------------------------------------

    def loss_terms(self, y: Any, y_pred: Mapping[str, Any], sample_weight: Any = None) -> dict:
        """Terms of the paper's loss as named scalars, before weighting."""
        raise NotImplementedError(f"{type(self).__name__} must say what its loss is.")

    def loss_term_weights(self) -> dict[str, float]:
        """Weight of each term of `loss_terms`."""
        raise NotImplementedError(f"{type(self).__name__} must weight the terms of its loss.")

    def classifier_layers(self) -> list[str]:
        """Names of the layers whose shape depends on the number of classes."""
        raise NotImplementedError(f"{type(self).__name__} must name its classifier layers.")

    # Training ------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        metrics: Sequence[Any] | str = "auto",
        **kwargs: Any,
    ) -> None:
        """Prepares training on batches of (images, integer masks).

        Args:
            optimizer: `"auto"` for AdamW (2e-4, decay 0.05 on kernels, gradient norm clipped to
                1), or anything Keras takes.
            loss: `"auto"` for the paper's loss, or a Keras loss (object, name or function) of
                the masks and the logits.
            metrics: `"auto"` for mean IoU, or Keras metrics of the masks and the logits. They see
                no sample weights.
            **kwargs: Further arguments of `keras.Model.compile`.

        Raises:
            ValueError: `loss_weights` or `weighted_metrics` is among the arguments.

        Example:
            ```python
            model.compile()
            model.compile("adam", loss=losses.Dice(), metrics=[])
            ```
        """
        refused = sorted({"loss_weights", "weighted_metrics"} & set(kwargs))
        if refused:
            raise ValueError(
                f"compile takes no {' and no '.join(refused)}: the terms of the paper's loss are "
                "weighted by arguments of the network, and metrics count every pixel alike."
            )
        if optimizer == "auto":
            optimizer = AdamW(2e-4, weight_decay=0.05, global_clipnorm=1.0)
        tell_network(optimizer, self)
        if metrics == "auto":
            chosen_metrics = [MeanIoU(self.num_classes, self.ignore_class)]
        else:
            alone = isinstance(metrics, str) or callable(metrics)
            chosen_metrics = [_as_metric(m) for m in ([metrics] if alone else metrics or [])]
        super().compile(optimizer=optimizer, **kwargs)
        plain = self._plain
        plain.loss = None if loss == "auto" else _as_loss(loss)
        plain.mask_metrics = chosen_metrics
        plain.term_means = []
        if plain.loss is None:
            plain.term_means = [
                keras.metrics.Mean(name=name)
                for name, weight in self.loss_term_weights().items()
                if weight
            ]
        plain.compile_config = {"kwargs": kwargs, "auto": (loss == "auto", metrics == "auto")}

    def make_train_function(self, force: bool = False) -> Any:
        """Keras' compiled step; before it, replicas and averages start from the same weights."""
        _replicas.join(self)
        own = own_optimizer(self.optimizer)
        if own is not None and own.ema:
            if not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)
            own.start_averages()
        return super().make_train_function(force)

    def train_step(self, *arguments: Any) -> Any:
        """Keras' step, after which the averages of the batch-norm statistics move."""
        _replicas.check_part(arguments[-1])
        result = super().train_step(*arguments)
        own = own_optimizer(self.optimizer)
        if own is None or not own.ema:
            return result
        if len(arguments) == 1:  # the batch; the variables hold their values
            own.average_statistics()
            return result
        # On JAX the values of all variables come in and go out beside the batch.
        logs, (trainable, fixed, optimizer, metrics) = result
        variables = self.optimizer.variables
        state = [
            *zip(variables, optimizer, strict=True),
            *zip(self.non_trainable_variables, fixed, strict=True),
        ]
        with keras.StatelessScope(state_mapping=state) as scope:
            own.average_statistics()
        optimizer = [scope.get_current_value(variable) for variable in variables]
        return logs, (trainable, fixed, optimizer, metrics)

    def test_step(self, *arguments: Any) -> Any:
        """Keras' step; a replica that got no image of a small batch takes an ignored one."""
        *state, batch = arguments
        return super().test_step(*state, _replicas.filled_part(batch, self.ignore_class))

    def predict_step(self, *arguments: Any) -> Any:
        """Keras' step; a replica that got no image of a small batch predicts none."""
        *state, batch = arguments
        outputs = super().predict_step(*state, _replicas.filled_part(batch, self.ignore_class))
        return _replicas.own_part(outputs, batch)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The compiled loss of masks `y` and outputs `y_pred`, regularisation added."""
        plain, shares = self._plain, _replicas.loss_shares()
        if plain.loss is not None:
            total = plain.loss(y, y_pred["logits"], sample_weight)
        else:
            total = 0.0
            terms = self.loss_terms(y, y_pred, sample_weight)
            weights = self.loss_term_weights()
            means = {mean.name: mean for mean in plain.term_means}
            for name, value in terms.items():
                total = total + weights[name] * value
                if name in means:
                    # Of each loss Keras gives a replica its share, and `loss` is shown whole.
                    shown = ops.stop_gradient(value) * shares
                    means[name].update_state(shown, sample_weight=ops.shape(y_pred["logits"])[0])
        for loss in self.losses:
            total = total + ops.sum(ops.cast(loss, "float32")) / shares
        return total

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Under a strategy of TensorFlow: builds what is not built, from the first replica's part.

        Keras 3.15 takes the mean of the images and masks of all replicas, which fails where their
        sizes differ, and in multi-worker training (keras issue 20585). It looks at a batch even
        if nothing needs it, which may end a short epoch before it was trained on.
        """
        strategy = self._distribute_strategy
        if strategy is None:
            return
        unbuilt = [x for x in (self._compile_loss, self._compile_metrics) if x and not x.built]
        if iterator is not None and unbuilt:
            for _, _, batches in iterator:
                data_batch = keras.tree.map_structure(
                    lambda value: strategy.experimental_local_results(value)[0], next(batches)
                )
                break
        with strategy.scope():
            self._symbolic_build(data_batch=data_batch)

    def _get_metrics_result_or_logs(self, logs: Any) -> Any:
        """Keras' results at the end of an epoch or an evaluation, over the ranks of PyTorch."""
        _replicas.sum_metrics(self)
        return super()._get_metrics_result_or_logs(logs)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Updates the compiled metrics with masks and logits; all results by name."""
        for metric in self._plain.mask_metrics:
            metric.update_state(y, y_pred["logits"])
        return self.get_metrics_result()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss, its terms and the compiled metrics."""
        plain = getattr(self, "_plain", None)
        if plain is None or not self.compiled:
            return super().metrics
        return [*super().metrics, *plain.term_means, *plain.mask_metrics]

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile` was given, and which layers were frozen, for a `.keras` file."""
        if not self.compiled:
            return {}
        plain = self._plain
        serialize = keras.saving.serialize_keras_object
        return {
            "optimizer": serialize(self.optimizer),
            "loss": "auto" if plain.loss is None else serialize(_given_loss(plain.loss)),
            "metrics": "auto"
            if plain.compile_config["auto"][1]
            else [serialize(metric) for metric in plain.mask_metrics],
            "frozen_layers": list(_frozen_layers(self)),
            **plain.compile_config["kwargs"],
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says."""
        config = keras.saving.deserialize_keras_object(config)
        # Before the optimizer is built: its variables are those of what can be trained.
        for path in config.pop("frozen_layers", []):
            layer = self
            for name in path.split("/"):
                layer = layer.get_layer(name)
            layer.trainable = False
        self.compile(**config)
        if self.built:
            self.optimizer.build(self.trainable_variables)

    # Files ---------------------------------------------------------------------------------

    def save_own_variables(self, store: Any) -> None:
        """Keras' own, and the state of every random generator, which Keras leaves out."""
        super().save_own_variables(store)
        for number, state in enumerate(self._random_states()):
            store[f"random_state_{number}"] = state

    def load_own_variables(self, store: Any) -> None:
        """What `save_own_variables` wrote; without random states, generators keep theirs."""
        stored = {name: store[name] for name in store.keys()}
        for number, state in enumerate(self._random_states()):
            value = stored.pop(f"random_state_{number}", None)
            if value is not None:
                state.assign(value)
        super().load_own_variables(stored)

    def _random_states(self) -> list[keras.Variable]:
        """Of dropout and the like, in the order of the layers: all variables but the weights."""
        weights = {id(weight) for weight in self.weights}
        return [variable for variable in self.variables if id(variable) not in weights]

    # Use -----------------------------------------------------------------------------------

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Images (B, H, W, 3) to the dict of outputs; refuses images below 16 pixels a side."""
        check_image_shape(tuple(inputs.shape))
        return super().call(inputs, training=training, mask=mask)

    @property
    def logits_model(self) -> keras.Model:
        """The same network and weights with `{"logits"}` alone, without heads for training only."""
        plain = self._plain
        if plain.logits_model is None:
            outputs = {"logits": self.output["logits"]}
            plain.logits_model = keras.Model(self.input, outputs, name=f"{self.name}_logits")
            plain.logits_model.input_spec = None
        return plain.logits_model

    def inspect(self, images: Any) -> dict[str, np.ndarray]:
        """Every named intermediate worth looking at, as NumPy arrays.

        Args:
            images: RGB images (B, H, W, 3) in 0..255.

        Returns:
            The signals of the network by name, and its outputs.

        Example:
            ```python
            importance = model.inspect(images)["importance"]    # (B, h, w, 1)
            ```
        """
        plain = self._plain
        if plain.inspector is None:
            outputs = {**plain.signals, **self.output}
            plain.inspector = keras.Model(self.input, outputs, name=f"{self.name}_inspector")
        images = ops.convert_to_numpy(images).astype("float32")
        check_image_shape(images.shape)
        signals: dict[str, np.ndarray] = plain.inspector.predict_on_batch(images)
        return signals

    @staticmethod
    def plain_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Constructor arguments as `get_config` returns them: a backbone model in Keras' form."""
        config = dict(arguments)
        if isinstance(config.get("backbone"), keras.Model):
            config["backbone"] = keras.saving.serialize_keras_object(config["backbone"])
            _replicas.forget_synchronisation(config["backbone"])
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Segmenter:
        """Builds the network from its constructor arguments."""
        config = dict(config)
        if isinstance(config.get("backbone"), dict):
            # A copy, because Keras empties what it deserialises.
            config["backbone"] = keras.saving.deserialize_keras_object(
                copy.deepcopy(config["backbone"]), custom_objects=custom_objects
            )
        return cls(**config)


class _Untracked:
    """Plain values of a model that Keras must neither track nor save."""

    def __init__(self, signals: dict[str, Any]) -> None:
        self.signals = signals
        self.inspector: keras.Model | None = None
        self.logits_model: keras.Model | None = None
        self.loss: Any = None
        self.mask_metrics: list[keras.metrics.Metric] = []
        self.term_means: list[keras.metrics.Metric] = []
        self.compile_config: dict[str, Any] = {}


class _FunctionLoss(keras.losses.Loss):
    """A function of masks and logits as a loss: the mean of what it returns."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__(name=getattr(function, "__name__", "loss"))
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        value = ops.convert_to_tensor(self.function(y_true, y_pred))
        # Keras gives a scalar whole to each replica of a strategy, not its share.
        return ops.reshape(value, (1,)) if len(value.shape) == 0 else value


def _as_loss(loss: Any) -> keras.losses.Loss | None:
    loss = keras.losses.get(loss)
    return loss if loss is None or isinstance(loss, keras.losses.Loss) else _FunctionLoss(loss)


def _given_loss(loss: keras.losses.Loss) -> Any:
    return loss.function if isinstance(loss, _FunctionLoss) else loss


def _frozen_layers(model: keras.Model, prefix: str = "") -> Iterator[str]:
    """Paths of the layers that are not trained; a frozen model stands for all of its layers."""
    for layer in model.layers:
        path = f"{prefix}{layer.name}"
        if not layer.trainable:
            yield path
        elif isinstance(layer, keras.Model):
            yield from _frozen_layers(layer, f"{path}/")


def check_image_shape(shape: tuple[int | None, ...]) -> None:
    """Refuses batches that no network can segment, with the reason.

    Args:
        shape: Shape of the images, (B, H, W, 3); `None` where it is not known yet.

    Raises:
        ValueError: Not four axes, not three channels, or a side below 16 pixels.
    """
    if len(shape) != 4 or shape[3] not in (3, None):
        raise ValueError(
            f"Expected images of shape (batch, height, width, 3), got {shape}. For one image add "
            "the batch axis: images[None]."
        )
    for side, name in zip(shape[1:3], ("height", "width"), strict=True):
        if side is not None and side < SMALLEST_SIDE:
            raise ValueError(
                f"Images of {shape[1]}x{shape[2]} (height x width) are too small: the {name} is "
                f"{side}, at least {SMALLEST_SIDE} pixels are needed, because the features are "
                "8 to 32 times smaller than the image. Enlarge or pad the image."
            )


def _as_metric(metric: Any) -> keras.metrics.Metric:
    if metric in ("accuracy", "acc"):
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    if isinstance(metric, str):
        return keras.metrics.get(metric)
    if callable(metric) and not isinstance(metric, keras.metrics.Metric):
        return keras.metrics.MeanMetricWrapper(metric, name=getattr(metric, "__name__", "metric"))
    return metric
