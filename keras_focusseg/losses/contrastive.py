"""The pixel contrastive loss that SCRNet adds to its cross-entropy, and its choice of anchors."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_focusseg._replicas import warn_per_replica
from keras_focusseg.losses.base import (
    integer_labels,
    nan_unless,
    safe_ratio,
    valid_pixels,
    weighted_mean,
)


def _nearest(labels: Any, height: Any, width: Any) -> Any:
    """Labels (B, H, W) at another size: cell i reads row floor(i * H / height), columns alike."""
    rows = ops.arange(height, dtype="int32") * ops.shape(labels)[1] // height
    columns = ops.arange(width, dtype="int32") * ops.shape(labels)[2] // width
    return ops.take(ops.take(labels, rows, axis=1), columns, axis=2)


def _quotas(counts: Any, max_samples: int, max_views: int) -> Any:
    """How many anchors each group of pixels gives.

    Args:
        counts: (B, C, 2) int32, the easy and the hard pixels of each class in each image.
        max_samples: Anchors in all.
        max_views: Anchors of one class in one image.

    Returns:
        (B, C, 2) int32.
    """
    easy, hard = counts[..., 0], counts[..., 1]
    takes_part = ops.cast(easy + hard > max_views, "int32")
    pairs = ops.maximum(ops.sum(takes_part), 1)
    views = ops.minimum(max_samples // pairs, max_views)
    # Half of the views, or all hard pixels if these are fewer; more where easy ones are lacking.
    # A class that takes part has more than `views` pixels, so easy and hard cannot both lack.
    of_hard = ops.maximum(ops.minimum(hard, views // 2), views - easy)
    quotas = ops.stack([views - of_hard, of_hard], axis=-1)
    return quotas * ops.expand_dims(takes_part, -1)


def sample_anchors(
    labels: Any,
    predictions: Any,
    valid: Any,
    num_classes: int,
    uniform: Any,
    max_samples: int = 1024,
    max_views: int = 100,
) -> tuple[Any, Any]:
    """Draws the anchors of `PixelContrast`, half of them among wrongly predicted pixels.

    The segmentation-aware hard anchor sampling of ContrastiveSeg (arXiv 2101.11939), as its authors
    released it, with static shapes:

    1. a class takes part in an image if it has more than `max_views` valid pixels there;
    2. each such pair of image and class gives n = min(max_views, floor(max_samples / pairs));
    3. its pixels are hard where the prediction is wrong, else easy. If there are at least n / 2 of
       both, floor(n / 2) are hard and the rest easy. If only the hard are that many, all easy ones
       and the rest hard; if only the easy are, all hard ones and the rest easy.

    Within a group the pixels of the smallest `uniform` are taken: a draw without replacement.

    Args:
        labels: Classes (B, h, w), int32.
        predictions: Predicted classes (B, h, w), an integer dtype.
        valid: (B, h, w) bool, False where a pixel is ignored.
        num_classes: Number of classes C; (2C + 1) * h * w must stay below 2^31.
        uniform: (B, h, w) float32 random numbers in [0, 1), independent of each other.
        max_samples: Size of the result, and at most so many anchors.
        max_views: At most so many anchors of one class in one image.

    Returns:
        Positions in the map flattened to B * h * w, (max_samples,) int32, none twice; and True for
        those that are anchors, (max_samples,). The others hold position 0.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg.losses.contrastive import sample_anchors
        >>> labels = np.array([[[0, 0, 0, 1, 1, 1]]], "int32")
        >>> predictions = np.array([[[1, 0, 0, 1, 1, 1]]], "int32")  # the first pixel is hard
        >>> uniform = np.array([[[0.9, 0.7, 0.1, 0.3, 0.2, 0.8]]], "float32")
        >>> positions, anchors = sample_anchors(
        ...     labels, predictions, labels >= 0, 2, uniform, max_samples=5, max_views=2
        ... )
        >>> [int(p) for p in positions], [bool(a) for a in anchors]
        ([2, 0, 4, 3, 0], [True, True, True, True, False])
    """
    labels, predictions = ops.convert_to_tensor(labels), ops.cast(predictions, "int32")
    batch, height, width = ops.shape(labels)
    cells = height * width
    image = ops.reshape(ops.arange(batch, dtype="int32"), (-1, 1))
    # Groups in an image: class 0 easy, class 0 hard, class 1 easy, .. and last what is ignored.
    groups = 2 * num_classes + 1
    wrong = ops.cast(ops.not_equal(predictions, labels), "int32")
    group = ops.where(valid, 2 * labels + wrong, groups - 1)
    group = ops.reshape(group, (batch, cells))
    everything = ops.reshape(group + image * groups, (-1,))
    counts = ops.segment_sum(ops.ones_like(everything), everything, num_segments=batch * groups)
    counts = ops.reshape(counts, (batch, groups))[:, :-1]

    # Shuffled, then sorted by group. The second key holds the place in the shuffled order, so that
    # no two are equal: nothing depends on whether a backend's sort is stable, and a random number
    # keeps all its digits beside any number of groups.
    shuffled = ops.argsort(ops.reshape(uniform, (batch, cells)), axis=1)
    shuffled = ops.cast(shuffled, "int32") + image * cells
    key = ops.take(ops.reshape(group, (-1,)), shuffled) * cells + ops.arange(cells, dtype="int32")
    places = ops.reshape(ops.sort(key, axis=1) % cells + image * cells, (-1,))
    starts = ops.reshape(ops.cumsum(counts, axis=1) - counts + image * cells, (-1,))

    # Anchor number s is the (s - begin)-th pixel of the first group whose quota ends beyond s.
    quotas = _quotas(ops.reshape(counts, (batch, num_classes, 2)), max_samples, max_views)
    quotas = ops.reshape(quotas, (-1,))
    ends = ops.cumsum(quotas)
    slot = ops.arange(max_samples, dtype="int32")
    anchors = slot < ends[-1]
    of = ops.cast(ops.searchsorted(ends, slot, side="right"), "int32")
    of = ops.where(anchors, of, 0)
    place = ops.take(starts - (ends - quotas), of) + slot
    place = ops.take(places, ops.where(anchors, place, 0))
    positions = ops.take(ops.reshape(shuffled, (-1,)), place)
    return ops.where(anchors, positions, 0), anchors


def contrast(
    vectors: Any,
    classes: Any,
    anchors: Any,
    temperature: float = 0.1,
    base_temperature: float = 0.07,
) -> Any:
    """Contrastive loss between vectors of known class.

    With z the vectors, s_ij = z_i · z_j / temperature, P_i the other anchors of i's class and N_i
    the anchors of other classes, anchor i costs

        -(temperature / base_temperature)
            * mean over j in P_i of log(exp(s_ij) / (exp(s_ij) + sum over n in N_i of exp(s_in)))

    (ContrastiveSeg, arXiv 2101.11939, with the factor of its authors' code). The denominator holds
    the one positive and all negatives, not the other positives.

    Args:
        vectors: Unit vectors (A, D), any float dtype.
        classes: (A,) int.
        anchors: (A,) bool; the other rows count for nothing, whatever they hold.
        temperature: The τ of these formulas.
        base_temperature: Their τ_base.

    Returns:
        The mean over the anchors with a positive, a float32 scalar; 0 if there is none.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg.losses.contrastive import contrast
        >>> vectors = np.array([[1, 0], [1, 0], [0, 1]], "float32")
        >>> loss = contrast(vectors, np.array([0, 0, 1]), np.array([True, True, True]), 1.0, 1.0)
        >>> round(float(loss), 4)  # log(1 + e^-1); the lone vector of class 1 has no positive
        0.3133
    """
    vectors, classes = ops.cast(vectors, "float32"), ops.convert_to_tensor(classes)
    vectors = ops.where(ops.expand_dims(anchors, 1), vectors, 0.0)
    similarity = ops.matmul(vectors, ops.transpose(vectors)) / temperature  # s, (A, A)
    both = ops.logical_and(ops.expand_dims(anchors, 1), ops.expand_dims(anchors, 0))
    same = ops.equal(ops.expand_dims(classes, 1), ops.expand_dims(classes, 0))
    index = ops.arange(ops.shape(vectors)[0])
    other = ops.not_equal(ops.expand_dims(index, 1), ops.expand_dims(index, 0))
    positive = ops.cast(ops.logical_and(both, ops.logical_and(same, other)), "float32")
    negative = ops.logical_and(both, ops.logical_not(same))
    # -log(e^s / (e^s + e^n)) = softplus(n - s), which no temperature overflows. A row without
    # negatives has n near -1e9, hence loss and gradient 0.
    negatives = ops.logsumexp(ops.where(negative, similarity, -1e9), axis=1, keepdims=True)
    losses = ops.softplus(negatives - similarity)
    count = ops.sum(positive, axis=1)  # |P_i|
    losses = safe_ratio(ops.sum(positive * losses, axis=1), count)
    mean = weighted_mean(losses, ops.cast(count > 0, "float32"))
    return mean * (temperature / base_temperature)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class PixelContrast(keras.losses.Loss):
    """Pixel contrastive loss: same-class embeddings close, those of other classes apart.

    The second term of SCRNet's loss (arXiv 2412.08671), from ContrastiveSeg (Wang et al.,
    arXiv 2101.11939), whose released values are the defaults. Up to `max_samples` pixels of the
    batch become anchors (`sample_anchors` in this module), and each is compared with all others,
    those of other images too (`contrast`).

    Args:
        ignore_class: Label that is left out; labels outside 0 .. C-1 always are. None: only those.
        temperature: Divides the cosine similarities, > 0.
        base_temperature: The loss is multiplied by temperature / base_temperature, > 0.
        max_samples: At most so many anchors in a batch.
        max_views: At most so many anchors of one class in one image. A class with no more pixels
            than this takes no part.
        name: Name of the loss.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import losses
        >>> masks = np.repeat([[0] * 8 + [1] * 8], 8, axis=0)[None]  # (1, 8, 16)
        >>> embedding = np.eye(2, dtype="float32")[masks[:, ::2, ::2]]  # (1, 4, 8, 2)
        >>> loss = losses.PixelContrast(max_views=10)
        >>> value = loss(masks, embedding, logits=embedding, seed=0)
        >>> round(float(value), 4)  # 0.1 / 0.07 * log(1 + 10 e^-10)
        0.0006
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        temperature: float = 0.1,
        base_temperature: float = 0.07,
        max_samples: int = 1024,
        max_views: int = 100,
        name: str = "pixel_contrast",
    ) -> None:
        # A Keras loss for its scaling under `tf.distribute`; float32 whatever the policy.
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        if temperature <= 0 or base_temperature <= 0 or max_samples < 1 or max_views < 1:
            raise ValueError(
                "PixelContrast needs temperatures > 0, max_samples >= 1 and max_views >= 1, got "
                f"temperature={temperature}, base_temperature={base_temperature}, max_samples="
                f"{max_samples}, max_views={max_views}."
            )
        self.ignore_class = ignore_class
        self.temperature = float(temperature)
        self.base_temperature = float(base_temperature)
        self.max_samples = int(max_samples)
        self.max_views = int(max_views)

    def __call__(
        self,
        masks: Any,
        embedding: Any,
        logits: Any,
        seed: int | keras.random.SeedGenerator | None = None,
    ) -> Any:
        """The loss of a batch.

        Masks of another size are read at the nearest pixel: cell i of h takes row
        floor(i * H / h), as PyTorch's `nearest` does; columns alike.

        Args:
            masks: Integer masks (B, H, W) or (B, H, W, 1).
            embedding: Unit vectors (B, h, w, D), any float dtype. The gradient goes here alone.
            logits: (B, h, w, C), for the predicted classes.
            seed: Of the draw. A `keras.random.SeedGenerator` draws anew in each step; make it an
                attribute of the model or layer that calls this, so that Keras keeps its state. An
                int draws alike each time. None takes Keras' global generator, which JAX refuses
                inside a compiled function.

        Returns:
            A float32 scalar; 0 if no anchor has a positive, NaN for float masks with blended ids.

        Raises:
            ValueError: Shapes do not fit each other, or a NumPy mask holds a blended id.
        """
        where = type(self).__name__
        warn_per_replica("The contrast between pixels")
        labels, whole = integer_labels(masks, where)
        embedding, logits = ops.convert_to_tensor(embedding), ops.convert_to_tensor(logits)
        _check_shapes(labels, embedding, logits, where)
        num_classes = logits.shape[-1]
        batch, height, width, features = ops.shape(embedding)

        labels = _nearest(labels, height, width)
        valid = valid_pixels(labels, num_classes, self.ignore_class)
        labels = ops.where(valid, labels, ops.zeros_like(labels))
        uniform = keras.random.uniform((batch, height, width), dtype="float32", seed=seed)
        positions, anchors = sample_anchors(
            labels,
            ops.argmax(logits, axis=-1),
            valid,
            num_classes,
            uniform,
            self.max_samples,
            self.max_views,
        )
        vectors = ops.take(ops.reshape(embedding, (-1, features)), positions, axis=0)
        classes = ops.take(ops.reshape(labels, (-1,)), positions)
        value = super().__call__({"classes": classes, "anchors": anchors}, vectors)
        return nan_unless(whole, value)

    def call(self, y_true: dict[str, Any], y_pred: Any) -> Any:
        """`contrast` as one value of shape (1,) for Keras to reduce; it casts all to float32."""
        anchors = y_true["anchors"] > 0.5
        value = contrast(
            y_pred, y_true["classes"], anchors, self.temperature, self.base_temperature
        )
        return ops.reshape(value, (1,))

    def get_config(self) -> dict[str, Any]:
        """Plain arguments."""
        return {
            "ignore_class": self.ignore_class,
            "temperature": self.temperature,
            "base_temperature": self.base_temperature,
            "max_samples": self.max_samples,
            "max_views": self.max_views,
            "name": self.name,
        }


def _check_shapes(labels: Any, embedding: Any, logits: Any, where: str) -> None:
    """Refuses embedding and logits of different grids, and masks of another batch.

    Raises:
        ValueError: With the three shapes.
    """
    shapes = [tuple(x.shape) for x in (labels, embedding, logits)]
    grids = list(zip(shapes[1][:3], shapes[2][:3], strict=False)) + [(shapes[0][0], shapes[1][0])]
    fits = len(shapes[1]) == len(shapes[2]) == 4 and all(
        a is None or b is None or a == b for a, b in grids
    )
    if not fits or None in (shapes[1][-1], shapes[2][-1]):
        raise ValueError(
            f"{where}: masks of shape {shapes[0]}, an embedding of shape {shapes[1]} and logits of "
            f"shape {shapes[2]} do not fit each other; expected (batch, height, width), and the "
            "same (batch, h, w) before the known numbers of features and of classes."
        )
