"""What `fit`, `evaluate` and `predict` say of batches after the first one."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import losses, models
from keras_focusseg.models import predictors
from keras_focusseg.models.first_look import FirstLook
from keras_focusseg.models.mask_trainer import MaskTrainer
from tests.models import tiny
from tests.testers import tiny_fornet

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def model() -> models.FoRNet:
    model = tiny_fornet(4, kernel_sizes=(3,), dilation_rates=(1,), ratios=(0.3,))
    model.compile("sgd")
    return model


def pair(height: int = 32, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    return tiny.images(height, width, 2), tiny.masks(height, width, 2)


class Batches(keras.utils.PyDataset):
    """Batches as they are."""

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        self.pairs = pairs
        self.epochs = 0

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return self.pairs[index]

    def on_epoch_end(self) -> None:
        self.epochs += 1


def generator(pairs: Pairs) -> Iterator[tuple[np.ndarray, ...]]:
    yield from pairs


def of_tensorflow(pairs: Pairs) -> Any:
    """Images of any shape at all, as of a reader that tells none."""
    tf = pytest.importorskip("tensorflow")
    masks = tf.TensorSpec((None, None, None), pairs[0][1].dtype)
    return tf.data.Dataset.from_generator(
        lambda: iter(pairs), output_signature=(tf.TensorSpec((None,) * 4, pairs[0][0].dtype), masks)
    )


def of_torch(pairs: Pairs) -> Any:
    utils = pytest.importorskip("torch.utils.data")
    return utils.DataLoader(pairs, batch_size=None)


def of_grain(pairs: Pairs) -> Any:
    return pytest.importorskip("grain").MapDataset.source(pairs)


FORMS: dict[str, Callable[[Pairs], Any]] = {
    "PyDataset": Batches,
    "generator": generator,
    "tf.data": of_tensorflow,
    "DataLoader": of_torch,
    "grain": of_grain,
}
EACH_FORM = [
    pytest.param(form, marks=[] if form == "tf.data" else pytest.mark.backend_free)
    for form in FORMS
]


@pytest.mark.parametrize("form", EACH_FORM)
def test_a_wrong_later_batch_is_told(model: models.FoRNet, form: str) -> None:
    """And the network can be used as before, which on JAX it cannot be after an error of Keras."""
    images, masks = pair()
    small, small_masks = pair(32, 8)
    data = FORMS[form]
    with pytest.raises(ValueError, match="^Images of 32x8 .* are too small: the width is 8"):
        model.evaluate(data([(images, masks), (small, small_masks)]), verbose=0)
    with pytest.raises(ValueError, match="^The images of a later batch hold values nan"):
        model.evaluate(data([(images, masks), (images * np.nan, masks)]), verbose=0)
    with pytest.warns(UserWarning, match="images of a later batch hold values .*Multiply by 255"):
        model.evaluate(data([(images, masks), (images / 255, masks)]), verbose=0)
    with pytest.warns(UserWarning, match="masks of a later batch hold 77, no class id 0..3"):
        model.evaluate(data([(images, masks), (images, masks * 0 + 77)]), verbose=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(masks|images)")
        model.evaluate(data([(images, masks), (images * 0, masks * 0 + 255)]), verbose=0)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ("auto", "such pixels are ignored"),
        (losses.Dice(), "such pixels are ignored"),
        ("sparse_categorical_crossentropy", "sparse_categorical_crossentropy may stop at such"),
    ],
)
def test_what_a_loss_does_with_unknown_ids_is_told(loss: Any, told: str) -> None:
    model = tiny_fornet(4, kernel_sizes=(3,), dilation_rates=(1,), ratios=(0.3,))
    model.compile("sgd", loss=loss)
    images, masks = pair()
    unknown = np.where(masks == 0, 77, 1)
    look = FirstLook(model)
    with pytest.warns(UserWarning, match=f"first masks hold 77 beside .*: {told}"):
        look.at_batch("test", images, unknown, (), {})
    look.at_batch("train", images, masks, (), {})
    with pytest.warns(UserWarning, match=f"masks of a later batch hold 77, .*: {told}"):
        look.at_batch("train", images, unknown, (), {})


@pytest.mark.backend_free
def test_predict_says_nothing_of_masks_beside_the_images(model: models.FoRNet) -> None:
    images, masks = pair()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*masks")
        model.predict(Batches([(images, masks), (images, masks / 2)]), verbose=0)


@pytest.mark.backend_free
def test_later_images_are_told_in_predict_and_among_arrays(model: models.FoRNet) -> None:
    images, masks = pair()
    for form in ("PyDataset", "tf.data"):
        data = FORMS[form]([(images, masks), (images[:, :, :8], masks[:, :, :8])])
        with pytest.raises(ValueError, match="^Images of 32x8 .* are too small"):
            model.predict(data, verbose=0)
        with pytest.raises(ValueError, match=r"\(32, 32\) came \(32, 24\). segment takes"):
            model.predict(FORMS[form]([(images, masks), (images[:, :, :24], masks)]), verbose=0)
    wrong = np.concatenate([images, images / 255])
    for use in (
        lambda: model.predict(wrong, batch_size=2, verbose=0),
        lambda: model.evaluate(wrong, np.tile(masks, (2, 1, 1)), batch_size=2, verbose=0),
        lambda: [model.test_on_batch(part, masks) for part in (images, images / 255)],
    ):
        with pytest.warns(UserWarning, match="images of a later batch .*Multiply by 255"):
            use()


@pytest.mark.backend_free
def test_halves_and_validation_data_are_told(model: models.FoRNet) -> None:
    """The first masks are all background; what validates is told of in `fit`."""
    images, masks = pair()
    halves = masks * 0
    halves[:, 9:] = 255
    with pytest.warns(UserWarning, match="So far the masks hold 0 and 255 alone.*masks // 255"):
        model.evaluate(Batches([(images, masks * 0), (images, halves)]), verbose=0)
    data = Batches([(images, masks), (images, halves)])
    small = of_tensorflow([(images, masks), (images[:, :8], masks[:, :8])])
    with pytest.raises(ValueError, match="^Images of 8x32 .* the height is 8"):
        model.fit(data, validation_data=small, verbose=0)
    assert data.epochs  # it is told of them as ever


class BreaksFirstStep(keras.callbacks.Callback):
    """Ctrl-C in the first step of each kind of pass."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.train_function = self.stop

    def on_test_begin(self, logs: Any = None) -> None:
        self.model.test_function = self.stop

    def on_predict_begin(self, logs: Any = None) -> None:
        self.model.predict_function = self.stop

    def stop(self, *_: Any) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("use", ["fit", "evaluate", "predict"])
def test_a_first_step_that_is_broken_off_leaves_the_weights(use: str) -> None:
    """On JAX they were gone: Keras had taken them out of the variables and kept them nowhere."""
    model = tiny_fornet(4, kernel_sizes=(3,), dilation_rates=(1,), ratios=(0.3,))
    model.compile("sgd")
    before = model.get_weights()
    arrays = pair()[: 1 if use == "predict" else 2]
    with pytest.raises(KeyboardInterrupt):
        getattr(model, use)(*arrays, callbacks=[BreaksFirstStep()], verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("use", ["predict", "predict_labels"])
def test_no_images_are_refused(model: models.FoRNet, use: str) -> None:
    with pytest.raises(ValueError, match=r"no images to segment: got shape \(0, 32, 32, 3\)"):
        getattr(model, use)(np.zeros((0, 32, 32, 3), "uint8"), verbose=0)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX compiles for each size")
def test_what_sizes_compiled_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one `evaluate` as well."""
    from jax.extend import backend

    monkeypatch.setattr(predictors, "SIZES", 2)
    inputs = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(4, 1)(inputs)
    model = MaskTrainer(inputs, {"logits": logits}, num_classes=4, ignore_class=255)
    model.compile("sgd", loss="sparse_categorical_crossentropy", metrics=[])
    held = []

    class Counted(keras.callbacks.Callback):
        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            gc.collect()
            held.append(len(backend.get_backend().live_executables()))

    pairs = [pair(32, 16 + 8 * index) for index in range(8)]
    model.evaluate(Batches(pairs), verbose=0, callbacks=[Counted()])
    assert max(held) - held[0] <= 2 < len(pairs) - 2
