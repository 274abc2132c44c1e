"""Videos keep their times and their sound; flicker is counted; what is damaged is told."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_focusseg import data, files, label_spaces
from keras_focusseg.inference import cameras, segment_video, video
from keras_focusseg.inference.procedure import ClassMap, Procedure
from tests.inference.films import RATE, film

av = pytest.importorskip("av")


class Bright:
    """In place of a network: class 1 where red is strong; sees the left half anew each time."""

    num_classes, label_space = 2, label_spaces.from_names(["dark", "bright"])


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def class_maps(self: Procedure, model: Bright, images: np.ndarray) -> list[ClassMap]:
        calls.append(1)
        bright = images[..., 0] > 127
        bright[:, :8, :8] = len(calls) % 2  # flickers: 64 pixels of a still corner
        share = np.where(bright, 0.9, 0.2).astype("float16")
        both = np.stack([1 - share, share], -1)
        kept = both[0] if self.probabilities else None
        return [ClassMap(bright[0].astype("uint8"), both[0].max(-1), kept)]

    monkeypatch.setattr(Procedure, "class_maps", class_maps)


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


@pytest.mark.parametrize("suffix", sorted(set(video.SUFFIXES) - {".webm"}))  # no H.264 in that
def test_containers_are_read(tmp_path: Path, suffix: str) -> None:
    source, out = film(tmp_path / f"a{suffix}", frames=3, sound=False), tmp_path / "b.mp4"
    report = segment_video(Bright(), source, out)
    assert (report.frames, report.rate) == (3, 12.5)
    untimed = suffix in (".mpg", ".mpeg")  # H.264 in them has a time for its first frame only
    assert report.faults == (
        ("2 frames have no time, or one that was: placed by the rate",) * untimed
    )
    first = times(source)[0]
    assert np.allclose(times(out), [first, first + 0.08, first + 0.16], rtol=0, atol=0.002)


def test_times_and_sound_are_kept(tmp_path: Path) -> None:
    source, out = film(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    seen: list[int] = []
    report = segment_video(Bright(), source, out, on_frame=seen.append)
    assert seen == list(range(1, 11))
    assert (report.frames, report.rate, report.size) == (10, 12.5, (48, 64))
    assert report.sound == "aac" and report.faults == ()
    assert times(out) == times(source)
    with av.open(str(out)) as written, av.open(str(source)) as read:
        assert written.metadata["comment"] == files.MARK
        assert written.streams.video[0].average_rate == RATE
        sounds = [b"".join(map(bytes, c.demux(audio=0))) for c in (written, read)]
        assert sounds[0] == sounds[1] and len(sounds[0]) > 100


def test_flicker_and_smoothing(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", sound=False)
    plain = segment_video(Bright(), source, tmp_path / "b.mp4", max_frames=5)
    assert plain.frames == 5 and plain.sound == ""
    still = plain.still * 48 * 64
    assert 48 * 64 - 4 * 16 * 8 < still < 48 * 64  # all but the square, before and after
    assert plain.flicker == pytest.approx(64 / still, rel=0.05)
    smooth = segment_video(Bright(), source, tmp_path / "c.mp4", max_frames=5, smoothing=0.8)
    assert smooth.flicker < plain.flicker / 3
    with pytest.raises(ValueError, match="smoothing must be 0 or more and below 1, got 1"):
        segment_video(Bright(), source, tmp_path / "c.mp4", smoothing=1)


def test_a_video_that_breaks_off(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", frames=40, sound=False, movflags="faststart")
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 2 // 3])
    report = segment_video(Bright(), source, tmp_path / "b.mp4")
    assert 5 < report.frames < 40
    assert f"it ends after {report.frames} of 40 frames" in report.faults
    assert len(times(tmp_path / "b.mp4")) == report.frames
    for content, message in ((b"", "cannot be opened"), (b"no video" * 99, "cannot be opened")):
        source.write_bytes(content)
        with pytest.raises(data.DataError, match=f"a.mp4: .*{message}"):
            segment_video(Bright(), source, tmp_path / "c.mp4")
    assert not (tmp_path / "c.mp4").exists()


def test_odd_frames_and_other_sounds(tmp_path: Path) -> None:
    path = tmp_path / "odd.mkv"
    with av.open(str(path), "w") as container:
        track = container.add_stream("ffv1", rate=10)
        track.width, track.height, track.pix_fmt = 33, 17, "yuv444p"
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = np.zeros((1, 1600), "int16")
        heard = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
        heard.sample_rate, heard.pts = 8000, 0
        for _ in range(2):
            image = np.zeros((17, 33, 3), "uint8")
            container.mux(track.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux([*track.encode(None), *sound.encode(heard), *sound.encode(None)])
    assert video.result_suffix(path) == ".mkv"
    report = segment_video(Bright(), path, tmp_path / "out.mkv")
    assert report.size == (17, 33) and report.sound == "pcm_s16le"
    assert segment_video(Bright(), path, tmp_path / "out.mp4").sound == ""
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert (container.streams.video[0].height, container.streams.video[0].width) == (18, 34)


LIVE = "lavfi:testsrc=size=64x48:rate=10"  # draws pictures without end


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as a terminal has it: the suite may run where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_camera_ends_by_ctrl_c_or_by_a_number_of_frames(tmp_path: Path) -> None:
    def stop(at: int, number: int = 1) -> Callable[[int], None]:
        def on_frame(done: int) -> None:
            for _ in range(number if done == at else 0):
                signal.raise_signal(signal.SIGINT)  # handled before it returns

        return on_frame

    before, out = signal.getsignal(signal.SIGINT), tmp_path / "a.mp4"
    report = segment_video(Bright(), LIVE, out, on_frame=stop(7))
    assert (report.frames, report.rate, report.faults) == (7, 10, ())
    assert times(out) == pytest.approx([i / 10 for i in range(7)])
    assert segment_video(Bright(), LIVE, out, max_frames=3).frames == 3
    with pytest.raises(KeyboardInterrupt):  # a second one does not wait
        segment_video(Bright(), LIVE, tmp_path / "b.mp4", on_frame=stop(2, number=2))
    with pytest.raises(KeyboardInterrupt):  # a file is left as it was
        segment_video(Bright(), film(tmp_path / "c.mp4"), tmp_path / "b.mp4", on_frame=stop(2))
    assert not (tmp_path / "b.mp4").exists()
    assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what a shell's background has
    assert segment_video(Bright(), LIVE, out, max_frames=3, on_frame=stop(2)).frames == 3


def test_a_camera_that_has_no_frame_yet_and_one_that_is_not_there(tmp_path: Path) -> None:
    class Slow:
        """Raises before every packet, as cameras of Macs do."""

        def __init__(self) -> None:
            self.left, self.ready = [1, 2], False

        def demux(self, streams: list[Any]) -> Iterator[int]:
            self.ready = not self.ready
            while self.left:
                if not self.ready:
                    raise BlockingIOError
                self.ready = False
                yield self.left.pop(0)

    assert list(cameras.live_packets(Slow(), [])) == [1, 2]
    for name in ("/dev/video99", "lavfi:no_such_filter"):
        with pytest.raises(data.DataError, match=f"{name}: the camera cannot be opened .*See that"):
            segment_video(Bright(), name, tmp_path / "a.mp4")
    assert [cameras.result_stem(Path(name)) for name in ("/dev/video0", LIVE, "a.b.mp4")] == [
        "video0",
        "lavfi_testsrc_size_64x48_rate_10",
        "a.b",
    ]
