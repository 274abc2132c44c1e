"""A page to play with on this machine: drop a picture, see what a network makes of it.

Only the standard library serves it. Pictures are read from the request into memory, within limits
of bytes and pixels, and forgotten with the answer; nothing is written and nobody else is asked.
"""

from __future__ import annotations

import html
import http.server
import io
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_focusseg.errors import Place
from keras_focusseg.inference.procedure import Procedure
from keras_focusseg.inference.segment import known_classes
from keras_focusseg.models.segmenter import Segmenter
from keras_focusseg.pictures.readers import image_from_bytes
from keras_focusseg.visualization import colorize, heatmap, signal_pictures
from keras_focusseg.visualization.pages import data_uri

MAX_BYTES = 20_000_000
"""Larger uploads are refused before they are read."""
MAX_PIXELS = 4_000_000
"""Pictures of more pixels are refused before they are decoded."""
_HEADER = "X-Focusseg"  # pages of other sites cannot send it unasked
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = (Path(__file__).parent / "serving.html").read_text


class Demo:
    """Answers to pictures; networks are loaded when they are first asked for, and kept.

    Args:
        names: Names of presets that may be asked for.
        load: What loads one.
    """

    def __init__(self, names: Sequence[str], load: Callable[[str], Segmenter]) -> None:
        self.names = tuple(names)
        self._load, self._networks = load, dict[str, Segmenter]()
        self._turn = threading.Lock()  # networks answer one at a time

    def answer(self, name: str, content: bytes) -> dict[str, Any]:
        """Classes with their shares, and pictures of the size of the upload, as plain values.

        Args:
            name: Name of a preset.
            content: The file that was dropped.

        Raises:
            ValueError: The preset is unknown, or the file is no picture within the limits.
        """
        if name not in self.names:
            raise ValueError(
                f"There is no preset {name!r} here; there are {', '.join(self.names)}."
            )
        check_pixels(content)
        image = image_from_bytes(content, Place(Path("the upload")))
        with self._turn:
            if name not in self._networks:
                self._networks[name] = self._load(name)
            network = self._networks[name]
            start = time.perf_counter()
            Procedure(window=None).class_maps(network, image[None])  # refuses what does not fit
            seconds = time.perf_counter() - start
            seen = network.inspect(image[None])
        space = known_classes(network)
        logits = seen["logits"][0]
        labels = logits.argmax(-1)
        confidence = 1 / np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)
        pictures = {
            "classes": Image.fromarray(colorize(labels, space)),
            "confidence: 0 dark to 1 light": heatmap(confidence, image.shape[:2]),
            **signal_pictures(image, seen, network.panels),
        }
        counts = np.bincount(labels.ravel(), minlength=space.num_classes)
        return {
            "image": data_uri(Image.fromarray(image)),
            "pictures": {title: data_uri(picture) for title, picture in pictures.items()},
            "classes": [
                {
                    "name": space.classes[k],
                    "color": "rgb({}, {}, {})".format(*space.colors[k]),
                    "share": float(counts[k] / labels.size),
                }
                for k in np.argsort(-counts, kind="stable")
                if counts[k]
            ],
            "seconds": seconds,
        }


def check_pixels(content: bytes) -> None:
    """Refuses a file whose head promises more pixels than `MAX_PIXELS`, before it is decoded.

    Raises:
        ValueError: With its size. What is no picture at all passes: reading it says so.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
    except Exception:  # decoders of broken files raise almost anything
        return
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"The picture has {width} x {height} pixels; at most {MAX_PIXELS:,} are taken here. "
            "Scale it down, or segment it on the command line."
        )


def make_server(demo: Demo, host: str = "127.0.0.1", port: int = 8000) -> Any:
    """A server of the page; `serve_forever` runs it.

    Args:
        demo: What answers.
        host: Address to listen at; the default can be reached from this machine alone.
        port: Its port; 0 for any that is free.

    Returns:
        A `http.server.ThreadingHTTPServer`.

    Raises:
        OSError: The port is taken.
    """

    class Handler(_Handler):
        answers = demo

    return http.server.ThreadingHTTPServer((host, port), Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    answers: Demo
    timeout = 60

    def do_GET(self) -> None:
        if urllib.parse.urlsplit(self.path).path != "/":
            self._send(404, "text/plain", "There is one page here: /")
            return
        options = "".join(f"<option>{html.escape(name)}</option>" for name in self.answers.names)
        page = _PAGE(encoding="utf-8").replace("<!--presets-->", options)
        self._send(200, "text/html; charset=utf-8", page)

    def do_POST(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        if address.path != "/segment" or self.headers.get(_HEADER) is None:
            self._refuse(403, "Pictures are sent from the page at /.")
            return
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            self._refuse(411, "The length of the upload is missing.")
            return
        if not 0 < length <= MAX_BYTES:
            self._refuse(413, f"The file has {length:,} bytes; 1 to {MAX_BYTES:,} are taken here.")
            return
        name = urllib.parse.parse_qs(address.query).get("preset", [""])[0]
        try:
            answer = self.answers.answer(name, self.rfile.read(length))
        except (ValueError, OSError) as error:
            self._refuse(422, str(error))
            return
        self._send(200, "application/json", json.dumps(answer))

    def _refuse(self, status: int, message: str) -> None:
        self.close_connection = True  # what was not read must not be taken for a next request
        self._send(status, "application/json", json.dumps({"error": message}))

    def _send(self, status: int, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        headers: Mapping[str, str] = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: what was asked is nobody's business."""
