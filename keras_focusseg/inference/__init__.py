"""Networks at work: class maps of pictures, scores on labelled ones, and what it all costs."""

from keras_focusseg.inference.class_shifts import class_shifts, shift_classes
from keras_focusseg.inference.compare import Comparison, Difference, compare
from keras_focusseg.inference.evaluate import Evaluation, evaluate
from keras_focusseg.inference.procedure import Procedure
from keras_focusseg.inference.profile import Latency, Part, Profile, profile
from keras_focusseg.inference.report import write_report
from keras_focusseg.inference.results import write_results
from keras_focusseg.inference.segment import Segmentation, predict_logits, segment
from keras_focusseg.inference.video import VideoReport, segment_video

__all__ = [
    "Comparison",
    "Difference",
    "Evaluation",
    "Latency",
    "Part",
    "Procedure",
    "Profile",
    "Segmentation",
    "VideoReport",
    "class_shifts",
    "compare",
    "evaluate",
    "predict_logits",
    "profile",
    "segment",
    "segment_video",
    "shift_classes",
    "write_report",
    "write_results",
]
