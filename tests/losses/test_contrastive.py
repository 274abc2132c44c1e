"""The pixel contrastive loss: a double loop, closed forms, the draw of the anchors, a training."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg import losses
from keras_focusseg.losses.contrastive import contrast, sample_anchors
from tests.losses.references import numeric_gradient
from tests.testers import check_config_round_trip, compiled, gradient, to_numpy

# The loss, in NumPy and float64 -------------------------------------------------------------------


def reference_contrast(vectors, classes, anchors, temperature=0.1, base_temperature=0.07):
    """One anchor after the other, one positive after the other."""
    z, of_anchor = vectors.astype("float64"), []
    chosen = np.flatnonzero(anchors)
    for i in chosen:
        negatives = [z[i] @ z[n] / temperature for n in chosen if classes[n] != classes[i]]
        terms = []
        for j in chosen:
            if j != i and classes[j] == classes[i]:
                s = z[i] @ z[j] / temperature
                terms.append(np.log(1 + sum(np.exp(n - s) for n in negatives)))
        if terms:
            of_anchor.append(np.mean(terms))
    return temperature / base_temperature * np.mean(of_anchor) if of_anchor else 0.0


def reference_anchors(labels, predictions, valid, num_classes, uniform, max_samples, max_views):
    """Positions of the anchors, by the rules of ContrastiveSeg, one class after the other."""
    pairs = []
    for b in range(len(labels)):
        for c in range(num_classes):
            if np.sum(valid[b] & (labels[b] == c)) > max_views:
                pairs.append((b, c))
    found = []
    for b, c in pairs:
        n_view = min(max_views, max_samples // len(pairs))
        here = valid[b] & (labels[b] == c)
        hard = np.flatnonzero(here & (predictions[b] != c))
        easy = np.flatnonzero(here & (predictions[b] == c))
        if len(hard) >= n_view / 2 and len(easy) >= n_view / 2:
            keep_hard = n_view // 2
            keep_easy = n_view - keep_hard
        elif len(hard) >= n_view / 2:
            keep_easy = len(easy)
            keep_hard = n_view - keep_easy
        else:
            assert len(easy) >= n_view / 2
            keep_hard = len(hard)
            keep_easy = n_view - keep_hard
        for group, keep in ((hard, keep_hard), (easy, keep_easy)):
            assert len(group) >= keep
            order = np.argsort(uniform[b].ravel()[group])
            found += [b * labels[b].size + p for p in group[order[:keep]]]
    return sorted(found)


def reference_nearest(labels, height, width):
    result = np.zeros((len(labels), height, width), labels.dtype)
    for b, y, x in np.ndindex(result.shape):
        result[b, y, x] = labels[b, y * labels.shape[1] // height, x * labels.shape[2] // width]
    return result


# Inputs -------------------------------------------------------------------------------------------


def unit(rng, *shape):
    z = rng.normal(size=shape)
    return (z / np.linalg.norm(z, axis=-1, keepdims=True)).astype("float32")


def number(value) -> float:
    return float(keras.ops.convert_to_numpy(value))


def drawn(positions, anchors, max_samples):
    """The anchors of `sample_anchors`, sorted, after a look at their form."""
    positions, anchors = np.asarray(to_numpy(positions)), np.asarray(to_numpy(anchors))
    assert positions.shape == anchors.shape == (max_samples,)
    assert positions.dtype == np.int32 and anchors.dtype == bool
    assert not positions[~anchors].any()
    return sorted(positions[anchors].tolist())


def some_maps(seed, batch=3, height=9, width=11, num_classes=5, right=0.6):
    """Labels with classes of unequal size and invalid pixels, predictions, random numbers."""
    rng = np.random.default_rng(seed)
    share = np.arange(1, num_classes + 1) / np.sum(np.arange(1, num_classes + 1))
    labels = rng.choice(num_classes, (batch, height, width), p=share).astype("int32")
    guess = rng.integers(0, num_classes, labels.shape)
    predictions = np.where(rng.random(labels.shape) < right, labels, guess).astype("int32")
    valid = rng.random(labels.shape) < 0.85
    uniform = rng.permutation(labels.size).reshape(labels.shape) / labels.size  # no two equal
    return labels, predictions, valid, uniform.astype("float32")


# Loss between anchors -----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.1, 0.5, 0.005])
def test_contrast_and_its_gradient_equal_the_double_loop(temperature):
    # At 0.005, similarities lie 400 apart: exp would leave float32.
    rng = np.random.default_rng(3)
    classes = np.array([0, 0, 0, 0, 0, 0, 2, 2, 2, 1, 1, 7, 0, 2, 1], "int32")
    anchors = np.arange(15) < 12
    anchors[4] = False
    vectors = unit(rng, 15, 4)
    vectors[2] = -vectors[0]
    vectors[9] = vectors[0]
    vectors[~anchors] = np.nan  # whatever lies in rows that are none
    expected = reference_contrast(vectors, classes, anchors, temperature)
    ours = compiled(lambda z: contrast(z, classes, anchors, temperature))
    assert number(ours(vectors)) == pytest.approx(expected, rel=1e-5)
    slope = gradient(lambda z: contrast(z, classes, anchors, temperature), vectors)
    if temperature < 0.1:  # the soft maximum is too sharp for finite differences
        assert np.isfinite(slope).all()
    else:
        numeric = numeric_gradient(
            lambda z: reference_contrast(z, classes, anchors, temperature),
            vectors.astype("float64"),
        )
        np.testing.assert_allclose(slope, numeric, rtol=1e-3, atol=1e-4 * np.abs(numeric).max())
    assert not slope[~anchors].any() and slope[anchors].any()


def test_contrast_in_closed_form():
    classes = np.repeat([0, 1, 2], 4).astype("int32")  # 8 negatives each
    anchors = np.ones(12, bool)
    for tau, base in ((0.1, 0.07), (0.4, 0.2)):
        equal = np.tile(np.eye(5, dtype="float32")[:1], (12, 1))
        value = number(contrast(equal, classes, anchors, tau, base))
        assert value == pytest.approx(tau / base * np.log(9), rel=1e-5)
        orthogonal = np.eye(5, dtype="float32")[classes]
        value = number(contrast(orthogonal, classes, anchors, tau, base))
        assert value == pytest.approx(tau / base * np.log1p(8 * np.exp(-1 / tau)), rel=1e-5)


def test_contrast_leaves_out_what_has_no_positive_and_is_0_where_nothing_is_left():
    vectors = unit(np.random.default_rng(4), 6, 3)
    classes = np.array([0, 0, 1, 2, 2, 1], "int32")
    lone = np.array([1, 1, 1, 0, 0, 0], bool)  # class 1 has one anchor: a negative, not a row
    value = compiled(contrast)
    expected = (
        0.1 / 0.07 * np.log1p(np.exp(10 * (vectors[:2] @ vectors[2] - vectors[0] @ vectors[1])))
    )
    assert expected.mean() > 0.1
    assert number(value(vectors, classes, lone)) == pytest.approx(expected.mean(), rel=1e-5)
    nothing = {
        "no anchor": (classes, np.zeros(6, bool)),
        "no positive": (np.arange(6, dtype="int32"), np.ones(6, bool)),
        "no negative": (np.zeros(6, "int32"), np.ones(6, bool)),
    }
    for name, rest in nothing.items():
        assert number(value(vectors, *rest)) == 0.0, name
        slope = gradient(lambda z: contrast(z, *rest), vectors)  # noqa: B023
        np.testing.assert_array_equal(slope, 0.0, err_msg=name)


# Choice of the anchors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_samples", "max_views", "right"),
    [
        (64, 5, 0.6),  # 4 anchors a pair, plenty of both
        (80, 7, 0.95),  # 6 or 7, hard ones lacking
        (90, 7, 0.05),  # 6 or 7, easy ones lacking
        (1000, 6, 1.0),  # a buffer larger than the batch
        (20, 6, 0.6),  # one a pair
        (7, 6, 0.6),  # more pairs than anchors
    ],
)
def test_anchors_are_those_of_the_plain_rules(max_samples, max_views, right):
    function = compiled(
        lambda labels, predictions, valid, uniform: sample_anchors(
            labels, predictions, valid, 5, uniform, max_samples, max_views
        )
    )
    for seed in range(3):
        maps = some_maps(seed, right=right)
        expected = reference_anchors(*maps[:3], 5, maps[3], max_samples, max_views)
        assert len(set(expected)) == len(expected) <= max_samples
        assert (len(expected) == 0) == (max_samples == 7)
        assert drawn(*function(*maps), max_samples) == expected


def test_quotas_of_hard_and_easy_pixels():
    # (hard, easy) pixels of each class; three have more than 20, and share max_samples.
    for max_samples, n, groups, expected in (
        (21, 7, [(10, 12), (19, 3), (3, 19), (4, 4)], [(3, 4), (4, 3), (3, 4), (0, 0)]),
        (18, 6, [(3, 18), (18, 3), (19, 2), (3, 5)], [(3, 3), (3, 3), (4, 2), (0, 0)]),
        (15, 5, [(0, 21), (21, 0), (2, 19), (8, 0)], [(0, 5), (5, 0), (2, 3), (0, 0)]),
    ):
        assert all(sum(pair) == n for pair in expected[:3])
        labels = np.repeat(np.arange(4), [sum(pair) for pair in groups])
        wrong = np.concatenate([[1] * hard + [0] * easy for hard, easy in groups])
        rng = np.random.default_rng(n)
        order = rng.permutation(len(labels))  # places of the classes are mixed
        labels, wrong = labels[order], wrong[order]
        maps = np.stack([labels, (labels + wrong) % 4]).astype("int32").reshape(2, 1, 1, -1)
        uniform = rng.random(maps[0].shape).astype("float32")
        chosen = drawn(
            *sample_anchors(*maps, np.ones(maps[0].shape, bool), 4, uniform, max_samples, 20),
            max_samples,
        )
        counts = [
            tuple(int(np.sum((labels[chosen] == c) & (wrong[chosen] == w))) for w in (1, 0))
            for c in range(4)
        ]
        assert counts == expected
        assert len(set(chosen)) == len(chosen) == max_samples


def test_a_class_needs_more_than_100_valid_pixels():
    labels = np.repeat(np.arange(4), [100, 101, 101, 500]).astype("int32").reshape(1, 2, -1)
    valid = np.ones(labels.shape, bool)
    valid[labels == 3] = False
    valid[tuple(np.argwhere(labels == 2)[0])] = False  # leaves 100 of class 2
    assert np.bincount(labels[valid])[2] == 100
    uniform = np.random.default_rng(0).random(labels.shape).astype("float32")
    chosen = drawn(*sample_anchors(labels, labels, valid, 4, uniform), 1024)
    assert len(chosen) == 100
    assert set(labels.ravel()[chosen]) == {1}


def test_the_draw_is_uniform():
    # 400 images of one class, 6 hard and 14 easy pixels, of which 4 and 4 are taken.
    images, hard = 400, 6
    labels = np.zeros((images, 4, 5), "int32")
    predictions = (np.arange(20) < hard).astype("int32").reshape(1, 4, 5).repeat(images, 0)
    uniform = keras.random.uniform(labels.shape, seed=keras.random.SeedGenerator(0))
    chosen = drawn(
        *sample_anchors(labels, predictions, labels == 0, 2, uniform, 8 * images, 8), 8 * images
    )
    taken = np.zeros(labels.size)
    taken[chosen] = 1
    taken = taken.reshape(images, 20)
    assert (taken[:, :hard].sum(1) == 4).all() and (taken[:, hard:].sum(1) == 4).all()
    share = np.array([4 / 6] * hard + [4 / 14] * (20 - hard))
    deviation = (taken.mean(0) - share) / np.sqrt(share * (1 - share) / images)
    assert np.abs(deviation).max() < 4 and np.abs(deviation).max() > 0.3
    # Pairs as well: 4 of 6 hold two given ones with probability 4 · 3 / (6 · 5).
    both = taken[:, :hard].T @ taken[:, :hard] / images
    off_diagonal = both[~np.eye(hard, dtype=bool)]
    assert np.abs(off_diagonal - 0.4).max() < 4 * np.sqrt(0.4 * 0.6 / images)


# The whole loss -----------------------------------------------------------------------------------

LOSS = losses.PixelContrast(max_samples=30, max_views=3)
GRID = (2, 5, 7)


def some_batch(seed=0):
    """Masks (2, 12, 16, 1) for a map of 5 x 7 cells, which is no divisor of them."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, 3, (2, 12, 16, 1)).astype("uint8")
    masks[rng.random(masks.shape) < 0.2] = 255
    masks[rng.random(masks.shape) < 0.1] = 3  # no class of the logits
    return masks, unit(rng, *GRID, 6), rng.normal(size=(*GRID, 3)).astype("float32")


def reference_loss(masks, embedding, logits, uniform):
    labels = reference_nearest(masks[..., 0], *GRID[1:]).astype("int32")
    valid = labels < 3
    found = reference_anchors(labels, logits.argmax(-1), valid, 3, uniform, 30, 3)
    vectors, classes = embedding.reshape(-1, embedding.shape[-1])[found], labels.ravel()[found]
    return reference_contrast(vectors, classes, np.ones(len(found), bool)), found


def test_loss_and_gradient_of_a_batch():
    masks, embedding, logits = some_batch()
    uniform = to_numpy(keras.random.uniform(GRID, seed=5))
    expected, found = reference_loss(masks, embedding, logits, uniform)
    assert len(found) == 18 and expected > 0
    # Every size unknown on TensorFlow, as in a fit on batches of many sizes.
    function = compiled(lambda m, e, x: LOSS(m, e, x, seed=5))
    assert number(function(masks, embedding, logits)) == pytest.approx(expected, rel=1e-5)
    slope = gradient(lambda e: LOSS(masks, e, logits, seed=5), embedding)
    assert np.isfinite(slope).all()
    moved = np.flatnonzero(np.abs(slope).max(-1).ravel())
    assert moved.tolist() == found
    # The scores decide who is an anchor; they are not trained by this.
    assert not gradient(lambda x: LOSS(masks, embedding, x, seed=5), logits).any()

    # What lies under ignored pixels, and which of the ignored labels it is, changes nothing.
    rng = np.random.default_rng(1)
    hidden = reference_nearest(masks[..., 0], *GRID[1:]) >= 3
    noise = (100 * rng.normal(size=(*GRID, 9))).astype("float32")
    noisy = np.where(hidden[..., None], noise[..., :6], embedding)
    strange = np.where(hidden[..., None], noise[..., 6:], logits)
    relabeled = np.where(masks >= 3, rng.choice([3, 4, 99, 254, 255], masks.shape), masks)
    relabeled = relabeled.astype("uint8")
    assert number(function(relabeled, noisy, strange)) == pytest.approx(expected, rel=1e-5)
    again = gradient(lambda e: LOSS(relabeled, e, strange, seed=5), noisy)
    np.testing.assert_allclose(again, slope, rtol=1e-5, atol=1e-9)

    # Nothing to compare: 0 and no gradient, not NaN.
    empty = np.full_like(masks, 255)
    assert number(function(empty, embedding, logits)) == 0.0
    assert not gradient(lambda e: LOSS(empty, e, logits, seed=5), embedding).any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    masks, embedding, logits = some_batch(1)
    embedding, logits = (keras.ops.cast(x, dtype) for x in (embedding, logits))
    value = LOSS(masks, embedding, logits, seed=5)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    rounded = [to_numpy(keras.ops.cast(x, "float32")) for x in (embedding, logits)]
    expected, _ = reference_loss(masks, *rounded, to_numpy(keras.random.uniform(GRID, seed=5)))
    assert number(value) == pytest.approx(expected, rel=1e-5)


def test_a_seed_generator_draws_anew():
    batch = some_batch(2)
    draws = keras.random.SeedGenerator(5)
    first, second = (number(LOSS(*batch, seed=draws)) for _ in range(2))
    assert first != second
    assert number(LOSS(*batch, seed=keras.random.SeedGenerator(5))) == first
    assert number(LOSS(*batch)) > 0


class Embedder(keras.Model):
    """Three convolutions, trained by the contrastive loss alone."""

    def __init__(self):
        super().__init__()
        self.features = keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu")
        self.embed = keras.layers.Conv2D(4, 1)
        self.classify = keras.layers.Conv2D(3, 1, trainable=False)
        self.contrast = losses.PixelContrast(max_samples=40, max_views=4)
        self.draws = keras.random.SeedGenerator(3)

    def call(self, images):
        x = self.features(images)
        return keras.ops.normalize(self.embed(x), axis=-1), self.classify(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        embedding, logits = y_pred
        return self.contrast(y, embedding, logits, seed=self.draws)


class TwoSizes(keras.utils.PyDataset):
    """Batches of alternating size, of images whose colour is their class."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        batch, height, width = [(2, 12, 14), (3, 15, 11)][index % 2]
        rng = np.random.default_rng(index)
        masks = rng.integers(0, 3, (batch, height, 1)).repeat(width, axis=2)
        images = np.eye(3, dtype="float32")[masks]
        masks[:, :2, :3] = 255
        return images, masks.astype("uint8")


# TensorFlow compiles with XLA or without.
MODES = ["auto", False] if keras.backend.backend() == "tensorflow" else ["auto"]


@pytest.mark.parametrize("jit_compile", MODES)
def test_fit_on_batches_of_two_sizes(jit_compile):
    model = Embedder()
    model.compile(keras.optimizers.Adam(0.02), jit_compile=jit_compile)
    before = to_numpy(model.draws.state.value)
    history = model.fit(TwoSizes(), epochs=4, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0] / 2
    assert (to_numpy(model.draws.state.value) != before).any()


def test_config_round_trip():
    loss = losses.PixelContrast(3, 0.2, 0.1, 64, 5)
    copy = check_config_round_trip(loss)
    assert copy.get_config() == loss.get_config()
    assert all(getattr(copy, key) == value for key, value in loss.get_config().items())
    defaults = losses.PixelContrast().get_config()
    assert list(defaults.values()) == [255, 0.1, 0.07, 1024, 100, "pixel_contrast"]


def test_wrong_input_is_refused():
    masks, embedding, logits = some_batch()
    with pytest.raises(ValueError, match=r"PixelContrast.*float32.*nearest"):
        LOSS(np.full(masks.shape, 0.5, "float32"), embedding, logits)
    with pytest.raises(ValueError, match=r"\(2, 12, 16\).*\(2, 5, 7, 6\).*\(2, 5, 6, 3\)"):
        LOSS(masks, embedding, logits[:, :, :-1])
    with pytest.raises(ValueError, match=r"\(1, 12, 16\).*\(2, 5, 7, 6\)"):
        LOSS(masks[:1], embedding, logits)
    with pytest.raises(ValueError, match="temperature=0"):
        losses.PixelContrast(temperature=0)
    with pytest.raises(ValueError, match="max_views=0"):
        losses.PixelContrast(max_views=0)
    # The values of a tensor are not known while a graph is traced: NaN says it.
    blended = keras.ops.convert_to_tensor(masks.astype("float32") + 0.5)
    assert np.isnan(number(LOSS(blended, embedding, logits, seed=0)))
