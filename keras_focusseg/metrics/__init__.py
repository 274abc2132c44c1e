"""Metrics of segmentation: exact counts first, then the figures that are read off them."""

from keras_focusseg.metrics.boundary import BoundaryScores, boundary_scores, trimap
from keras_focusseg.metrics.confusion import (
    ConfusionMatrix,
    accuracy_per_class,
    frequency_weighted_iou,
    iou_per_class,
    mean_accuracy,
    mean_iou,
    per_class_table,
    percent,
    pixel_accuracy,
)
from keras_focusseg.metrics.streaming import MeanIoU

__all__ = [
    "BoundaryScores",
    "ConfusionMatrix",
    "MeanIoU",
    "accuracy_per_class",
    "boundary_scores",
    "frequency_weighted_iou",
    "iou_per_class",
    "mean_accuracy",
    "mean_iou",
    "per_class_table",
    "percent",
    "pixel_accuracy",
    "trimap",
]
