"""Batches: two feeds that give the same stream, epoch by epoch, and say what is wrong."""

from __future__ import annotations

import importlib.util
import itertools
import json
import multiprocessing
import time

import keras
import numpy as np
import pytest

from keras_focusseg import data
from keras_focusseg.data.feeds.plan import Plan
from tests.data.conftest import ArraySource, train_pair

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
FEEDS = ["pydataset"] + ["tensorflow"] * HAS_TENSORFLOW
needs_tensorflow = pytest.mark.skipif(not HAS_TENSORFLOW, reason="needs TensorFlow")
AUGMENT = data.Augment(crop_size=(16, 20), rotate=10.0, translate=0.1)


def epoch(batches) -> list[tuple[np.ndarray, np.ndarray]]:
    """One pass, as arrays."""
    return [(np.asarray(images), np.asarray(masks)) for images, masks in batches]


def assert_equal(first, second) -> None:
    assert len(first) == len(second)
    for (images, masks), (other_images, other_masks) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(masks, other_masks)


def numbered(count: int) -> ArraySource:
    """Sample i is a picture of value i."""
    return ArraySource(
        count,
        lambda i: (np.full((8, 8, 3), i, "uint8"), np.full((8, 8), i % 11, "uint8")),
    )


def numbers(batches) -> list[int]:
    """The samples of `numbered` in the order of one pass."""
    return [int(image[0, 0, 0]) for images, _ in epoch(batches) for image in images]


@pytest.mark.parametrize("feed", FEEDS)
class TestBatches:
    def test_contents(self, feed, source):
        batches = data.batches(source, 3, feed=feed)
        got = epoch(batches)
        assert len(batches) == len(got) == 3
        assert [images.shape for images, _ in got] == [(3, 24, 32, 3)] * 2 + [(1, 24, 32, 3)]
        assert [masks.shape for _, masks in got] == [(3, 24, 32)] * 2 + [(1, 24, 32)]
        assert got[0][0].dtype == np.uint8 and got[0][1].dtype == np.int32
        for index in range(7):
            image, mask = train_pair(index)
            np.testing.assert_array_equal(got[index // 3][0][index % 3], image)
            np.testing.assert_array_equal(got[index // 3][1][index % 3], mask)

    def test_drop_remainder(self, feed, source):
        batches = data.batches(source, 3, drop_remainder=True, feed=feed)
        assert len(batches) == 2 and [len(images) for images, _ in batches] == [3, 3]

    def test_each_epoch_has_another_order_and_all_samples(self, feed):
        batches = data.batches(numbered(20), 6, shuffle=True, seed=4, feed=feed)
        orders = [numbers(batches) for _ in range(3)]
        assert all(sorted(order) == list(range(20)) for order in orders)
        assert len({tuple(order) for order in orders}) == 3
        again = data.batches(numbered(20), 6, shuffle=True, seed=4, feed=feed)
        assert [numbers(again) for _ in range(3)] == orders
        other = data.batches(numbered(20), 6, shuffle=True, seed=5, feed=feed)
        assert numbers(other) not in orders

    def test_shards_share_one_order(self, feed):
        """Put together, the batches of all processes are those of one, in every epoch."""
        options = {"shuffle": True, "seed": 4, "drop_remainder": True, "feed": feed}
        whole = data.batches(numbered(20), 6, **options)
        shards = [data.batches(numbered(20), 6, shard=(i, 3), **options) for i in range(3)]
        for _ in range(2):
            parts = [epoch(shard) for shard in shards]
            assert [len(part) for part in parts] == [3] * 3
            for number, (images, masks) in enumerate(epoch(whole)):
                for axis, expected in enumerate((images, masks)):
                    found = np.concatenate([part[number][axis] for part in parts])
                    np.testing.assert_array_equal(found, expected)
        assert len(shards[0]) == len(whole) == 3

    def test_dropped_samples_change_with_the_order(self, feed):
        batches = data.batches(numbered(10), 4, shuffle=True, drop_remainder=True, feed=feed)
        seen = [set(numbers(batches)) for _ in range(12)]
        assert all(len(one) == 8 for one in seen) and set.union(*seen) == set(range(10))

    def test_augmentation_is_new_in_each_epoch_and_the_same_in_each_run(self, feed, source):
        def run():
            return data.batches(source, 3, AUGMENT, seed=1, feed=feed)

        batches, again = run(), run()
        first, second = epoch(batches), epoch(batches)
        assert first[0][0].shape == (3, 16, 20, 3)
        assert (first[0][0] != second[0][0]).any()
        assert_equal(first, epoch(again))
        assert_equal(second, epoch(again))

    def test_the_crop_of_a_sample_does_not_depend_on_its_place(self, feed, source):
        """Randomness is a function of (seed, epoch, index): order and batch size are free."""
        single = epoch(data.batches(source, 1, AUGMENT, seed=3, feed=feed))
        plan = Plan(source, 4, AUGMENT, shuffle=True, seed=3)
        shuffled = epoch(data.batches(source, 4, AUGMENT, shuffle=True, seed=3, feed=feed))
        for position, index in enumerate(plan.order(0)):
            np.testing.assert_array_equal(
                shuffled[position // 4][0][position % 4], single[index][0][0]
            )

    def test_start_epoch_goes_on(self, feed, source):
        whole = data.batches(source, 2, AUGMENT, shuffle=True, feed=feed)
        epochs = [epoch(whole) for _ in range(4)]
        resumed = data.batches(source, 2, AUGMENT, shuffle=True, feed=feed, start_epoch=2)
        assert_equal(epoch(resumed), epochs[2])
        assert_equal(epoch(resumed), epochs[3])

    def test_start_batch_goes_on_inside_an_epoch(self, feed, source):
        options = {"shuffle": True, "feed": feed, "start_epoch": 1}
        whole = epoch(data.batches(source, 2, AUGMENT, **options))
        resumed = data.batches(source, 2, AUGMENT, start_batch=3, **options)
        assert len(resumed) == 1 and len(whole) == 4
        next(iter(resumed))  # as Keras looks at a batch before it trains
        assert_equal(epoch(resumed), whole[3:])
        with pytest.raises(ValueError, match="start_batch=4 lies beyond an epoch of 4 batches"):
            data.batches(source, 2, AUGMENT, start_batch=4, **options)

    @pytest.mark.parametrize("taken", [1, 3])
    def test_a_pass_that_is_broken_off_is_repeated(self, feed, source, taken):
        batches = data.batches(source, 2, AUGMENT, shuffle=True, feed=feed, prefetch=8)
        for _ in range(2):
            list(itertools.islice(batches, taken))
            time.sleep(0.05)  # whatever fetches ahead has its chance to run to the end
        assert_equal(
            epoch(batches), epoch(data.batches(source, 2, AUGMENT, shuffle=True, feed=feed))
        )

    def test_memory_cache_reads_once(self, feed):
        source = numbered(5)
        batches = data.batches(source, 2, shuffle=True, cache="memory", feed=feed)
        for _ in range(3):
            assert sorted(numbers(batches)) == list(range(5))
        assert source.loads == [1] * 5

    def test_no_cache_reads_again(self, feed):
        source = numbered(4)
        batches = data.batches(source, 2, AUGMENT, feed=feed, workers=1)
        epoch(batches), epoch(batches)
        assert min(source.loads) == 2

    def test_feeds_can_share_a_cache(self, feed):
        source = numbered(4)
        cached = data.Cached(source)
        epoch(data.batches(cached, 2, feed=feed))
        epoch(data.batches(cached, 4, feed=feed, cache="memory"))
        assert source.loads == [1] * 4
        assert (cached.name, cached.split) == ("arrays", "train")
        assert cached.label_space == source.label_space

    def test_cached_samples_survive_a_careless_augmentation(self, feed):
        def careless(image, mask, rng):
            image[:] = 0
            return image, mask

        source = numbered(4)
        with pytest.raises(Exception, match="read-only"):
            epoch(data.batches(source, 2, careless, cache="memory", feed=feed))

    def test_sizes_may_differ_one_by_one(self, feed):
        source = ArraySource(4, lambda i: train_pair(i, 10 + i, 20 - i))
        got = epoch(data.batches(source, 1, feed=feed))
        assert [images.shape for images, _ in got] == [(1, 10 + i, 20 - i, 3) for i in range(4)]

    def test_sizes_may_differ_under_a_crop(self, feed):
        source = ArraySource(4, lambda i: train_pair(i, 10 + i, 20 - i))
        got = epoch(data.batches(source, 4, AUGMENT, feed=feed))
        assert got[0][0].shape == (4, 16, 20, 3)

    def test_sizes_that_differ_in_a_batch_are_an_error(self, feed):
        source = ArraySource(4, lambda i: train_pair(i, 10, 20 + (i == 2)))
        with pytest.raises(
            Exception,
            match=r"'frame 2' of 'arrays' \(train\) is 10 x 21, but the batch needs 10 x 20.*"
            "batch_size=1, or an augment",
        ):
            epoch(data.batches(source, 2, feed=feed))

    def test_a_file_that_breaks_later_names_itself(self, feed, camvid):
        source = data.CamVid(camvid)
        (camvid / "trainannot" / "0016E5_00390.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
        with pytest.raises(Exception, match=r"0016E5_00390\.png: the mask cannot be read"):
            epoch(data.batches(source, 2, feed=feed))

    def test_a_bad_id_names_itself(self, feed, camvid):
        from PIL import Image

        Image.new("L", (32, 24), 77).save(camvid / "trainannot" / "0016E5_00390.png")
        with pytest.raises(Exception, match=r"0016E5_00390\.png: id 77 \(768 of 768 pixels\)"):
            epoch(data.batches(data.CamVid(camvid), 2, AUGMENT, feed=feed))

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda i: (np.zeros((4, 4, 3)), np.zeros((4, 4), "uint8")), r"float64 \(4, 4, 3\)"),
            (lambda i: (np.zeros((4, 4, 3), "uint8"), np.zeros((4, 4), int)), "mask is int64"),
            (lambda i: (np.zeros((4, 4, 3), "uint8"), np.zeros((4, 5), "uint8")), r"\(4, 5\)"),
            (
                lambda i: (np.zeros((4, 4, 3), "uint8"), np.full((4, 4), 11, "uint8")),
                r"'frame 0' of 'arrays' \(train\): the mask holds 11 \(16 of 16.*0\.\.10, or 255",
            ),
        ],
    )
    def test_a_source_is_held_to_its_promise(self, feed, make, message):
        with pytest.raises(Exception, match=message):
            epoch(data.batches(ArraySource(2, make), 1, feed=feed))

    @pytest.mark.each_backend
    def test_fit_sees_every_sample_of_every_epoch(self, feed):
        """Keras looks at a batch before it trains: that must not shift or repeat an epoch."""
        if feed == "pydataset" and keras.backend.backend() == "tensorflow":
            pytest.skip("Keras' TensorFlow trainer fetches ahead of a PyDataset")
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(11, 1)])

        class Recorder(keras.metrics.Metric):
            """The sum of the squared labels of an epoch."""

            def __init__(self):
                super().__init__(name="recorder")
                self.total = self.add_variable((), "zeros", name="total")

            def update_state(self, y_true, y_pred, sample_weight=None):
                y_true = keras.ops.cast(y_true, "float32")
                self.total.assign_add(keras.ops.sum(y_true * y_true))

            def result(self):
                return keras.ops.convert_to_tensor(self.total)

        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[Recorder()],
        )

        def weighted(image, mask, rng):
            # The value of the label is drawn from the generator of (seed, epoch, index).
            return image, np.full_like(mask, rng.integers(0, 11))

        expected = [
            64 * sum(int(np.random.default_rng((9, e, i)).integers(0, 11)) ** 2 for i in range(8))
            for e in range(3)
        ]
        batches = data.batches(numbered(8), 2, weighted, shuffle=True, seed=9, feed=feed)
        history = model.fit(batches, epochs=3, verbose=0)
        np.testing.assert_allclose(history.history["recorder"], expected)
        assert len(set(expected)) == 3


POLICY = data.Compose([
    data.ScaleCrop((16, 20)),
    data.CutMix(0.5),
    data.Flip(),
    data.Rotate(10.0),
    data.ColorJitter(),
    data.ClassMix(0.5),
    data.RandAugment(),
])  # fmt: skip


def rare(count: int = 40) -> ArraySource:
    """Class 0 everywhere; 1 in every other sample, 2 in two: blocks of 3x3. 255 around."""

    def make(index):
        image, mask = np.full((40, 50, 3), index, "uint8"), np.zeros((40, 50), "uint8")
        mask[:2] = 255
        if index % 2:
            mask[5:8, 40:43] = 1
        if index in (4, 17):
            mask[30:33, 10:13] = 2
        return image, mask

    return ArraySource(count, make)


@pytest.mark.parametrize("feed", FEEDS)
class TestMixingAndClasses:
    @pytest.mark.parametrize("share", [0.0, 0.5])
    def test_a_resumed_run_goes_on_with_the_same_stream(self, feed, share):
        options = {"shuffle": True, "seed": 3, "class_uniform": share, "feed": feed}
        source = rare(9)
        whole = data.batches(source, 2, POLICY, drop_remainder=True, **options)
        epochs = [epoch(whole) for _ in range(4)]
        assert [len(one) for one in epochs] == [4] * 4 and len(whole) == 4
        assert any((a[0] != b[0]).any() for a, b in zip(*epochs[:2], strict=True))
        resumed = data.batches(source, 2, POLICY, drop_remainder=True, start_epoch=2, **options)
        assert_equal(epoch(resumed), epochs[2])
        assert_equal(epoch(resumed), epochs[3])
        single = Plan(
            source, 2, POLICY, shuffle=True, seed=3, drop_remainder=True, class_uniform=share,
            class_counts=data.class_counts(source),
        )  # fmt: skip
        for position, key in enumerate(single.order(1)):  # and so it is in every feed
            image, mask = single.sample(1, int(key))
            np.testing.assert_array_equal(epochs[1][position // 2][0][position % 2], image)
            np.testing.assert_array_equal(epochs[1][position // 2][1][position % 2], mask)

    def test_a_share_of_the_samples_shows_each_class_alike(self, feed):
        crop = data.Compose([data.ScaleCrop((8, 8), scale=(1, 1), max_class_share=None)])
        shown = {}
        for share in (0.0, 0.6):
            batches = data.batches(
                rare(), 8, crop, shuffle=True, class_uniform=share, feed=feed, seed=1
            )
            masks = np.concatenate([masks for _ in range(8) for _, masks in epoch(batches)])
            assert len(masks) == 8 * 40
            shown[share] = [(masks == c).any(axis=(1, 2)).mean() for c in (1, 2)]
        # A fifth is drawn for each class; crops anywhere add a few.
        assert all(0.2 <= found < 0.3 for found in shown[0.6])
        assert shown[0.0][0] < 0.05 and shown[0.0][1] < 0.01

    def test_partners_are_other_samples(self, feed):
        """All of the image is the partner's, which is drawn from all samples but the first."""
        batches = data.batches(numbered(6), 1, data.CutMix(1.0, share=1.0), feed=feed)
        pairs = set()
        for _ in range(30):
            for index, (images, masks) in enumerate(epoch(batches)):
                other = int(images[0, 0, 0, 0])
                assert (images == other).all() and (masks == other).all() and other != index
                pairs.add((index, other))
        assert len(pairs) == 30
        ((images, _),) = epoch(data.batches(numbered(1), 1, data.CutMix(1.0), feed=feed))
        assert (images == 0).all()  # alone, it is its own partner

    def test_a_partner_is_held_to_the_promise_of_the_source_as_well(self, feed):
        source = ArraySource(
            2, lambda i: (np.zeros((4, 4, 3), "uint8"), np.full((4, 4), 77 * i, "uint8"))
        )
        with pytest.raises(Exception, match="'frame 1' of 'arrays'.*holds 77"):
            epoch(data.batches(source, 1, data.ClassMix(1.0), feed=feed, workers=1))


class TestOwnAugmentations:
    def test_a_function_may_say_the_size_of_its_results(self):
        def cut(image, mask, rng):
            return image[:10, :12], mask[:10, :12]

        cut.crop_size = (10, 12)
        source = ArraySource(4, lambda i: train_pair(i, 20 + i, 20))
        ((images, masks),) = epoch(data.batches(source, 4, cut, feed="pydataset"))
        assert images.shape == (4, 10, 12, 3) and masks.shape == (4, 10, 12)
        assert Plan(source, 4, data.transforms.Function(cut)).result_size() == (10, 12)

    def test_a_class_says_what_it_wants_and_gets_it(self):
        class Own(data.Augmentation):
            needs_partner = takes_target = True

            def __init__(self):
                self.seen = []

            def __call__(self, image, mask, rng, target=None, partner=None):
                self.seen.append((target, int(partner(0)[0][0, 0, 0])))
                return image, mask

        own = Own()
        batches = data.batches(
            rare(), 4, own, shuffle=True, class_uniform=0.5, feed="pydataset", workers=1
        )
        own.seen.clear()  # of the look at one size
        epoch(batches)
        targets, partners = zip(*own.seen, strict=True)
        assert targets.count(None) == 20 and set(targets) == {None, 0, 1, 2}
        assert len(set(partners)) > 10


class TestClassUniformOrder:
    def test_classes_and_images_are_drawn_alike(self):
        source = rare()
        counts = data.class_counts(source)
        plan = Plan(
            source, 4, AUGMENT, shuffle=True, class_uniform=0.6, class_counts=counts, seed=8
        )
        images = np.zeros((3, 40))
        plain = np.zeros(40)
        for number in range(100):
            keys = plan.order(number)
            assert len(keys) == 40 == len(set(keys.tolist()))
            draws, indices = np.divmod(keys, 40)
            assert (draws > 0).sum() == 24
            targets = (draws[draws > 0] - 1) % plan.num_classes
            assert np.bincount(targets).tolist() == [8, 8, 8]
            np.add.at(images, (targets, indices[draws > 0]), 1)
            assert len(set(indices[draws == 0])) == 16  # each once
            plain[indices[draws == 0]] += 1
        assert ((images > 0) == (counts[:, :3].T > 0)).all()  # of all that show it, no other
        for drawn in (*images, plain):
            drawn = drawn[drawn > 0]
            statistic = ((drawn - drawn.mean()) ** 2 / drawn.mean()).sum()
            degrees = len(drawn) - 1
            assert statistic < degrees + 4 * np.sqrt(2 * degrees)

    def test_without_it_keys_are_indices(self):
        plan = Plan(rare(), 4, AUGMENT, shuffle=True, seed=8)
        expected = np.random.default_rng((8, 3)).permutation(40)
        np.testing.assert_array_equal(plan.order(3), expected)
        assert not any(
            key >= 40
            for key in Plan(
                rare(), 4, AUGMENT, shuffle=True, class_uniform=0.01,
                class_counts=data.class_counts(rare()),
            ).order(0)
        )  # fmt: skip

    def test_all_by_class(self):
        plan = Plan(
            rare(),
            4,
            AUGMENT,
            shuffle=True,
            class_uniform=1,
            class_counts=data.class_counts(rare()),
        )
        assert (plan.order(0) >= 40).all() and len(plan.order(0)) == 40

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"class_uniform": 1.5}, "class_uniform must be a share 0..1, got 1.5"),
            ({"class_uniform": "half"}, "class_uniform must be a share 0..1, got 'half'"),
            ({"shuffle": False}, "draws samples at random: shuffle=True"),
            ({"augment": None}, "needs an augmentation that crops around a class.*got None"),
            ({"augment": lambda image, mask, rng: (image, mask)}, "needs an augmentation that"),
            ({"augment": data.Compose([data.Flip()])}, "needs an augmentation that .*got Compose"),
            ({"class_counts": np.zeros((40, 5), int)}, r"must be \(40, 12\) .* got \(40, 5\)"),
            ({"class_counts": np.zeros((40, 12), int)}, "shows no class"),
        ],
    )
    def test_wrong_arguments(self, options, message):
        source = rare()
        given = {"augment": AUGMENT, "shuffle": True, "class_uniform": 0.5, **options}
        with pytest.raises(ValueError, match=message):
            data.batches(source, 4, **given)
        assert sum(source.loads) == 0  # before a long count


@needs_tensorflow
class TestTensorFlowFeed:
    def test_equals_the_other_feed(self, source):
        options = {"augment": AUGMENT, "shuffle": True, "seed": 11}
        tensorflow = data.batches(source, 3, feed="tensorflow", **options)
        pydataset = data.batches(source, 3, feed="pydataset", **options)
        assert len(tensorflow) == len(pydataset)
        for _ in range(2):
            assert_equal(epoch(tensorflow), epoch(pydataset))

    @pytest.mark.parametrize(
        ("options", "shape"),
        [
            ({"batch_size": 7, "augment": AUGMENT}, (7, 16, 20)),
            ({"batch_size": 2, "augment": AUGMENT}, (None, 16, 20)),
            ({"batch_size": 2, "augment": AUGMENT, "drop_remainder": True}, (2, 16, 20)),
            ({"batch_size": 2}, (None, 24, 32)),
            ({"batch_size": 1}, (1, None, None)),
        ],
    )
    def test_static_shapes(self, source, options, shape):
        images, masks = data.batches(source, feed="tensorflow", **options).element_spec
        assert images.shape == (*shape, 3) and images.dtype == "uint8"
        assert masks.shape == shape and masks.dtype == "int32"

    def test_auto_takes_it(self, source):
        import tensorflow as tf

        assert isinstance(data.batches(source, 2), tf.data.Dataset)

    def test_transformations_of_your_own_follow(self, source):
        batches = data.batches(source, 2, feed="tensorflow").map(lambda x, y: (x, y + 1)).take(2)
        assert sum(1 for _ in batches) == 2


def test_auto_without_tensorflow(source, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert isinstance(data.batches(source, 2), keras.utils.PyDataset)


def test_tensorflow_has_nothing_to_tune(source) -> None:
    """The tuner's sleep can hold up the end of each pass, by seconds."""
    pytest.importorskip("tensorflow")
    batches = data.batches(source, 2, feed="tensorflow")
    assert batches.options().autotune.enabled is False


class TestPyDatasetFeed:
    def test_the_order_is_the_plan_s_whatever_is_asked_for(self, source):
        """`fit` asks in an order of its own, drawn from Python's global generator."""
        batches = data.batches(source, 2, AUGMENT, feed="pydataset")
        for expected in [epoch(data.batches(source, 2, AUGMENT, feed="pydataset"))] * 2:
            batches.on_epoch_begin()
            for position, index in enumerate((3, 0, 2, 1)):
                np.testing.assert_array_equal(batches[index][0], expected[position][0])
                np.testing.assert_array_equal(batches[index][0], expected[position][0])
            batches.on_epoch_begin()  # broken off: on_epoch_end was not called
        for index in (-1, 4):
            with pytest.raises(IndexError):
                batches[index]

    def test_prefetch_is_bounded(self):
        source = numbered(40)
        batches = data.batches(source, 2, feed="pydataset", prefetch=3, workers=2)
        batches[0]
        time.sleep(0.2)
        assert sum(source.loads) <= 1 + 2 * 4 and len(batches._pending) == 3

    def test_keras_threads_stay_off(self, source):
        assert data.batches(source, 2, feed="pydataset", workers=4).workers == 1


class TestPlaceWithinAnEpoch:
    def feed(self, source):
        return data.batches(source, 2, AUGMENT, shuffle=True, seed=3, feed="pydataset")

    @pytest.mark.parametrize("taken", [0, 1, 3, 4])
    def test_a_run_goes_on_in_the_middle_of_an_epoch(self, source, taken):
        whole = self.feed(source)
        epochs = [epoch(whole) for _ in range(3)]
        before = self.feed(source)
        epoch(before)
        passing = iter(before)
        assert_equal(list(itertools.islice(passing, taken)), epochs[1][:taken])
        state = json.loads(json.dumps(before.get_state()))
        assert state == {"epoch": 1, "batch": taken}

        after = self.feed(source)
        after.set_state(state)
        if taken < 4:
            assert len(after) == 4 - taken
            # Broken off, as `fit` does it when it looks at the first batch: repeated from there.
            assert_equal(list(itertools.islice(after, 1)), epochs[1][taken : taken + 1])
            assert_equal(epoch(after), epochs[1][taken:])
        assert len(after) == 4
        assert_equal(epoch(after), epochs[2])

    def test_what_came_before_is_not_read(self):
        source = ArraySource(20, train_pair)
        batches = self.feed(source)
        source.loads[:] = [0] * 20
        batches.set_state({"epoch": 0, "batch": 9})
        assert len(epoch(batches)) == 1 and sum(source.loads) == 2

    @pytest.mark.each_backend
    @pytest.mark.skipif(
        keras.backend.backend() == "tensorflow", reason="Keras' trainer fetches ahead there"
    )
    def test_fit_goes_on_and_knows_its_steps(self, source):
        seen: list[float] = []

        class Recorder(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                seen.append(self.params["steps"])

        model = keras.Sequential([keras.Input((16, 20, 3)), keras.layers.Conv2D(11, 1)])
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
        )
        batches = self.feed(source)
        next(iter(batches))
        batches.set_state(batches.get_state())
        model.fit(batches, verbose=0, callbacks=[Recorder()])
        assert seen == [3] * 3 and batches.epoch == 1
        model.fit(batches, epochs=2, verbose=0, callbacks=[Recorder()])
        assert seen == [3] * 3 + [4] * 8 and batches.epoch == 3

    @pytest.mark.parametrize(
        "state",
        [{}, {"epoch": 0}, {"epoch": 0, "batch": 5}, {"epoch": -1, "batch": 0}, {"epoch": "0"}],
    )
    def test_a_state_that_is_none(self, source, state):
        with pytest.raises(ValueError, match=r"state must be what get_state.*batch of 0\.\.4, got"):
            self.feed(source).set_state(state)


@pytest.mark.parametrize("feed", FEEDS)
def test_processes_give_what_threads_give(feed, camvid):
    """Order, augmentation and mixing, in every epoch; and what goes wrong in them is said here."""
    options = {"shuffle": True, "seed": 2, "feed": feed, "workers": 1}
    source = data.CamVid(camvid)
    threads = data.batches(source, 2, POLICY, **options)
    processes = data.batches(source, 2, POLICY, processes=True, **options)
    for _ in range(2):
        assert_equal(epoch(processes), epoch(threads))
    for path in (camvid / "trainannot").iterdir():
        path.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(Exception, match=r"\.png: .*cannot be read"):
        epoch(processes)


def test_what_is_no_source_is_refused(source):
    for wrong in ("path/to/dataset", [source, source]):
        for use in (data.Cached, lambda wrong: data.batches(wrong, 1)):
            with pytest.raises(ValueError, match=r"source must be a data.Source, .*; got [\['<]"):
                use(wrong)


@pytest.mark.parametrize("feed", FEEDS)
def test_a_worker_process_that_dies(feed):
    others = multiprocessing.active_children()
    source = data.SyntheticStreets(16, size=(64, 64))
    passing = iter(data.batches(source, 2, processes=True, workers=1, feed=feed))
    next(passing)
    for process in set(multiprocessing.active_children()).difference(others):
        process.kill()
    with pytest.raises(Exception, match="for the feed died.*threads in their place"):
        list(passing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.0}, "batch_size"),
        ({"batch_size": 1, "seed": -1}, "seed"),
        ({"batch_size": 1, "prefetch": -1}, "prefetch"),
        ({"batch_size": 1, "workers": 0}, "workers"),
        ({"batch_size": 1, "start_epoch": -1}, "start_epoch"),
        ({"batch_size": 1, "augment": "flip"}, "augment must be a data.Augment.*got 'flip'"),
        ({"batch_size": 1, "cache": "disk"}, "cache must be 'memory' or None, got 'disk'"),
        ({"batch_size": 1, "feed": "dali"}, "feed must be .* or 'pydataset', got 'dali'"),
        ({"batch_size": 1, "processes": True, "cache": "memory"}, "cannot share .*leave out"),
        ({"batch_size": 8, "drop_remainder": True}, "7 samples> does not fill one batch of 8"),
        ({"batch_size": 1, "shard": (1, 1)}, r"shard must be .* index < count, got \(1, 1\)"),
        ({"batch_size": 3, "shard": (0, 2)}, r"2 processes can share: batch_size is 3, of 7 samp"),
        ({"batch_size": 2, "shard": (0, 2)}, "use a multiple of 2, and drop_remainder=True"),
    ],
)
def test_wrong_arguments(source, options, message):
    with pytest.raises(ValueError, match=message):
        data.batches(source, **options)


def test_empty_source():
    with pytest.raises(data.DataError, match="is empty"):
        data.batches(numbered(0), 1)
