"""A network that knows its constructor's arguments, so that it can be written down and rebuilt."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import keras
import numpy as np

from keras_focusseg._graphs import GraphModel

# Arguments that say where a network's weights came from, and not what it is.
OF_THE_START = ("backbone_weights",)


class ConfiguredModel(GraphModel):
    """A functional model that is rebuilt from its constructor's arguments, not from its graph.

    A subclass writes an ordinary `__init__` and no `get_config`: its arguments are bound here. An
    argument `dtype` (a policy, its name, or `None` for the one in force) is the policy of all
    layers that the constructor makes and gives none of their own, the encoder's among them. An
    argument `backbone` may be a Keras model; `self.backbone` is what became of it.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _bound(cls.__init__)  # type: ignore[method-assign]

    def constructor_config(self) -> dict[str, Any]:
        """The constructor's arguments as values that JSON can hold, `dtype` as it was in force.

        Where the weights came from is not one of them.
        """
        in_force = {"name": self.name, "dtype": self.dtype_policy.name}
        config = {
            name: in_force.get(name, _json_value(value))
            for name, value in self._arguments.values.items()
            if name not in OF_THE_START
        }
        if isinstance(config.get("backbone"), keras.Model):
            # As it stands in the graph, which another package's backbone does in a bridge.
            config["backbone"] = keras.saving.serialize_keras_object(self.backbone)
            _forget_synchronization(config["backbone"])
        return config

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, and the paths of the layers that are frozen."""
        frozen = list(_frozen_layers(self))
        return {**self.constructor_config(), **({"frozen_layers": frozen} if frozen else {})}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Builds the model that `get_config` describes.

        Raises:
            ValueError: The config names weights to start from: what lies in a file or a record of
                somebody else shall not fetch and read further ones.
        """
        config = dict(config)
        for name in OF_THE_START:
            if (start := config.pop(name, None)) is not None:
                raise ValueError(
                    f"{name} is {start!r}: a config says what a network is, and names no weights."
                )
        frozen = config.pop("frozen_layers", ())
        if isinstance(config.get("backbone"), dict):
            # A copy, because Keras empties what it deserialises.
            config["backbone"] = keras.saving.deserialize_keras_object(
                copy.deepcopy(config["backbone"]), custom_objects=custom_objects
            )
        model = cls(**config)
        for path in frozen:
            layer: Any = model
            for name in path.split("/"):
                layer = layer.get_layer(name)
            layer.trainable = False
        return model

    def save_own_variables(self, store: Any) -> None:
        """Keras' own, and the state of every random generator, which Keras leaves out."""
        super().save_own_variables(store)
        for number, state in enumerate(self._random_states()):
            store[f"random_state_{number}"] = state

    def load_own_variables(self, store: Any) -> None:
        """What `save_own_variables` wrote; without random states, generators keep theirs."""
        stored = {name: store[name] for name in store.keys()}
        for number, state in enumerate(self._random_states()):
            value = stored.pop(f"random_state_{number}", None)
            if value is not None:
                state.assign(value)
        super().load_own_variables(stored)

    def _random_states(self) -> list[keras.Variable]:
        """Of dropout and the like, in the order of the layers: all variables but the weights."""
        weights = {id(weight) for weight in self.weights}
        return [variable for variable in self.variables if id(variable) not in weights]


class _Arguments:
    """Holds values of which Keras would take models and lists for parts of the model."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


def _bound(construct: Callable[..., None]) -> Callable[..., None]:
    """A constructor that runs under the policy `dtype` and keeps its arguments."""
    signature = inspect.signature(construct)

    @functools.wraps(construct)
    def constructor(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        policy = keras.dtype_policies.get(given.arguments.get("dtype"))
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            construct(self, *args, **kwargs)
        finally:
            keras.config.set_dtype_policy(before)
        self.dtype_policy = policy
        arguments = dict(given.arguments)
        arguments.pop(next(iter(signature.parameters)))  # self
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                return  # passed on to the class above, which has bound them
            if parameter.kind is parameter.VAR_KEYWORD:
                arguments.update(arguments.pop(parameter.name))
        self._arguments = _Arguments(arguments)

    # Keras tells by the signature whether a class is built as plain functional models are.
    constructor.__signature__ = signature  # type: ignore[attr-defined]
    return constructor


def _json_value(value: Any) -> Any:
    """The value with tuples and arrays as lists, mappings as dicts, NumPy's numbers as Python's."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _json_value(item) for name, item in value.items()}
    return value


def _frozen_layers(model: keras.Model, prefix: str = "") -> Iterator[str]:
    """Paths of the layers that are not trained; a frozen model stands for all of its layers."""
    for layer in model.layers:
        path = f"{prefix}{layer.name}"
        if not layer.trainable:
            yield path
        elif isinstance(layer, keras.Model):
            yield from _frozen_layers(layer, f"{path}/")


def _forget_synchronization(config: Any) -> None:
    """Takes back, in a model's config, what `_replicas.join` set: other backends cannot load it."""
    if isinstance(config, dict):
        if config.get("synchronized") is True:
            config["synchronized"] = False
        for value in config.values():
            _forget_synchronization(value)
    elif isinstance(config, list | tuple):
        for value in config:
            _forget_synchronization(value)
