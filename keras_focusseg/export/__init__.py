"""Networks as files that run without Keras: written, run by their own runtime, compared."""

from keras_focusseg.export.comparing import BOUNDS, Bound, Comparison, ExportDiffers, Scores
from keras_focusseg.export.exporting import Export, export, latency, verify
from keras_focusseg.export.formats import FORMATS, PRECISIONS
from keras_focusseg.export.runtimes import ExportedModel, facts_path, is_exported, open_exported

__all__ = [
    "BOUNDS",
    "FORMATS",
    "PRECISIONS",
    "Bound",
    "Comparison",
    "Export",
    "ExportDiffers",
    "ExportedModel",
    "Scores",
    "export",
    "facts_path",
    "is_exported",
    "latency",
    "open_exported",
    "verify",
]
