"""Classes, ids, colours and the ignore id of the benchmarks and of your own data."""

from __future__ import annotations

from keras_focusseg.label_spaces.benchmarks import get, names, table
from keras_focusseg.label_spaces.groupings import Grouping, grouping
from keras_focusseg.label_spaces.label_space import (
    IGNORE,
    LabelSpace,
    distinct_colors,
    from_names,
)

__all__ = [
    "IGNORE",
    "Grouping",
    "LabelSpace",
    "distinct_colors",
    "from_names",
    "get",
    "grouping",
    "names",
    "table",
]
