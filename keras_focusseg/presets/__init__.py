"""Networks with their weights, their classes and their measured score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_focusseg.presets.record import PresetRecord, best, check_name, names, record

if TYPE_CHECKING:
    from keras_focusseg.presets.registry import load, network_class, save
    from keras_focusseg.presets.sharing import push
else:

    def __getattr__(name: str) -> Any:
        """Imports what needs Keras when it is first used; names and records are read without."""
        if name in ("load", "network_class", "save"):
            from keras_focusseg.presets import registry

            return getattr(registry, name)
        if name == "push":
            from keras_focusseg.presets import sharing

            return sharing.push
        raise AttributeError(f"module 'keras_focusseg.presets' has no attribute {name!r}")


__all__ = [
    "PresetRecord",
    "best",
    "check_name",
    "load",
    "names",
    "network_class",
    "push",
    "record",
    "save",
]
