"""Networks at work: class maps of pictures, and scores on labelled ones."""

from keras_focusseg.inference.evaluate import Evaluation, evaluate
from keras_focusseg.inference.segment import Segmentation, predict_logits, segment

__all__ = ["Evaluation", "Segmentation", "evaluate", "predict_logits", "segment"]
