"""How a network says what its signals look like: plain data that `visualization` draws."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Drawing:
    """One picture of one signal.

    Args:
        kind: What the signal is, one of `keras_focusseg.visualization.KINDS`.
        signal: Its name in what `inspect` returns.
        title: What the picture is called; the kind adds what its colours stand for.
        beside: A further signal that the kind needs: the field on whose scale "offsets" are drawn
            as well, a map on the cells of "pairs".
    """

    kind: str
    signal: str
    title: str
    beside: str | None = None


@dataclasses.dataclass(frozen=True)
class Panel:
    """Pictures that belong together.

    Args:
        title: What they show.
        note: The sentence that begins with the title and says how to read them.
        drawings: The pictures; those of signals that a network was built without are left out.
    """

    title: str
    note: str
    drawings: tuple[Drawing, ...]
