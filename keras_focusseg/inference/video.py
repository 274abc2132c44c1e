"""Video files and cameras: every frame under its classes, the frame rate and the sound kept."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_focusseg import files
from keras_focusseg.errors import DataError
from keras_focusseg.inference.cameras import (
    is_camera,
    live_packets,
    noted_interrupt,
    open_camera,
)
from keras_focusseg.inference.procedure import Procedure
from keras_focusseg.inference.segment import known_classes
from keras_focusseg.label_spaces import LabelSpace
from keras_focusseg.models.segmenter import Segmenter
from keras_focusseg.visualization import overlay

SUFFIXES = tuple(".mp4 .mov .m4v .mkv .webm .avi .mpg .mpeg .wmv .ts .mts .m2ts .flv .3gp".split())
"""Suffixes, in lower case, of files that are taken for videos."""
STILL = 8
"""Levels of 255 by which no channel of a pixel may differ from the frame before if it is still."""
_SOUND_OF_MP4 = ("aac", "ac3", "alac", "eac3", "mp3", "opus")


@dataclasses.dataclass(frozen=True)
class VideoReport:
    """What was done to a video.

    Args:
        frames: Frames that were read and written.
        rate: Frames a second, the mean that the file states; 0 where it states none.
        size: Height and width of the frames.
        sound: Codec of the sound track that was copied, "" for none.
        flicker: Share of the still pixels whose class is another one than in the frame before: a
            pixel is still if none of its channels changed by more than 8 of 255. NaN without any.
        still: Share of the pixels that were still.
        faults: What was wrong with the file, in words; empty if nothing was.
    """

    frames: int
    rate: float
    size: tuple[int, int]
    sound: str
    flicker: float
    still: float
    faults: tuple[str, ...]


def result_suffix(video: str | Path) -> str:
    """The container for it: ".mp4", or ".mkv" for a video whose sound track cannot lie in MP4."""
    if is_camera(video):  # which somebody else may open at most once
        return ".mp4"
    with _opened(video) as container:
        sounds = container.streams.audio
        known = not sounds or sounds[0].codec_context.name in _SOUND_OF_MP4
    return ".mp4" if known else ".mkv"


def segment_video(
    model: Segmenter,
    video: str | Path,
    output: str | Path,
    label_space: LabelSpace | None = None,
    *,
    procedure: Procedure | None = None,
    smoothing: float = 0.0,
    opacity: float = 0.55,
    max_frames: int | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> VideoReport:
    """Writes a video with the classes of every frame laid over it, in H.264.

    A camera goes on until `max_frames` or the first Ctrl-C, and the video is whole; after Ctrl-C on
    a file there is none.

    The times of the frames and the first sound track are copied. Frames that were filmed upside
    down or on their side are turned upright; odd sides get one more row or column, as H.264 wants
    them even. What is damaged in the file is left out and told; what could be read is written.

    Args:
        model: A network of this library.
        video: Video file, or a camera: `/dev/video0` on Linux, `avfoundation:0` on macOS,
            `dshow:video=NAME` on Windows.
        output: File to write, `.mp4` or `.mkv`.
        label_space: Names and colours; by default those of the network.
        procedure: How each frame is segmented.
        smoothing: Weight of the frames before: the probabilities shown are `smoothing` times those
            shown before plus `1 - smoothing` times the frame's own. 0 is none; below 1.
        opacity: Strength of the colours, 0..1.
        max_frames: Ends after so many frames.
        on_frame: Called with the number of frames done.

    Returns:
        What was done, and how much the classes flicker.

    Raises:
        DataError: The video cannot be opened, or not one of its frames read.
        ImportError: PyAV is not installed.
        ValueError: `smoothing` is out of its range, or there is no memory for a frame.

    Example:
        ```python
        report = inference.segment_video(model, "drive.mp4", "drive_overlay.mp4", smoothing=0.6)
        print(f"{report.frames} frames, {100 * report.flicker:.2f} % of still pixels flicker")
        ```
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be 0 or more and below 1, got {smoothing}.")
    space = known_classes(model, label_space)
    shown = _Shown(model, procedure or Procedure(), smoothing)
    live = is_camera(video)
    with contextlib.ExitStack() as stack:
        interrupted = stack.enter_context(noted_interrupt()) if live else lambda: False
        source = stack.enter_context(_opened(video))
        temporary = stack.enter_context(files.written(output))
        reader = _Reader(source, Path(video), max_frames, live)
        with _Writer(temporary, source, reader) as writer:
            for image, frame in reader:
                labels = shown.add(image)
                writer.add(np.asarray(overlay(image, labels, space, opacity)), frame)
                if on_frame is not None:
                    on_frame(shown.frames)
                if interrupted():
                    break
        if not shown.frames:
            why = "; ".join(reader.faults) or "it is empty"
            raise _unreadable(video, f"not one frame could be read: {why}")
        return VideoReport(
            shown.frames,
            float(reader.stream.average_rate or 0),
            shown.size,
            writer.sound,
            shown.changed / shown.still if shown.still else float("nan"),
            shown.still / max(1, (shown.frames - 1) * shown.size[0] * shown.size[1]),
            tuple(reader.faults),
        )


class _Shown:
    """Labels frame by frame, smoothed over time, and how often those of still pixels change."""

    def __init__(self, model: Segmenter, procedure: Procedure, smoothing: float) -> None:
        self._model, self._smoothing = model, smoothing
        self._procedure = dataclasses.replace(procedure, probabilities=smoothing > 0)
        self._image = self._labels = self._mean = np.zeros(0)
        self.frames = self.still = self.changed = 0
        self.size = (0, 0)

    def add(self, image: np.ndarray) -> np.ndarray:
        """Labels (H, W) of the next frame (H, W, 3)."""
        found = self._procedure.class_maps(self._model, image[None])[0]
        labels = found.labels
        if found.probabilities is not None:
            own = found.probabilities.astype("float32")
            if self._mean.shape == own.shape:
                own = self._smoothing * self._mean + (1 - self._smoothing) * own
            self._mean = own
            labels = own.argmax(-1).astype(labels.dtype)
        if self._image.shape == image.shape:
            moved = np.abs(image.astype("int16") - self._image.astype("int16")).max(-1)
            still = moved <= STILL
            self.still += int(still.sum())
            self.changed += int((still & (labels != self._labels)).sum())
        self._image, self._labels = image, labels
        self.frames += 1
        self.size = (image.shape[0], image.shape[1])
        return labels


class _Reader:
    """The frames of an opened video, upright, and on the way the packets of its sound."""

    def __init__(self, container: Any, path: Path, max_frames: int | None, live: bool) -> None:
        if not container.streams.video:
            raise _unreadable(path, "it has no picture track")
        self.stream = container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.sound = container.streams.audio[0] if container.streams.audio else None
        self.on_sound: Callable[[Any], None] = lambda packet: None
        self.faults: list[str] = []
        self._container, self._max_frames, self._live = container, max_frames, live

    def __iter__(self) -> Iterator[tuple[np.ndarray, Any]]:
        count = start = untimed = 0
        last = None
        for frame in self._frames():
            if frame.pts is None or (last is not None and frame.pts <= last):
                frame.pts = 0 if last is None else last + self._step
                untimed += 1
            last = frame.pts
            if self._live:  # the clock of a camera may run since the machine was started
                start = start if count else frame.pts
                frame.pts -= start
            yield _upright(frame), frame
            count += 1
            if count == self._max_frames:
                break
        if untimed:
            self.faults.append(
                f"{untimed} frames have no time, or one that was: placed by the rate"
            )
        if count == self._max_frames:
            return
        stated = self.stream.frames
        if count < stated:
            self.faults.append(f"it ends after {count} of {stated} frames")

    @property
    def _step(self) -> int:
        """Ticks of the stream's clock from a frame to the next, by the stated rate."""
        return max(1, round(1 / (self.stream.average_rate or 25) / self.stream.time_base))

    def _frames(self) -> Iterator[Any]:
        from av.error import FFmpegError

        streams = [stream for stream in (self.stream, self.sound) if stream is not None]
        packets = self._container.demux(streams)
        if self._live:
            packets = live_packets(self._container, streams)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except FFmpegError as error:
                self.faults.append(f"it breaks off: {error}")
                return
            if packet.stream is self.sound:
                self.on_sound(packet)
                continue
            try:
                yield from packet.decode()
            except FFmpegError as error:
                self.faults.append(f"a frame cannot be read: {error}")


class _Writer:
    """A context in which frames are encoded and sound packets copied."""

    def __init__(self, path: Path, source: Any, reader: _Reader) -> None:
        self._path, self._reader = path, reader
        self._size: tuple[int, int] | None = None  # of the first frame, and so of all
        self._waiting: list[Any] = []
        self.sound = ""

    def __enter__(self) -> _Writer:
        import av

        self._container = av.open(str(self._path), "w")
        self._container.metadata["comment"] = files.MARK
        rate = self._reader.stream.average_rate or 25
        self._track = self._container.add_stream("libx264", rate=rate)
        sound = self._reader.sound
        known = _SOUND_OF_MP4 if self._path.suffix == ".mp4" else None
        if sound is not None and (known is None or sound.codec_context.name in known):
            self._copy = self._container.add_stream_from_template(sound)
            self._reader.on_sound = self._add_sound
            self.sound = sound.codec_context.name
        return self

    def add(self, image: np.ndarray, like: Any) -> None:
        """Encodes a frame at the time of the one that it was made from."""
        import av

        image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        if self._size is None:
            self._size = self._track.height, self._track.width = image.shape[0], image.shape[1]
            self._track.pix_fmt = "yuv420p"
            self._track.codec_context.time_base = like.time_base
        elif self._size != image.shape[:2]:
            frame = frame.reformat(height=self._size[0], width=self._size[1])
        frame.pts, frame.time_base = like.pts, like.time_base
        self._container.mux(self._track.encode(frame))
        for packet in self._waiting:
            self._container.mux(packet)
        self._waiting = []

    def _add_sound(self, packet: Any) -> None:
        if packet.dts is None:
            return
        packet.stream = self._copy
        # The head of the file is written with the first packet, and needs the size of the frames.
        if self._size is None:
            self._waiting.append(packet)
        else:
            self._container.mux(packet)

    def __exit__(self, *error: Any) -> None:
        if self._size is not None and error[0] is None:
            self._container.mux(self._track.encode(None))
        self._container.close()


def _opened(video: str | Path) -> Any:
    try:
        import av
        from av.error import FFmpegError
    except ImportError as error:
        raise ImportError("Videos need PyAV: pip install 'keras-focusseg[video]'.") from error
    what = "camera" if is_camera(video) else "video"
    try:
        return open_camera(video) if is_camera(video) else av.open(str(video))
    except (FFmpegError, OSError, ValueError) as error:  # ValueError: no such device here
        raise _unreadable(video, f"the {what} cannot be opened ({error})") from error


def _unreadable(video: str | Path, found: str) -> DataError:
    fix = "Restore it from its source."
    if is_camera(video):
        fix = "See that it is there and that no other program uses it."
    return DataError(found, kind="broken video", file=video, fix=fix)


def _upright(frame: Any) -> np.ndarray:
    """RGB (H, W, 3) uint8, turned as the file says."""
    image: np.ndarray = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
