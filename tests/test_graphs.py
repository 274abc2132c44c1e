"""What a functional model keeps while it runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_focusseg import layers
from keras_focusseg._graphs import GraphModel
from keras_focusseg.backbones.backbone import Backbone
from keras_focusseg.models import FoRNet
from keras_focusseg.models.predictors import Part


class Watched(layers.convolution.PlainCall, keras.layers.Layer):
    """Adds one; counts the maps of its kind that are still kept when it is called."""

    first_weight = None
    made: list[Any] = []
    kept: list[int] = []

    def call(self, x: Any) -> Any:
        if not isinstance(x, keras.KerasTensor):
            self.kept.append(sum(made() is not None for made in self.made))
        y = x + 1.0
        if not isinstance(y, keras.KerasTensor):
            self.made.append(weakref.ref(y))
        return y


def chain(model: type[keras.Model]) -> keras.Model:
    """Five layers; the third also reads what the first gave, the second is given out."""
    x = keras.Input((2, 2, 1))
    first = Watched()(x)
    second = Watched()(first)
    third = Watched()(layers.Add()([second, first]))
    return model(x, {"last": Watched()(Watched()(third)), "second": second})


def run(model: keras.Model) -> tuple[dict[str, Any], list[int]]:
    Watched.made, Watched.kept = [], []
    outputs = model(ops.ones((1, 2, 2, 1)))
    return outputs, Watched.kept


def test_maps_that_nothing_reads_are_let_go() -> None:
    expected, all_kept = run(chain(keras.Model))
    assert all_kept == [0, 1, 2, 3, 4], "Keras lets go of them itself: GraphModel can go."
    found, kept = run(chain(GraphModel))
    assert kept == [0, 1, 1, 2, 2]  # the second is an output
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_maps_of_networks_backbones_and_parts_are_let_go() -> None:
    assert issubclass(FoRNet, GraphModel)
    assert issubclass(Backbone, GraphModel)
    assert issubclass(Part, GraphModel)


def test_another_keras_runs_the_graph_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras, "__version__", "3.16.0")
    assert run(chain(GraphModel))[1] == [0, 1, 2, 3, 4]


def normalized(
    read_again: str | None = None, **options: Any
) -> tuple[GraphModel, Callable[[np.ndarray], dict[str, np.ndarray]]]:
    """Convolution, normalisation, ReLU as a graph, and what its layers give one by one.

    Args:
        read_again: The layer whose maps are given out too.
        **options: Of the convolution.
    """
    options = {"use_bias": False, "padding": "same", **options}
    steps = [layers.Conv2D(4, 3, **options), layers.BatchNormalization(), layers.ReLU()]
    x = inputs = keras.Input((None, None, 3))
    maps = {}
    for name, layer in zip(("conv", "norm", "relu"), steps, strict=True):
        maps[name] = x = layer(x)
    graph = GraphModel(inputs, {name: maps[name] for name in {"relu", read_again or "relu"}})
    rng = np.random.default_rng(0)
    graph.set_weights([rng.uniform(0.5, 2.0, w.shape) for w in graph.get_weights()])

    def one_by_one(x: np.ndarray) -> dict[str, np.ndarray]:
        found = {}
        y = ops.convert_to_tensor(x)
        for name, layer in zip(("conv", "norm", "relu"), steps, strict=True):
            y = layer(y)
            found[name] = ops.convert_to_numpy(y)
        return found

    return graph, one_by_one


@pytest.mark.parametrize("read_again", [None, "conv", "norm"])
@pytest.mark.parametrize("options", [{}, {"use_bias": True}, {"activation": "tanh"}])
def test_joined_layers_give_what_they_give_one_by_one(
    read_again: str | None, options: dict[str, Any]
) -> None:
    graph, one_by_one = normalized(read_again, **options)
    x = np.random.default_rng(1).normal(size=(1, 5, 6, 3)).astype("float32")
    expected = one_by_one(x)
    for found in (graph(ops.convert_to_tensor(x), training=False), graph.predict_on_batch(x)):
        for name, values in found.items():
            values = ops.convert_to_numpy(values)
            np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-5)


def test_a_graph_joins_what_nothing_else_reads() -> None:
    def operations(graph: GraphModel) -> list[str]:
        return [type(operation).__name__ for operation, *_ in graph._ordered_calls]

    assert operations(normalized()[0]) == ["_NormalizedConvolution"]
    assert operations(normalized("norm")[0]) == ["_NormalizedConvolution", "ReLU"]
    apart = ["Conv2D", "BatchNormalization", "ReLU"]
    assert operations(normalized("conv")[0]) == apart
    assert operations(normalized(use_bias=True)[0]) == apart


def test_joined_layers_learn_as_their_layers_do() -> None:
    graph, _ = normalized()
    plain = keras.Model(graph.inputs, graph.outputs)
    x = np.random.default_rng(1).normal(size=(2, 5, 6, 3)).astype("float32")
    start = graph.get_weights()
    after = []
    for model in (
        keras.Model(graph.inputs, graph.outputs),
        GraphModel(graph.inputs, plain.outputs),
    ):
        model.set_weights(start)
        model.compile(keras.optimizers.SGD(0.01), "mse")
        model.train_on_batch(x, np.ones((2, 5, 6, 4), "float32"))
        after.append(model.get_weights())
    for one, other, before in zip(*after, start, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert not np.array_equal(one, before)
