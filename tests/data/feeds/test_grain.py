"""The Grain feed beyond what test_pipeline.py asks of every feed: its length, its place, its reads.

The order, epochs and errors of all feeds, this one among them, are in test_pipeline.py.
"""

from __future__ import annotations

import itertools
import json
import time

import keras
import numpy as np
import pytest

from keras_focusseg import data
from keras_focusseg.data.feeds.plan import Plan
from tests.data.conftest import ArraySource, train_pair
from tests.data.feeds.test_batches import assert_equal, epoch, run_python

grain = pytest.importorskip("grain")
from keras_focusseg.data.feeds.grain import GrainFeed  # noqa: E402

AUGMENT = data.Augment(crop_size=(16, 20))
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def feed(source, batch_size=2, prefetch=2, threads=2, **options) -> GrainFeed:
    plan = Plan(source, batch_size, AUGMENT, shuffle=True, seed=3, **options)
    return GrainFeed(plan, prefetch, threads)


def test_equals_the_other_feeds(source):
    options = {"augment": AUGMENT, "shuffle": True, "seed": 11, "drop_remainder": True}
    batches = data.batches(source, 3, feed="grain", **options)
    other = data.batches(source, 3, feed="pydataset", **options)
    assert len(batches) == len(other) == 2
    for _ in range(2):
        assert_equal(epoch(batches), epoch(other))


@pytest.mark.parametrize("prefetch", [0, 3])
def test_reads_no_further_ahead_than_told(prefetch):
    source = ArraySource(40, train_pair)
    batches = feed(source, 2, prefetch)
    expected = epoch(feed(source, 2, 1))
    source.loads[:] = [0] * 40
    np.testing.assert_array_equal(batches[0][0], expected[0][0])
    time.sleep(0.2)
    assert 2 <= sum(source.loads) <= 2 * (prefetch + 1)
    assert_equal(epoch(batches), expected)


def test_the_order_is_the_plan_s_whatever_is_asked_for(source):
    """`fit` asks in an order of its own, drawn from Python's global generator."""
    expected = epoch(feed(source))
    batches = feed(source)
    for _ in range(2):
        batches.on_epoch_begin()
        for position, index in enumerate((3, 0, 2, 1)):
            for asked in (index, index, 3):  # the first one again, when others came after it
                again = 0 if asked == 3 else position
                np.testing.assert_array_equal(batches[asked][0], expected[again][0])
        batches.on_epoch_begin()  # broken off: on_epoch_end was not called
    for index in (-1, 4):
        with pytest.raises(IndexError):
            batches[index]


class TestState:
    @pytest.mark.parametrize("taken", [0, 1, 3, 4])
    def test_a_run_goes_on_in_the_middle_of_an_epoch(self, source, taken):
        whole = feed(source)
        epochs = [epoch(whole) for _ in range(3)]
        before = feed(source)
        epoch(before)
        passing = iter(before)
        assert_equal(list(itertools.islice(passing, taken)), epochs[1][:taken])
        state = json.loads(json.dumps(before.get_state()))
        assert (state["epoch"], state["batch"]) == (1, taken)

        after = feed(source)
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
        state = {"epoch": 0, "batch": 9, "iterator": {"next_index": 18}}
        batches = feed(source)
        source.loads[:] = [0] * 20
        batches.set_state(state)
        assert len(epoch(batches)) == 1 and sum(source.loads) == 2

    @pytest.mark.skipif(ON_TENSORFLOW, reason="Keras' trainer there takes a tf.data.Dataset")
    def test_fit_goes_on_and_knows_its_steps(self, source):
        seen: list[float] = []

        class Recorder(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                seen.append(self.params["steps"])

        model = keras.Sequential([keras.Input((16, 20, 3)), keras.layers.Conv2D(11, 1)])
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
        )
        batches = data.batches(source, 2, AUGMENT, shuffle=True, seed=3, feed="grain")
        first = next(iter(batches))
        batches.set_state(batches.get_state())
        model.fit(batches, verbose=0, callbacks=[Recorder()])
        assert seen == [3] * 3 and batches.epoch == 1
        model.fit(batches, epochs=2, verbose=0, callbacks=[Recorder()])
        assert seen == [3] * 3 + [4] * 8 and batches.epoch == 3
        assert first[0].shape == (2, 16, 20, 3)

    @pytest.mark.parametrize(
        "state",
        [
            {},
            {"epoch": 0, "batch": 5, "iterator": {}},
            {"epoch": -1, "batch": 0, "iterator": {}},
            {"epoch": 0, "batch": 1},
            {"epoch": "0", "batch": 1, "iterator": {}},
        ],
    )
    def test_a_state_that_is_none(self, source, state):
        with pytest.raises(ValueError, match=r"state must be what get_state.*batch of 0\.\.4, got"):
            feed(source).set_state(state)


def test_what_to_install(source, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-focusseg\[grain\]'"):
        data.batches(source, 2, feed="grain")


@pytest.mark.skipif(ON_TENSORFLOW, reason="tests life without it")
def test_fit_without_tensorflow():
    code = """
        from tests.data.conftest import ArraySource, train_pair, without_tensorflow
        without_tensorflow()
        import sys, keras
        from keras_focusseg import data
        source = ArraySource(6, train_pair)
        batches = data.batches(
            source, 2, data.Augment(crop_size=(16, 20)), shuffle=True, feed="grain"
        )
        model = keras.Sequential([keras.Input((16, 20, 3)), keras.layers.Conv2D(11, 1)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
        model.compile("adam", loss)
        model.fit(batches, epochs=2, verbose=0)
        assert "tensorflow" not in sys.modules
        print(batches.epoch)
    """
    assert int(run_python(code, keras.backend.backend())) == 2
