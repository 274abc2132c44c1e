"""A run that SIGKILL ends, by the script that measures it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


def test_a_killed_run_ends_as_the_one_that_was_not(tmp_path: Path) -> None:
    script, output = REPOSITORY / "benchmarks" / "killed_runs.py", tmp_path / "kills.csv"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, script, "--kills", "1", "--epochs", "2", "--output", output]
    subprocess.run(command, env=environment, check=True)
    (row,) = csv.DictReader(output.open())
    assert [row[f"same_{what}"] for what in ("weights", "best", "log")] == ["True"] * 3
