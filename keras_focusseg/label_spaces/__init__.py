"""Classes, ids, colours and the ignore id of the benchmarks and of your own data."""

from __future__ import annotations

from keras_focusseg.label_spaces.benchmarks import get, names, table
from keras_focusseg.label_spaces.class_tables import (
    VOID_NAMES,
    find_table,
    load_table,
    read_class_table,
    write_class_dict,
)
from keras_focusseg.label_spaces.discovery import name_colors
from keras_focusseg.label_spaces.groupings import Grouping, by_color, grouping
from keras_focusseg.label_spaces.label_space import (
    IGNORE,
    LabelSpace,
    UnknownLabels,
    distinct_colors,
    from_names,
)

__all__ = [
    "IGNORE",
    "VOID_NAMES",
    "Grouping",
    "LabelSpace",
    "UnknownLabels",
    "by_color",
    "distinct_colors",
    "find_table",
    "from_names",
    "get",
    "grouping",
    "load_table",
    "name_colors",
    "names",
    "read_class_table",
    "table",
    "write_class_dict",
]
