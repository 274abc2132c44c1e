"""Presets that the package had once: who asks for one by name is told what came in its place."""

from __future__ import annotations

RETIRED: dict[str, tuple[str, str]] = {}
"""Name to (the preset that replaces it, the version since when); each has a line in
docs/changelog.md. Entries stay, and name a preset that is still there."""
