"""Reads a whole dataset before an epoch is spent, and says what is wrong with it."""

from keras_focusseg.data.checkup.checks import check, check_sources, open_leniently
from keras_focusseg.data.checkup.report import Example, Finding, Report, SplitSummary

__all__ = [
    "Example",
    "Finding",
    "Report",
    "SplitSummary",
    "check",
    "check_sources",
    "open_leniently",
]
