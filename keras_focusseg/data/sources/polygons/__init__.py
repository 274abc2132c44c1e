"""Annotations as outlines, painted into masks: COCO and Labelme."""
