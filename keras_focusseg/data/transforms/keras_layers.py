"""Augmentation layers of Keras and keras-cv as augmentations of this package.

The layers take `{"images", "segmentation_masks"}`, fill the mask with the image's fill value where
the picture ends, and keep their random state between calls. `KerasAugment` makes of them what
`batches` needs: a function of image, mask and generator whose masks hold the ids that were there
and 255. What a layer does to masks was tried for each, see `LAYERS`.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from keras_focusseg.data.accelerators import leave_accelerators_alone
from keras_focusseg.data.transforms.base import Step
from keras_focusseg.data.transforms.canvas import Canvas
from keras_focusseg.label_spaces import IGNORE

_SIZES_KEPT = 16  # graphs of a layer, one for each size of image


@dataclass(frozen=True)
class Verdict:
    """What a layer does to image and mask, as found with keras 3.15.1 and keras-cv 0.9.0.

    Attributes:
        kind: "geometry" moves image and mask alike; "colour" changes the image alone; "erase"
            hides parts of the image and leaves their labels; "group" does what the layers inside
            it do; "refused" is not accepted.
        reason: why it is refused and what to use instead.
    """

    kind: Literal["geometry", "colour", "erase", "group", "refused"]
    reason: str = ""


_GEOMETRY, _COLOUR, _ERASE = Verdict("geometry"), Verdict("colour"), Verdict("erase")
_GROUP = Verdict("group")
_MIXES = "it mixes several images and {}; use data.transforms.CutMix or data.transforms.ClassMix"
_NO_RANGE = Verdict("refused", "images stay 0..255 here, the models normalise them themselves")

LAYERS: dict[str, Verdict] = {
    "keras.layers.CenterCrop": _GEOMETRY,
    "keras.layers.RandomCrop": _GEOMETRY,
    "keras.layers.RandomFlip": _GEOMETRY,
    "keras.layers.RandomPerspective": _GEOMETRY,
    "keras.layers.RandomRotation": _GEOMETRY,
    "keras.layers.RandomShear": _GEOMETRY,
    "keras.layers.RandomTranslation": _GEOMETRY,
    "keras.layers.RandomZoom": _GEOMETRY,
    "keras.layers.Resizing": _GEOMETRY,
    "keras.layers.AutoContrast": _COLOUR,
    "keras.layers.Equalization": _COLOUR,
    "keras.layers.RandomBrightness": _COLOUR,
    "keras.layers.RandomColorDegeneration": _COLOUR,
    "keras.layers.RandomColorJitter": _COLOUR,
    "keras.layers.RandomContrast": _COLOUR,
    "keras.layers.RandomGaussianBlur": _COLOUR,
    "keras.layers.RandomHue": _COLOUR,
    "keras.layers.RandomInvert": _COLOUR,
    "keras.layers.RandomPosterization": _COLOUR,
    "keras.layers.RandomSaturation": _COLOUR,
    "keras.layers.RandomSharpness": _COLOUR,
    "keras.layers.Solarization": _COLOUR,
    "keras.layers.RandomErasing": _ERASE,
    "keras.layers.Pipeline": _GROUP,
    "keras.layers.RandAugment": _GROUP,
    "keras.layers.AugMix": Verdict(
        "refused", "it blends the ids of masks to fractions; use RandAugment"
    ),
    "keras.layers.ContrastLimitedAdaptiveHistogramEqualization": Verdict(
        "refused", "it fails on masks; use Equalization or AutoContrast"
    ),
    "keras.layers.CutMix": Verdict("refused", _MIXES.format("gives masks three channels")),
    "keras.layers.MixUp": Verdict("refused", _MIXES.format("blends the ids of masks to fractions")),
    "keras.layers.MaxNumBoundingBoxes": Verdict("refused", "it is for bounding boxes"),
    "keras.layers.Normalization": _NO_RANGE,
    "keras.layers.Rescaling": _NO_RANGE,
    "keras.layers.RandomElasticTransform": Verdict(
        "refused",
        "it distorts image and mask by two different fields, so that they no longer fit; use "
        "RandomPerspective",
    ),
    "keras.layers.RandomGrayscale": Verdict(
        "refused", "it fails on images with masks; use RandomColorDegeneration or RandomSaturation"
    ),
    "keras_cv.layers.JitteredResize": _GEOMETRY,
    "keras_cv.layers.RandomCropAndResize": _GEOMETRY,
    "keras_cv.layers.RandomFlip": _GEOMETRY,
    "keras_cv.layers.RandomRotation": _GEOMETRY,
    "keras_cv.layers.RandomShear": _GEOMETRY,
    "keras_cv.layers.RandomTranslation": _GEOMETRY,
    "keras_cv.layers.RandomZoom": _GEOMETRY,
    "keras_cv.layers.Resizing": _GEOMETRY,
    "keras_cv.layers.AutoContrast": _COLOUR,
    "keras_cv.layers.ChannelShuffle": _COLOUR,
    "keras_cv.layers.Equalization": _COLOUR,
    "keras_cv.layers.Grayscale": _COLOUR,
    "keras_cv.layers.Posterization": _COLOUR,
    "keras_cv.layers.RandomBrightness": _COLOUR,
    "keras_cv.layers.RandomChannelShift": _COLOUR,
    "keras_cv.layers.RandomColorDegeneration": _COLOUR,
    "keras_cv.layers.RandomColorJitter": _COLOUR,
    "keras_cv.layers.RandomContrast": _COLOUR,
    "keras_cv.layers.RandomGaussianBlur": _COLOUR,
    "keras_cv.layers.RandomHue": _COLOUR,
    "keras_cv.layers.RandomSaturation": _COLOUR,
    "keras_cv.layers.RandomSharpness": _COLOUR,
    "keras_cv.layers.Solarization": _COLOUR,
    "keras_cv.layers.GridMask": _ERASE,
    "keras_cv.layers.RandomCutout": _ERASE,
    "keras_cv.layers.RandAugment": _GROUP,
    "keras_cv.layers.RandomAugmentationPipeline": _GROUP,
    "keras_cv.layers.RandomChoice": _GROUP,
    "keras_cv.layers.AugMix": Verdict(
        "refused", "it blends the ids of masks to fractions; use RandAugment"
    ),
    "keras_cv.layers.Augmenter": Verdict("refused", "give its layers as a list"),
    "keras_cv.layers.CutMix": Verdict("refused", _MIXES.format("needs a batch")),
    "keras_cv.layers.FourierMix": Verdict("refused", _MIXES.format("needs a batch")),
    "keras_cv.layers.MixUp": Verdict(
        "refused", _MIXES.format("blends the ids of masks to fractions")
    ),
    "keras_cv.layers.Mosaic": Verdict(
        "refused", "it fails on masks and needs a batch; use data.transforms.CutMix"
    ),
    "keras_cv.layers.RandomApply": Verdict(
        "refused",
        "it fails where TensorFlow traces it; use RandomAugmentationPipeline([layer], "
        "augmentations_per_image=1, rate=...)",
    ),
    "keras_cv.layers.RandomAspectRatio": Verdict(
        "refused", "it fails on masks; use data.Augment(aspect=...)"
    ),
    "keras_cv.layers.RandomCrop": Verdict(
        "refused", "it fails on masks; use keras.layers.RandomCrop"
    ),
    "keras_cv.layers.RandomJpegQuality": Verdict(
        "refused",
        "it takes images of 0..1 and turns those of 0..255 white; use a function with Pillow",
    ),
    "keras_cv.layers.RepeatedAugmentation": Verdict(
        "refused", "it makes a larger batch of a batch; use more epochs"
    ),
    "keras_cv.layers.Rescaling": _NO_RANGE,
}
"""Every layer that was tried, by its public name. Others are tried out when they are called."""


class KerasAugment(Step):
    """Augmentation layers of Keras or keras-cv, in the pipeline like `Augment`.

    Masks come out as they went in, uint8 ids, and 255 where the picture ended; image and mask
    stay aligned. The result is a function of image, mask and generator alone, whatever was called
    before and in whatever thread; the state and the `seed` of the layers are not used.

    Where TensorFlow is installed, it computes, on the CPU and under every backend, with one graph
    for each size of image (the last 16 are kept, so that images of many sizes should be cropped
    first). Elsewhere the backend computes step by step, which is slow on JAX. keras-cv always
    needs TensorFlow: `pip install 'keras-focusseg[cv]'`.

    Args:
        layers: one layer, or several that are applied one after the other.

    Attributes:
        crop_size: (height, width) of every result if a layer fixes it, else None.

    Raises:
        TypeError: if something else than layers is given.
        ValueError: if a layer would damage masks, see the table in
            "Augmentation layers of Keras and keras-cv"; the message says what to use instead.
            When it is called: if a layer that is not in the table damages a mask or cannot be
            repeated, or a crop is larger than its image.

    Example:
        ```python
        zoom = keras.layers.RandomZoom(0.3, fill_mode="constant")
        augment = KerasAugment([keras.layers.RandomFlip("horizontal"), zoom])
        image, mask = np.zeros((48, 64, 3), "uint8"), np.zeros((48, 64), "uint8")
        image, mask = augment(image, mask, np.random.default_rng(0))
        ```
    """

    def __init__(self, layers: keras.Layer | Sequence[keras.Layer]) -> None:
        self.layers = tuple(layers) if isinstance(layers, (list, tuple)) else (layers,)
        if not self.layers:
            raise ValueError("KerasAugment: give at least one layer.")
        for layer in self.layers:
            if not isinstance(layer, keras.Layer):
                raise TypeError(
                    f"KerasAugment: layers must be Keras layers, got {layer!r}. A function "
                    "(image, mask, rng) -> (image, mask) is an augmentation as it is."
                )
        self._runs = [_Run(layer) for layer in self.layers]

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """(height, width) of every result if a layer fixes it, else None."""
        sizes = [size for layer in self.layers if (size := _result_size(layer)) is not None]
        return sizes[-1] if sizes else None

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Apply the layers to what is there."""
        image, mask = canvas.arrays()
        for run in self._runs:
            image, mask = run(image, mask, int(rng.integers(2**63 - 1)))
        canvas.put(image, mask)

    def __repr__(self) -> str:
        return f"KerasAugment([{', '.join(_name(layer) for layer in self.layers)}])"

    def to_config(self) -> dict[str, Any]:
        """The layers as plain values that `json` can write."""
        layers = [_readable(keras.saving.serialize_keras_object(layer)) for layer in self.layers]
        return {"step": "KerasAugment", "layers": layers}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> KerasAugment:
        """The augmentation that `to_config` described; runs no code that a file brings along."""
        return cls([_revive(layer) for layer in config["layers"]])


class _Run:
    """One layer: checked, its fill exchanged with the ignored id, run by copies of it."""

    def __init__(self, layer: keras.Layer) -> None:
        self.name = _name(layer)
        parts = list(_parts(layer))
        for part, groups in parts:
            _check(part, groups)
        self._layer = layer
        self._fill = _fill(layer, [part for part, _ in parts])
        self._crops = [
            (part.height, part.width)
            for part, _ in parts
            if _name(part) in ("keras.layers.RandomCrop", "keras.layers.CenterCrop")
        ]
        # One copy for each thread that calls at the same time: a layer's state is its own.
        self._free: list[_TensorFlowCopy | _EagerCopy] = []

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        height, width = mask.shape
        for least in self._crops:
            if height < least[0] or width < least[1]:
                raise ValueError(
                    f"{self.name} of {least[0]} x {least[1]} got an image of {height} x {width} "
                    "(height x width): it would enlarge it and blend the ids of its mask. Use a "
                    "smaller crop, or data.Augment(crop_size=...), which fills up."
                )
        try:
            copy = self._free.pop()
        except IndexError:
            copy = _copy_of(self._layer)
        try:
            new_image, new_mask = copy(
                image.astype("float32"),
                _exchange(mask, self._fill).astype("float32")[..., None],
                np.random.default_rng(seed),
            )
        finally:
            self._free.append(copy)
        if (
            new_image.ndim != 3
            or new_image.shape[-1] != 3
            or (new_mask.shape != (*new_image.shape[:2], 1))
        ):
            raise ValueError(
                f"{self.name} made an image {new_image.shape} and a mask {new_mask.shape} of an "
                f"image {image.shape}; expected (H, W, 3) and (H, W, 1)."
            )
        new_image = np.clip(np.rint(new_image), 0, 255).astype("uint8")
        return new_image, self._ids(new_mask[..., 0], mask)

    def _ids(self, found: np.ndarray, before: np.ndarray) -> np.ndarray:
        """The mask that a layer made, as ids; an error if there are others than before."""
        if not _is_id(self._fill):
            found = np.where(found == np.float32(self._fill), IGNORE, found)
        ids = np.clip(found, 0, 255).astype("uint8")
        known = np.zeros(257, bool)  # the last stands for what is no id
        known[_exchange(before, self._fill)] = True
        known[[IGNORE, int(self._fill) if _is_id(self._fill) else IGNORE]] = True
        wrong = ~known[np.where(ids == found, ids.astype(int), 256)]
        if wrong.any():
            raise ValueError(
                f"{self.name} damages masks: {found[wrong][0]:g} ({int(wrong.sum())} of "
                f"{wrong.size} pixels) was not in the mask before. Use another layer, or a "
                "function (image, mask, rng) -> (image, mask) of your own."
            )
        return _exchange(ids, self._fill)


def _exchange(mask: np.ndarray, fill: float) -> np.ndarray:
    """The mask with the ids `fill` and 255 in each other's place.

    A layer fills new area with its fill value, in image and mask. Exchanged before and after, that
    area is 255 in the end, and the class of that number is itself again.
    """
    if not _is_id(fill) or fill == IGNORE:
        return mask
    table = np.arange(256, dtype="uint8")
    table[[int(fill), IGNORE]] = IGNORE, int(fill)
    return table[mask]


def _is_id(value: float) -> bool:
    return 0 <= value <= 255 and value == int(value)


class _TensorFlowCopy:
    """A copy of a layer as TensorFlow graphs; for one thread at a time."""

    def __init__(self, layer: keras.Layer) -> None:
        import tensorflow as tf

        leave_accelerators_alone(tf)
        self._name = _name(layer)
        self._graphs: dict[tuple[int, int], tuple[Any, list[Any]]] = {}
        with _building(), tf.device("CPU:0"), _own_generator(tf) as generator:
            self._layer = _copy_layer(layer)
            _replace_samplers(self._layer, generator)

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        import tensorflow as tf

        with tf.device("CPU:0"):
            size = mask.shape[0], mask.shape[1]
            if size not in self._graphs:
                if len(self._graphs) == _SIZES_KEPT:
                    del self._graphs[next(iter(self._graphs))]
                with _building():
                    self._graphs[size] = self._trace(tf, size)
            graph, states = self._graphs[size]
            for state, number in zip(
                states, rng.integers(2**31 - 1, size=len(states)), strict=True
            ):
                # Keras' generators hold (seed, counter), TensorFlow's (counter, counter, key).
                state.assign(
                    [number, 0] if len(state.shape) and state.shape[0] == 2 else [0, 0, number]
                )
            new_image, new_mask = graph(tf.constant(image), tf.constant(mask))
            return new_image.numpy(), new_mask.numpy().astype("float32")

    def _trace(self, tf: Any, size: tuple[int, int]) -> tuple[Any, list[Any]]:
        """The graph for images of one size, and the states of generators that it reads."""

        def run(image: Any, mask: Any) -> tuple[Any, Any]:
            result = self._layer({"images": image, "segmentation_masks": mask}, training=True)
            return result["images"], result["segmentation_masks"]

        try:
            graph = tf.function(run).get_concrete_function(
                tf.TensorSpec((*size, 3), tf.float32), tf.TensorSpec((*size, 1), tf.float32)
            )
        except Exception as error:
            raise ValueError(_failed(self._name, size, error)) from error
        definition = graph.graph.as_graph_def()
        nodes = [*definition.node]
        for function in definition.library.function:
            nodes += function.node_def
        stateful = {node.op for node in nodes if node.op in _UNREPEATABLE}
        if stateful:
            raise ValueError(
                f"{self._name} cannot be repeated: it draws with {', '.join(sorted(stateful))}, "
                "which keep a state of their own. Draw with a keras.random.SeedGenerator."
            )
        # In the order in which the layer reads them, which is the same in every copy.
        states = [
            variable
            for handle in graph.captured_inputs
            for variable in graph.variables
            if variable.handle is handle
            and variable.dtype.is_integer
            and variable.shape in ([2], [3])
        ]
        return graph, states


class _EagerCopy:
    """A copy of a layer that the backend runs step by step; for one thread at a time."""

    def __init__(self, layer: keras.Layer) -> None:
        self._name = _name(layer)
        with _building():
            self._layer = _copy_layer(layer)
        self._generators: list[keras.random.SeedGenerator] = []
        for part in _all_layers(self._layer):
            self._generators += [
                value for value in vars(part).values() if isinstance(value, _SEED_GENERATOR)
            ]

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        with keras.device("cpu:0"):
            for generator in self._generators:
                generator.state.assign(np.array([rng.integers(2**31 - 1), 0]))
            try:
                result = self._layer(
                    {
                        "images": keras.ops.convert_to_tensor(image),
                        "segmentation_masks": keras.ops.convert_to_tensor(mask),
                    },
                    training=True,
                )
            except Exception as error:
                raise ValueError(_failed(self._name, mask.shape, error)) from error
            return (
                keras.ops.convert_to_numpy(result["images"]),
                keras.ops.convert_to_numpy(result["segmentation_masks"]).astype("float32"),
            )


_LOCK = threading.Lock()
_SEED_GENERATOR = keras.random.SeedGenerator
# What TensorFlow draws from a state inside the operation, which nothing can set.
_UNREPEATABLE = (
    "Multinomial",
    "ParameterizedTruncatedNormal",
    "RandomGamma",
    "RandomGammaGrad",
    "RandomPoisson",
    "RandomPoissonV2",
    "RandomShuffle",
    "RandomStandardNormal",
    "RandomUniform",
    "RandomUniformInt",
    "TruncatedNormal",
)


def _copy_of(layer: keras.Layer) -> _TensorFlowCopy | _EagerCopy:
    if importlib.util.find_spec("tensorflow"):
        return _TensorFlowCopy(layer)
    return _EagerCopy(layer)


def _failed(name: str, size: Sequence[int], error: Exception) -> str:
    return (
        f"{name} fails on an image of {size[0]} x {size[1]} (height x width) with a mask, given as "
        f"{{'images', 'segmentation_masks'}}: {type(error).__name__}: {error}"
    )


@contextmanager
def _building() -> Iterator[None]:
    """One thread at a time builds layers and graphs, in float32 whatever the policy is."""
    with _LOCK:
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        try:
            yield
        finally:
            keras.config.set_dtype_policy(policy)


@contextmanager
def _own_generator(tf: Any) -> Iterator[Any]:
    """A global generator of TensorFlow for what is built inside, as keras-cv's layers take it."""
    before = tf.random.get_global_generator()
    own = tf.random.Generator.from_seed(0)
    tf.random.set_global_generator(own)
    try:
        yield own
    finally:
        tf.random.set_global_generator(before)


def _copy_layer(layer: keras.Layer) -> keras.Layer:
    """The layer built anew, filling new area with one value even inside a RandAugment."""
    copy = _copy(layer)
    for part, _ in _parts(copy):
        if LAYERS.get(_name(part)) == _GEOMETRY and hasattr(part, "fill_mode"):
            part.fill_mode = "constant"
    return copy


def _copy(value: Any) -> Any:
    """A layer built anew from its configuration, in float32, and so the layers inside it."""
    if isinstance(value, keras.Layer):
        return type(value).from_config(_copy(value.get_config()))
    if isinstance(value, dict):
        config = _readable(value)
        return {k: "float32" if k == "dtype" else _copy(v) for k, v in config.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(item) for item in value)
    return value


def _readable(config: Any) -> Any:
    """The configuration with the factors of Keras' RandomShear as its constructor takes them.

    Given 0.4, it writes (-0.4, 0.4), which it refuses to read (keras 3.15.1).
    """
    if isinstance(config, dict):
        return {
            key: value[1]
            if key in ("x_factor", "y_factor")
            and isinstance(value, (list, tuple))
            and value[0] == -value[1]
            else _readable(value)
            for key, value in config.items()
        }
    return [_readable(item) for item in config] if isinstance(config, list) else config


def _revive(value: Any) -> Any:
    """The object that a configuration describes.

    Keras' layers build what is inside them; not all of keras-cv's do, so theirs is built first.
    """
    if isinstance(value, dict):
        if "class_name" not in value:
            return {key: _revive(item) for key, item in value.items()}
        if not str(value.get("module")).startswith("keras."):
            value = {**value, "config": _revive(value["config"])}
        return keras.saving.deserialize_keras_object(value, safe_mode=True)
    if isinstance(value, (list, tuple)):
        items = [_revive(item) for item in value]
        # JSON knows lists only, and some layers insist on tuples.
        return items if any(isinstance(item, keras.Layer) for item in items) else tuple(items)
    return value


def _replace_samplers(layer: keras.Layer, generator: Any) -> None:
    """Let keras-cv's factors come from the generator: theirs come from an unrepeatable state."""
    layers = _all_layers(layer)
    if not any(_name(part).startswith("keras_cv.") for part in layers):
        return
    import tensorflow as tf
    from keras_cv import core

    class Uniform(core.UniformFactorSampler):
        def __call__(self, shape: Any = (), dtype: Any = "float32") -> Any:
            return generator.uniform(shape, self.lower, self.upper, dtype=dtype)

    class Normal(core.NormalFactorSampler):
        def __call__(self, shape: Any = (), dtype: Any = "float32") -> Any:
            drawn = generator.normal(shape, self.mean, self.stddev, dtype=dtype)
            return tf.clip_by_value(drawn, self.min_value, self.max_value)

    repeatable: dict[type, Any] = {
        core.UniformFactorSampler: Uniform,
        core.NormalFactorSampler: Normal,
    }
    for part in layers:
        for name, value in list(vars(part).items()):
            if type(value) in repeatable:
                setattr(part, name, repeatable[type(value)].from_config(value.get_config()))


def _name(layer: keras.Layer) -> str:
    """Public name of the layer, or of the known layer that it derives from, or of its class."""
    for kind in type(layer).__mro__:
        name = f"{kind.__module__.split('.')[0]}.layers.{kind.__name__}"
        if name in LAYERS:
            return name
    return f"{type(layer).__module__}.{type(layer).__name__}"


def _inner(layer: keras.Layer) -> Iterator[keras.Layer]:
    """The layers that a layer holds."""
    for value in list(vars(layer).values()):
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, keras.Layer):
                yield item


def _all_layers(layer: keras.Layer) -> list[keras.Layer]:
    """The layer and all layers inside it, each once, in the order of their attributes."""
    found = {id(layer): layer}
    waiting = [layer]
    while waiting:
        for item in _inner(waiting.pop(0)):
            if id(item) not in found:
                found[id(item)] = item
                waiting.append(item)
    return list(found.values())


def _parts(
    layer: keras.Layer, groups: tuple[keras.Layer, ...] = ()
) -> Iterator[tuple[keras.Layer, tuple[keras.Layer, ...]]]:
    """The layers that meet images and masks, each with the groups it lies in, outermost first."""
    yield layer, groups
    if LAYERS.get(_name(layer), _GROUP) == _GROUP:
        for item in {id(item): item for item in _inner(layer)}.values():
            yield from _parts(item, (*groups, layer))


def _check(layer: keras.Layer, groups: tuple[keras.Layer, ...]) -> None:
    """Stop with the reason if the layer would damage images or masks."""
    name = _name(layer)
    verdict = LAYERS.get(name)
    problem = verdict.reason if verdict is not None else ""
    if not problem and getattr(layer, "data_format", None) == "channels_first":
        problem = "images are (H, W, 3) here; use data_format='channels_last'"
    value_range = getattr(layer, "value_range", (0, 255))
    if not problem and tuple(value_range) != (0, 255):
        problem = f"value_range={value_range!r}, but images are 0..255; use value_range=(0, 255)"
    if not problem and name == "keras.layers.RandomGaussianBlur":
        kernel = layer.kernel_size
        if isinstance(kernel, (list, tuple)) and kernel[0] != kernel[1]:
            problem = f"kernel_size={kernel!r}, but only square kernels blur right"
    if not problem and name == "keras_cv.layers.RandomRotation":
        if layer.segmentation_classes != 256:
            problem = (
                f"segmentation_classes={layer.segmentation_classes!r}, which turns ignored pixels "
                "into class 0; use segmentation_classes=256, or keras.layers.RandomRotation, "
                "which is faster"
            )
    if not problem and name == "keras_cv.layers.Grayscale" and layer.output_channels != 3:
        problem = f"output_channels={layer.output_channels!r}; use output_channels=3"
    mode = getattr(layer, "fill_mode", "constant")
    in_rand_augment = any(_name(group).endswith(".RandAugment") for group in groups)
    if not problem and mode != "constant" and not in_rand_augment:
        problem = f"fill_mode={mode!r}, which " + (
            "draws noise that cannot be repeated"
            if verdict == _ERASE
            else "makes up labels beyond the edge of the picture"
        )
        problem += '; use fill_mode="constant"'
    if problem:
        where = f" (inside {_name(groups[0])})" if groups else ""
        raise ValueError(f"{name}{where} cannot be plugged in: {problem}.")


def _fill(layer: keras.Layer, parts: list[keras.Layer]) -> float:
    """The value that new area has in masks."""
    fills = {}
    for part in parts:
        verdict = LAYERS.get(_name(part))
        if verdict == _GEOMETRY or (verdict is None and hasattr(part, "fill_value")):
            # keras-cv turns one map per class, and the class of nothing is the first.
            one_map_a_class = _name(part) == "keras_cv.layers.RandomRotation"
            value = 0.0 if one_map_a_class else getattr(part, "fill_value", 0.0)
            fills[float(value or 0.0)] = part
    if len(fills) > 1:
        (value, one), (other_value, other) = list(fills.items())[:2]
        raise ValueError(
            f"{_name(layer)} cannot be plugged in: {_name(one)} fills with {value:g}, "
            f"{_name(other)} with {other_value:g}. Give them the same fill_value, or give "
            "KerasAugment the layers as a list."
        )
    return next(iter(fills), 0.0)


def _result_size(layer: keras.Layer) -> tuple[int, int] | None:
    """(height, width) of what the layer makes, or None if that is not always the same."""
    name = _name(layer)
    if name == "keras.layers.Pipeline":
        sizes = [size for item in layer.layers if (size := _result_size(item)) is not None]
        return sizes[-1] if sizes else None
    if name in ("keras_cv.layers.JitteredResize", "keras_cv.layers.RandomCropAndResize"):
        height, width = layer.target_size
        return int(height), int(width)
    if name.split(".")[-1] in ("CenterCrop", "RandomCrop", "Resizing"):
        return int(layer.height), int(layer.width)
    return None
