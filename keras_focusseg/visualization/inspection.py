"""What networks saw in one picture, as one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_focusseg.visualization import pages
from keras_focusseg.visualization.flow import flow_wheel
from keras_focusseg.visualization.pictures import heatmap, legend, overlay
from keras_focusseg.visualization.signals import drawings_of, signal_notes, signal_pictures


def write_inspection(
    path: str | Path, name: str, image: np.ndarray, networks: Mapping[str, Any]
) -> None:
    """Writes a page with the classes, the confidence and every signal of each network.

    Args:
        path: HTML file to write; pictures lie inside.
        name: What the picture is called.
        image: RGB picture (H, W, 3) uint8.
        networks: Networks by name, each with a label space.

    Example:
        ```python
        write_inspection("street.html", "street.jpg", image, {"mine": model})
        ```
    """
    parts = [pages.row_of_pictures({name: Image.fromarray(image)})]
    for title, network in networks.items():
        seen = network.inspect(image[None])
        logits = seen["logits"][0]
        labels = logits.argmax(-1).astype("uint8")
        confidence = 1 / np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)
        pictures = {
            "classes": overlay(image, labels, network.label_space),
            "confidence: 0 dark to 1 light": heatmap(confidence, image.shape[:2]),
            **signal_pictures(image, seen, network.panels),
        }
        parts += [pages.heading(title), pages.row_of_pictures(pictures)]
        parts += [pages.paragraph(f"{t} {note}") for t, note in signal_notes(seen, network.panels)]
        if any(drawing.kind == "offsets" for drawing in drawings_of(seen, network.panels)):
            parts.append(f'<img src="{pages.data_uri(flow_wheel())}" alt="Colours of directions">')
        parts.append(
            f'<p><img src="{pages.data_uri(legend(network.label_space))}" alt="Legend"></p>'
        )
    pages.write_page(path, f"What networks saw in {name}", parts)
