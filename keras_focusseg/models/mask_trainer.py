"""How a network trains: on integer masks, by its paper's loss, from data that are looked at."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_focusseg import _replica_checks, _replicas
from keras_focusseg.metrics import MeanIoU
from keras_focusseg.models.batch_checks import refuse_class_weight
from keras_focusseg.models.compile_arguments import (
    is_of_keras,
    loss_of_logits,
    metrics_of_logits,
)
from keras_focusseg.models.configured import ConfiguredModel
from keras_focusseg.models.first_look import FirstLook
from keras_focusseg.optimizers import AdamW, own_optimizer, tell_network

# Of a step of validation: images that fill up no batch, and whether this replica got any.
# TensorFlow traces each replica in its own thread.
_validated = threading.local()


class MaskTrainer(ConfiguredModel):
    """A functional model with an output `"logits"` whose targets are integer masks.

    Args:
        inputs: Image tensor (B, H, W, 3): RGB, 0..255, any height and width.
        outputs: Dict of tensors; `"logits"` is (B, H, W, classes) in float32.
        num_classes: Number of classes.
        ignore_class: Mask value that no loss and no metric counts.
        **kwargs: Further arguments of `keras.Model`.
    """

    def __init__(
        self,
        inputs: keras.KerasTensor,
        outputs: Mapping[str, keras.KerasTensor],
        *,
        num_classes: int,
        ignore_class: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(inputs=inputs, outputs=dict(outputs), **kwargs)
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        self._steps = _Steps(FirstLook(self))

    def loss_terms(self, y: Any, y_pred: Mapping[str, Any], sample_weight: Any = None) -> dict:
        """Terms of the paper's loss as named scalars, before weighting."""
        raise NotImplementedError(f"{type(self).__name__} must say what its loss is.")

    def loss_term_weights(self) -> dict[str, float]:
        """Weight of each term of `loss_terms`."""
        raise NotImplementedError(f"{type(self).__name__} must weight the terms of its loss.")

    def count_step(self) -> None:
        """Called once a step of training, after its loss; counts nothing by default."""

    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        metrics: Any = "auto",
        **kwargs: Any,
    ) -> None:
        """Prepares training on batches of (images, integer masks).

        Args:
            optimizer: `"auto"` for AdamW (2e-4, decay 0.05 on kernels, gradient norm clipped to
                1), or anything Keras takes.
            loss: `"auto"` for the paper's loss, or a Keras loss (object, name or function) of
                the masks and the logits. Keras' cross-entropies by name are meant of logits here,
                and leave out `ignore_class`.
            metrics: `"auto"` for mean IoU, or Keras metrics of the masks and the logits. They see
                no sample weights, and "accuracy" of Keras counts ignored pixels as wrong.
            **kwargs: Further arguments of `keras.Model.compile`.

        Raises:
            ValueError: Loss or metrics are of probabilities or of other outputs, `loss_weights` is
                among the arguments, or optimizer or metrics were made under another strategy of
                TensorFlow than the network, or under none.

        Example:
            ```python
            model.compile()
            model.compile("adam", loss=losses.Dice(), metrics=[])
            model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
            ```
        """
        if kwargs.pop("loss_weights", None) is not None:
            raise ValueError(
                "compile takes no loss_weights: the terms of the paper's loss are weighted by "
                "arguments of the network."
            )
        papers = loss is None or (isinstance(loss, str) and loss == "auto")
        with self._own_scope():  # where what is made here belongs, wherever compile is called
            if isinstance(optimizer, str) and optimizer == "auto":
                optimizer = AdamW(2e-4, weight_decay=0.05, global_clipnorm=1.0)
            if isinstance(metrics, str) and metrics == "auto":
                metrics = MeanIoU(self.num_classes, self.ignore_class)
            metrics = metrics_of_logits(metrics)
            metrics_of_logits(kwargs.get("weighted_metrics"))
            tell_network(optimizer, self)
            super().compile(
                optimizer=optimizer,
                loss=None if papers else loss_of_logits(loss, self.ignore_class),
                metrics=metrics,
                **kwargs,
            )
            self.__dict__["_loss_tracker"] = _MeanOfImages("loss")  # Keras would count it twice
            steps = self._steps
            steps.paper_loss = papers
            steps.term_means = []
            if papers:
                terms = self.loss_term_weights().items()
                steps.term_means = [_MeanOfImages(name) for name, weight in terms if weight]
        given = keras.tree.flatten([metrics, kwargs.get("weighted_metrics")])
        _replica_checks.check_scope(
            self, [metric for metric in given if isinstance(metric, keras.metrics.Metric)]
        )
        _replicas.repair_keras(self)
        _replicas.number_collectives(self)
        steps.look = FirstLook(self)

    def _own_scope(self) -> contextlib.AbstractContextManager[Any]:
        """The scope of the strategy of TensorFlow that the network was built under, if any."""
        strategy = getattr(self, "_distribute_strategy", None)
        return contextlib.nullcontext() if strategy is None else strategy.scope()

    def make_train_function(self, force: bool = False) -> Any:
        """Keras' compiled step; before it, replicas and averages start from the same weights.

        The optimizer is built here: TensorFlow traces a step that creates variables twice.
        """
        _replicas.join(self)
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        own = own_optimizer(self.optimizer)
        if own is not None and own.ema:
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
        """Keras' step; a replica that got no image of a small batch takes one that is not counted.

        To Keras' losses 255 may be an error; what they say of that image is left out.
        """
        *state, batch = arguments
        _validated.images = _replicas.images_of(batch, self.ignore_class)
        _validated.any = _replicas.got_images(batch)
        label = 0 if is_of_keras(self.loss) else self.ignore_class
        try:
            return super().test_step(*state, _replicas.filled_part(batch, label))
        finally:
            _validated.images = _validated.any = None

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The compiled loss of masks `y` and outputs `y_pred`, regularisation added."""
        if self._steps.paper_loss:
            loss = self._weighted_terms(y, y_pred, sample_weight)
        else:
            if len(getattr(sample_weight, "shape", ())) == 1 and is_of_keras(self.loss):
                pixels = ops.ones_like(y_pred["logits"][..., 0])
                sample_weight = ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1, 1)) * pixels
            loss = super().compute_loss(x, y, y_pred["logits"], sample_weight, training)
        if training:
            self.count_step()
        return loss

    def _weighted_terms(self, y: Any, y_pred: Mapping[str, Any], sample_weight: Any) -> Any:
        """The paper's loss; shows its terms beside it."""
        steps = self._steps
        total, shares = 0.0, _replicas.loss_shares()
        weights = self.loss_term_weights()
        means = {mean.name: mean for mean in steps.term_means}
        for name, value in self.loss_terms(y, y_pred, sample_weight).items():
            total = total + weights[name] * value
            if name in means:
                # Of each loss Keras gives a replica its share, and `loss` is shown whole.
                shown = ops.stop_gradient(value) * shares
                means[name].update_state(shown, sample_weight=ops.shape(y_pred["logits"])[0])
        for loss in self.losses:
            total = total + ops.sum(ops.cast(loss, "float32")) / shares
        return total

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Under a strategy of TensorFlow: builds what is not built, without a look at the data.

        Keras 3.15 takes the mean of the images and masks of all replicas, which fails where their
        sizes differ, and in multi-worker training (keras issue 20585); and a distributed dataset
        that is asked for a batch reads ahead, which may end a short epoch before it was trained on.
        """
        if self._distribute_strategy is None:
            return
        images = keras.KerasTensor((None, None, None, 3))
        masks = keras.KerasTensor(
            (None, None, None, *self._steps.look.mask_channels), dtype="int32"
        )
        with self._distribute_strategy.scope():
            self._symbolic_build(data_batch=(images, masks))

    def build_metrics(self) -> None:
        """Makes the variables of all metrics, which the first step makes otherwise.

        Whoever gives the metrics earlier counts to go on from, before a step, needs them.
        """
        images = keras.KerasTensor((2, 64, 64, 3))  # any size; JAX needs one
        masks = keras.KerasTensor((2, 64, 64), dtype="int32")
        self._symbolic_build(data_batch=(images, masks))

    def _get_metrics_result_or_logs(self, logs: Any) -> Any:
        """Keras' results at the end of an epoch or an evaluation, over the ranks of PyTorch."""
        _replicas.sum_metrics(self)
        return super()._get_metrics_result_or_logs(logs)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Updates the compiled metrics with masks and logits; all results by name."""
        any_image = getattr(_validated, "any", None)
        counted = [] if any_image is None else self.metrics_variables
        before = [ops.copy(variable.value) for variable in counted]
        results: dict = super().compute_metrics(x, y, y_pred["logits"], sample_weight)
        for variable, value in zip(counted, before, strict=True):
            variable.assign(ops.where(any_image, variable.value, value))
        return self.get_metrics_result() if counted else results

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss, the compiled metrics and the terms of the paper's loss."""
        steps = getattr(self, "_steps", None)
        return [*super().metrics, *(steps.term_means if steps is not None else ())]

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trains as `keras.Model.fit` does, with a look at the data.

        The first batch is looked at closely, of each later one the shape and a few pixels; what may
        be meant there (dark images, unknown ids) ends no training, but is told once.

        Args:
            x: Images (B, H, W, 3), RGB in 0..255, or batches of (images, masks) in any form that
                Keras takes.
            y: Integer masks (B, H, W), where `x` holds images alone.
            *args: Further arguments of `keras.Model.fit`.
            **kwargs: Further arguments of `keras.Model.fit`.

        Raises:
            ValueError: The first batch is not what a network trains on (images in 0..1, masks
                without a class), a later one cannot be (too small, not finite), or there is a
                `class_weight`.
        """
        refuse_class_weight(kwargs)
        look = self._steps.look
        x = look.at_first("train", x, y, args, kwargs)
        if "validation_data" in kwargs:
            kwargs["validation_data"] = look.at_validation(args, kwargs)
        look.done = True  # `fit` calls `evaluate` after each epoch
        try:
            with look.in_plain_words(), _replica_checks.told_of_parts():
                return super().fit(x, y, *args, **kwargs)
        finally:
            look.done = False

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Loss and metrics as `keras.Model.evaluate` gives them, with a look at the data as `fit`.

        Args:
            x: As for `fit`.
            y: As for `fit`.
            *args: Further arguments of `keras.Model.evaluate`.
            **kwargs: Further arguments of `keras.Model.evaluate`.

        Raises:
            ValueError: The data are not what a network is measured on.
        """
        look = self._steps.look
        if not look.done:
            x = look.at_first("test", x, y, args, kwargs)
        with look.in_plain_words(), _replica_checks.told_of_parts():
            return super().evaluate(x, y, *args, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """One step as `keras.Model.train_on_batch`; looks at the first batch after `compile`."""
        refuse_class_weight(kwargs)
        self._steps.look.at_batch("train", x, y, args, kwargs)
        return super().train_on_batch(x, y, *args, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Figures of one batch, as `keras.Model.test_on_batch` gives them."""
        self._steps.look.at_batch("test", x, y, args, kwargs)
        return super().test_on_batch(x, y, *args, **kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile` was given, for a `.keras` file or a clone; the paper's loss is `None`."""
        config: dict[str, Any] = super().get_compile_config()
        if config.get("loss") is not None:
            given = getattr(self.loss, "given", self.loss)
            config["loss"] = {"logits": keras.saving.serialize_keras_object(given)}
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)


class _MeanOfImages(keras.metrics.Mean):
    """The mean of a loss over images.

    Keras weights the loss of a batch by its images. Where a validation batch was filled up, those
    that fill it count nothing.
    """

    def update_state(self, values: Any, sample_weight: Any = None) -> Any:
        """Adds the loss of a batch."""
        images = getattr(_validated, "images", None)
        return super().update_state(values, sample_weight if images is None else images)


class _Steps:
    """What training needs and Keras must neither track nor save."""

    def __init__(self, look: FirstLook) -> None:
        self.look = look
        self.paper_loss = True
        self.term_means: list[keras.metrics.Metric] = []
