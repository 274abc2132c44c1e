"""Writes the tables that the benchmarks leave."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write_rows(path: Path, columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as CSV under their columns, whole or not at all."""
    from keras_focusseg import files  # inside: it imports Keras, whose backend a script may choose

    with files.written(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
