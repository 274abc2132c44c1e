"""A small film for tests of videos."""

from fractions import Fraction
from pathlib import Path

import numpy as np

RATE = Fraction(25, 2)


def film(path: Path, frames: int = 10, sound: bool = True, **options: str) -> Path:
    """A black picture with a white square that moves, and a tone."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        track = container.add_stream("libx264", rate=RATE, options={"crf": "10", "g": "1"})
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        if sound:
            tone = container.add_stream("aac", rate=8000, layout="mono")
            wave = np.sin(np.arange(int(8000 * frames / RATE)) / 5).astype("float32")[None]
            heard = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            heard.sample_rate, heard.pts = 8000, 0
            container.mux(tone.encode(heard))
            container.mux(tone.encode(None))
        for i in range(frames):
            image = np.zeros((48, 64, 3), "uint8")
            image[20:36, 10 + 4 * i : 14 + 4 * i] = 255
            container.mux(track.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(track.encode(None))
    return path
