"""Functional models that run with less memory and fewer passes over maps than those of Keras."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_focusseg.layers.batch_normalization import BatchNormalization, normalized_convolution
from keras_focusseg.layers.convolution import is_bare
from keras_focusseg.layers.elementwise import ReLU, is_plain_relu


class GraphModel(keras.Model):
    """A functional model that lets go of a map once no layer reads it any more.

    Keras (3.15.1) keeps what each layer gave until the pass has ended. Where no compiler sees to
    the memory, on PyTorch and in eager passes, that is the memory of all maps together, and the
    processor's time to get it. No release that lets go of them is known: with another than 3.15,
    whose graph may be laid out otherwise, Keras runs the pass. On PyTorch, Keras' call of a layer
    keeps its arguments besides, until Python collects cycles (keras-team/keras issue 23110, mended
    in keras > 3.15.1); `layers.convolution.PlainCall` does not.

    A convolution, the batch norm that reads it and its ReLU are called together, so that PyTorch
    can predict them in one pass over the map (`layers.batch_normalization`).
    """

    def _run_through_graph(
        self,
        inputs: Any,
        operation_fn: Callable[[Any], Any] = lambda operation: operation,
        call_fn: Any = None,
    ) -> Any:
        """Keras' own, but for what is let go of and what is joined."""
        known = keras.__version__.startswith("3.15.") and not keras.config.is_nnx_enabled()
        if call_fn is not None or not known:
            return super()._run_through_graph(inputs, operation_fn, call_fn)
        found = dict(zip(map(id, self.inputs), keras.tree.flatten(inputs), strict=True))
        for operation, node, made, last_read in self._ordered_calls:
            args, kwargs = node.arguments.fill_in(found)
            outputs = keras.tree.flatten(operation_fn(operation)(*args, **kwargs))
            found.update(zip(map(id, made), outputs, strict=True))
            del args, kwargs, outputs
            for tensor in last_read:
                del found[tensor]
        outputs = [found[id(tensor)] for tensor in self.outputs]
        return keras.tree.pack_sequence_as(self.output, outputs)

    def _get_jax_state(self, *, purge_model_variables: bool = False, **asked: bool) -> Any:
        """Keras' values of the variables, kept where they are taken out of these.

        Keras 3.15 keeps them from the end of the first step on: where that step fails or there is
        none, its `jax_state_sync` had nothing to put back, and the weights were lost.
        """
        state = super()._get_jax_state(purge_model_variables=purge_model_variables, **asked)
        if purge_model_variables and keras.__version__.startswith("3.15."):
            names = [name for name, wanted in asked.items() if wanted]
            self._jax_state = dict(zip(names, state, strict=True))
        return state

    @functools.cached_property
    def _ordered_calls(self) -> list[tuple[Any, Any, Any, list[int]]]:
        """Each call: what is called, the node with its arguments, and what nothing reads after it.

        Tensors are told by identity. A convolution that a normalisation alone reads is called with
        it, and so is a ReLU that alone reads that: see `normalized_convolution`.
        """
        depths = sorted(self._nodes_by_depth, reverse=True)
        nodes = [node for depth in depths for node in self._nodes_by_depth[depth]]
        nodes = [node for node in nodes if not node.is_input]
        calls = _joined(nodes, set(map(id, self.outputs)))
        last = {}
        for number, (_, node, outputs) in enumerate(calls):
            last.update(dict.fromkeys(map(id, [*outputs, *node.input_tensors]), number))
        last_read: list[list[int]] = [[] for _ in calls]
        for tensor in last.keys() - set(map(id, self.outputs)):
            last_read[last[tensor]].append(tensor)
        return [
            (operation, node, outputs, read)
            for (operation, node, outputs), read in zip(calls, last_read, strict=True)
        ]


class _NormalizedConvolution:
    """A convolution, the normalisation that reads it and its ReLU, called as one layer."""

    def __init__(self, conv: Any, norm: BatchNormalization, relu: ReLU | None = None) -> None:
        self.conv, self.norm, self.relu = conv, norm, relu
        self._call_context_args = norm._call_context_args  # so that Keras tells `training`

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        return normalized_convolution(self.conv, self.norm, x, training, self.relu)

    def compute_output_spec(self, x: Any) -> Any:
        return self.norm.compute_output_spec(self.conv.compute_output_spec(x))


def _joined(nodes: list[Any], kept: set[int]) -> list[tuple[Any, Any, Any]]:
    """Operation, node with its arguments and tensors that it gives, for each call that is made."""
    readers = collections.Counter(id(x) for node in nodes for x in node.input_tensors)
    calls: dict[int, tuple[Any, Any, Any]] = {}  # by the first tensor that they give
    for node in nodes:
        operation, first, x = node.operation, id(node.outputs[0]), id(node.input_tensors[0])
        made, reads, _ = calls.get(x, (None, node, None))
        joined = None
        if readers[x] == 1 and x not in kept:
            if type(operation) is BatchNormalization and is_bare(made):
                joined = _NormalizedConvolution(made, operation)
            elif is_plain_relu(operation) and isinstance(made, _NormalizedConvolution):
                joined = _NormalizedConvolution(made.conv, made.norm, operation)
        if joined is None:
            calls[first] = (operation, node, node.outputs)
        else:
            del calls[x]
            calls[first] = (joined, reads, node.outputs)
    return list(calls.values())
