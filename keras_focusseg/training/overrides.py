"""Fields of a recipe set by text, as a command line gives them: `network_config.filters=64`."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_focusseg import presets
from keras_focusseg.training.recipe import (
    BOOLS,
    CHOICES,
    NONE_TOO,
    NUMBERS,
    TEXTS,
    TEXTS_OR_NONE,
    WHOLE,
    Recipe,
)


def override(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """A recipe with some fields set by text.

    A text is `field=value`. The value is read as the field's type says: `batch_size=4`,
    `ema=0.99`, `schedule=cosine`, `steps=none`, `freeze_backbone=true`. Within fields that hold
    further values, dots lead inwards, and numbers count from 0 in lists; there the value is JSON,
    or text if it is none: `network_config.filters=64`, `augment.steps.0.size=[240,320]`.

    Args:
        recipe: The recipe as it stands.
        settings: The texts, applied in order.

    Raises:
        ValueError: A text is no setting, the field does not exist (the message names those of
            similar names), or it does not take the value.

    Example:
        ```python
        recipe = override(recipe, ["batch_size=4", "network_config.filters=64"])
        ```
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ValueError(f"--set wants FIELD=VALUE, such as batch_size=4; got {setting!r}.")
        field, *inner = path.split(".")
        fields = [each.name for each in dataclasses.fields(Recipe)]
        _check_name(field, fields, "A recipe", setting)
        if not inner:
            value = _value(field, text, setting)
        else:
            value = recipe.to_config()[field]
            if isinstance(value, (Mapping, tuple)):
                value = dict(value) if isinstance(value, Mapping) else list(value)
            value = copy.deepcopy(value)
            if field == "network_config":
                _check_name(inner[0], _arguments(recipe.network), recipe.network, setting)
            _put(value, inner, _json(text), setting)
        try:
            recipe = recipe.replace(**{field: value})
        except (TypeError, ValueError) as error:
            raise ValueError(f"--set {setting}: {error}") from error
    return recipe


def _check_name(name: str, known: Sequence[str], whose: str, setting: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 3, 0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known)}."
        raise ValueError(f"--set {setting}: {whose} has no {name!r}; {hint}")


def _arguments(network: str) -> list[str]:
    """Constructor arguments of a network; the number of classes comes from the data."""
    names = inspect.signature(presets.network_class(network)).parameters
    return [name for name in names if name not in ("self", "num_classes")]


def _value(field: str, text: str, setting: str) -> Any:
    """The text as a value of a field that holds one value."""
    optional = field in NONE_TOO or field in TEXTS_OR_NONE or None in CHOICES.get(field, ())
    if text.lower() == "none" and optional:
        return None
    if field in CHOICES or field in BOOLS:
        choices = CHOICES.get(field, (True, False))
        for choice in choices:
            if text.lower() == str(choice).lower():
                return choice
        known = " or ".join(str(choice).lower() for choice in choices)
        raise ValueError(f"--set {setting}: {field} must be {known}, got {text!r}.")
    if field in WHOLE or field in NUMBERS:
        kind, called = (int, "a whole number") if field in WHOLE else (float, "a number")
        try:
            return kind(text)
        except ValueError as error:
            raise ValueError(f"--set {setting}: {field} must be {called}, got {text!r}.") from error
    if field in TEXTS or field in TEXTS_OR_NONE:
        return text
    return _json(text)


def _json(text: str) -> Any:
    """The JSON value that a text is, or the text."""
    if text.lower() in ("none", "true", "false"):
        text = {"none": "null"}.get(text.lower(), text.lower())
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(value: Any, path: Sequence[str], new: Any, setting: str) -> None:
    """Puts a value into dicts and lists, along keys and numbers."""
    for step, key in enumerate(path):
        place: Any = key
        if isinstance(value, list):
            if not key.isdigit() or int(key) >= len(value):
                raise ValueError(
                    f"--set {setting}: {key!r} is no place in a list of {len(value)}; places are "
                    f"0 to {len(value) - 1}."
                )
            place = int(key)
        elif not isinstance(value, dict):
            raise ValueError(f"--set {setting}: nothing lies within {value!r}.")
        if step == len(path) - 1:
            value[place] = new
        elif isinstance(value, dict) and key not in value:
            raise ValueError(
                f"--set {setting}: there is no {key!r}; there are {', '.join(value) or 'none'}."
            )
        else:
            if isinstance(value[place], tuple):
                value[place] = list(value[place])
            value = value[place]
