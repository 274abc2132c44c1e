"""Functional models that let go of a map once no layer reads it any more."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras


class GraphModel(keras.Model):
    """A functional model that lets go of a map once no layer reads it any more.

    Keras (3.15.1) keeps what each layer gave until the pass has ended. Where no compiler sees to
    the memory, on PyTorch and in eager passes, that is the memory of all maps together, and the
    processor's time to get it. No release that lets go of them is known: with another than 3.15,
    whose graph may be laid out otherwise, Keras runs the pass. On PyTorch, Keras' call of a layer
    keeps its arguments besides, until Python collects cycles (keras-team/keras issue 23110, mended
    in keras > 3.15.1); `layers.convolution.PlainCall` does not.
    """

    def _run_through_graph(
        self,
        inputs: Any,
        operation_fn: Callable[[Any], Any] = lambda operation: operation,
        call_fn: Any = None,
    ) -> Any:
        """Keras' own, but for what is let go."""
        known = keras.__version__.startswith("3.15.") and not keras.config.is_nnx_enabled()
        if call_fn is not None or not known:
            return super()._run_through_graph(inputs, operation_fn, call_fn)
        found = dict(zip(map(id, self.inputs), keras.tree.flatten(inputs), strict=True))
        for node, last_read in self._ordered_calls:
            args, kwargs = node.arguments.fill_in(found)
            outputs = keras.tree.flatten(operation_fn(node.operation)(*args, **kwargs))
            found.update(zip(map(id, node.outputs), outputs, strict=True))
            del args, kwargs, outputs
            for tensor in last_read:
                del found[tensor]
        outputs = [found[id(tensor)] for tensor in self.outputs]
        return keras.tree.pack_sequence_as(self.output, outputs)

    @functools.cached_property
    def _ordered_calls(self) -> list[tuple[Any, list[int]]]:
        """Each call of a layer, and the tensors, by identity, that nothing reads after it."""
        depths = sorted(self._nodes_by_depth, reverse=True)
        nodes = [node for depth in depths for node in self._nodes_by_depth[depth]]
        nodes = [node for node in nodes if not node.is_input]
        last = {}
        for number, node in enumerate(nodes):
            last.update(dict.fromkeys(map(id, [*node.outputs, *node.input_tensors]), number))
        last_read: list[list[int]] = [[] for _ in nodes]
        for tensor in last.keys() - set(map(id, self.outputs)):
            last_read[last[tensor]].append(tensor)
        return list(zip(nodes, last_read, strict=True))
