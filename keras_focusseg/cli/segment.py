"""`focusseg segment`."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from keras_focusseg import files
from keras_focusseg.cli import outputs

if TYPE_CHECKING:
    from keras_focusseg.inference.folder_run import FolderRun


_WRITE = "overlay,labels"


def segment(
    images: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, folders of pictures, patterns such as 'trip/**/*.jpg', videos, cameras "
            "such as /dev/video0 (Linux), avfoundation:0 (macOS), dshow:video=NAME (Windows); - "
            "for a list of them on the standard input, one a line.",
            show_default=False,
        ),
    ],
    preset: Annotated[
        str,
        typer.Option(help="Name of a preset, hf://owner/name, or a folder such as runs/x/best."),
    ] = "fornet_mobilenet_v2_camvid",
    output: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("segmented"),
    write: Annotated[
        str,
        typer.Option(
            help="What to write, with commas: overlay, labels, probabilities, coco, geojson, "
            "areas; of videos overlay alone."
        ),
    ] = _WRITE,
    ids: Annotated[
        str,
        typer.Option(help="Numbers in the labels: train (0, 1, 2, ...), or the dataset's own."),
    ] = "train",
    opacity: Annotated[float, typer.Option(help="Strength of the colours, 0..1.")] = 0.55,
    window: Annotated[
        str,
        typer.Option(
            help="Overlapping windows of this side or HEIGHTxWIDTH; auto: for pictures that do not "
            "fit into memory; none: these are refused."
        ),
    ] = "auto",
    overlap: Annotated[float, typer.Option(help="Share that neighbouring windows share.")] = 0.25,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average with the mirrored picture.")
    ] = False,
    scales: Annotated[
        str, typer.Option(help="Average over these multiples of the size, with commas.")
    ] = "1",
    batch_size: Annotated[
        int, typer.Option(help="Pictures of one size, or windows, at a time.")
    ] = 1,
    pad_to_multiple: Annotated[
        int,
        typer.Option(
            help="Fill pictures up to multiples of so many pixels: fewer sizes to compile on JAX, "
            "results that are not exact."
        ),
    ] = 1,
    precision: Annotated[
        str | None, typer.Option(help="mixed_bfloat16, mixed_float16 or float32.")
    ] = None,
    smoothing: Annotated[
        float, typer.Option(help="Videos: weight of the frames before, 0..1; 0 for none.")
    ] = 0.0,
    frames: Annotated[
        int | None, typer.Option(help="Videos, cameras: end after so many frames.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local: this process; ray: the workers of a Ray cluster.")
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            help="ray: processes that segment; as many as there is room for if not given."
        ),
    ] = None,
    worker_cpus: Annotated[float, typer.Option(help="ray: processors for each worker.")] = 1,
    worker_gpus: Annotated[float, typer.Option(help="ray: GPUs for each worker.")] = 0,
    shard_size: Annotated[int, typer.Option(help="ray: pictures a shard.")] = 256,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out pictures whose results are there.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that focusseg did not write.")
    ] = False,
) -> None:
    """Segment pictures of any size: writes NAME_overlay.png and NAME_labels.png of each.

    NAME_labels.png holds the class of each pixel as its value, with the classes' colours as
    palette. A picture that cannot be read is named and left out, and the end is 1. In a folder,
    results of an earlier run are left out. Of a video it writes NAME_overlay.mp4, with its frame
    rate and sound, and NAME_video.json.

    Example: focusseg segment street.jpg holiday/ --preset fornet_mobilenet_v2_camvid
    """
    kinds = tuple(dict.fromkeys(kind.strip() for kind in write.split(",") if kind.strip()))
    settings = {
        "window": parsed_window(window),
        "overlap": overlap,
        "flip": flip,
        "scales": parsed_scales(scales),
    }
    if pad_to_multiple < 1:
        raise ValueError(f"--pad-to-multiple must be 1 or more, got {pad_to_multiple}.")
    if not 0 <= opacity <= 1:
        raise ValueError(f"--opacity must be in 0..1, got {opacity}.")
    if ids not in ("train", "dataset"):
        raise ValueError(f"--ids must be train or dataset, got {ids!r}.")
    if not 0 <= smoothing < 1 or (frames is not None and frames < 1):
        raise ValueError(
            f"--smoothing must be 0 or more and below 1, --frames 1 or more; got {smoothing} and "
            f"{frames}."
        )
    shards: dict[str, Any] = {"workers": workers, "shard_size": shard_size}
    shards |= {"worker_cpus": worker_cpus, "worker_gpus": worker_gpus}
    if engine not in ("local", "ray"):
        raise ValueError(f"--engine must be local or ray, got {engine!r}.")
    if engine == "local" and workers is not None:
        raise ValueError("--workers goes with --engine ray; one process segments without it.")
    files.check_folder(output)
    from keras_focusseg import inference, presets
    from keras_focusseg.inference.cameras import is_camera
    from keras_focusseg.inference.folder_run import SETTINGS, FolderRun, is_done, told
    from keras_focusseg.inference.results import LEGEND

    procedure = inference.Procedure(**settings, batch_size=batch_size)
    run = FolderRun(
        output, preset, precision, procedure, kinds, _ids(ids), opacity, pad_to_multiple
    )
    run.places(output)  # refuses unknown kinds
    paths = _pictures(images)
    videos = {path: _video_results(path, output) for path in paths if _is_video(path)}
    if not videos and (smoothing or frames is not None):
        raise ValueError("--smoothing and --frames go with videos and cameras; none is named.")
    paths = [path for path in paths if path not in videos]
    for video in videos:
        if "overlay" not in kinds or (set(kinds) > {"overlay"} and not paths and write != _WRITE):
            raise ValueError(
                f"--write must be overlay for {video}, got {write}: of a video or a camera the "
                "overlay alone is written. Save its frames as pictures to write other results."
            )
        if pad_to_multiple > 1:
            raise ValueError(
                f"--pad-to-multiple goes with pictures, and {video} is a video or a camera: its "
                "frames are of one size."
            )
    if videos and engine == "ray":
        raise ValueError(
            f"--engine ray takes pictures alone, and {next(iter(videos))} is a video or a camera: "
            "segment it with --engine local."
        )
    weights = presets.record(preset).weights or {}
    record = {"preset": preset, "weights": weights.get("sha256"), "precision": precision}
    record |= {**settings, "write": list(kinds), "ids": ids, "opacity": opacity}
    record |= {"smoothing": smoothing, "frames": frames, "pad_to_multiple": pad_to_multiple}
    asked = len(paths) + len(videos)
    _check_names(paths, run)
    outputs.check_output(output / SETTINGS, overwrite)
    if resume:
        _check_same_run(output / SETTINGS, record)
        if engine == "ray":
            from keras_focusseg.inference.shards import remaining

            paths = remaining(run, paths)
        else:
            paths = [path for path in paths if not is_done(path, run.places(path))]
        videos = {
            path: places
            for path, places in videos.items()
            if is_camera(path) or not is_done(path, places)
        }
    _check_results(paths, run, overwrite)
    _check_videos(videos, paths, overwrite)
    if resume:
        print(f"{asked - len(paths) - len(videos)} of {asked} pictures are done already.")
        if not paths and not videos:
            return

    @functools.cache
    def begin() -> None:
        """Writes the settings, before the first result."""
        if overwrite and "overlay" in kinds:
            (output / LEGEND).unlink(missing_ok=True)  # others' are left alone by `run.write`
        if not (resume and (output / SETTINGS).exists()):
            output.mkdir(parents=True, exist_ok=True)
            files.write_json(output / SETTINGS, {"origin": files.MARK, **record})

    model = None if engine == "ray" else run.load()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        tally = _Tally(progress, len(paths))
        if model is None:
            begin()
            _segment_shards(run, paths, tally, {**shards, "resume": resume})
        else:
            for path, result in run.segmented(model, paths, tally.left_out):
                begin()
                run.write(result)
                tally.written(told(path, result))
    written, left_out = tally.count * len(kinds), tally.broken
    for path, places in videos.items():
        begin()
        options = {"procedure": procedure, "smoothing": smoothing, "max_frames": frames}
        try:
            faults = _segment_video(model, path, places, {**options, "opacity": opacity})
        except (ValueError, OSError) as error:
            faults = [str(error)]
        else:
            written += len(places)
        for fault in faults:
            print(f"focusseg: {path}: {fault}", file=sys.stderr)
        left_out += [str(path)] if faults else []
    print(f"Written: {written} files in {output}")
    if left_out:
        what = f"{len(left_out)} of {len(paths) + len(videos)} pictures left out"
        print(f"{what}{' or cut short' if videos else ''}:", file=sys.stderr)
        print("\n".join(f"  {name}" for name in left_out), file=sys.stderr)
        raise typer.Exit(1)


class _Tally:
    """Counts and tells what becomes of each picture."""

    def __init__(self, progress: Progress, total: int) -> None:
        task = progress.add_task("pictures", total=total)
        self._advance = functools.partial(progress.advance, task)
        self.count = 0
        self.broken: list[str] = []

    def written(self, line: str) -> None:
        self.count += 1
        print(line)
        self._advance()

    def left_out(self, path: str | Path, why: Exception | str) -> None:
        self.broken.append(str(path))
        print(f"focusseg: left out: {why}", file=sys.stderr)
        self._advance()


def _segment_shards(
    run: FolderRun, paths: list[Path], tally: _Tally, options: dict[str, Any]
) -> None:
    from keras_focusseg.inference.shards import segment_shards

    for shard in segment_shards(run, paths, **options):
        for line in shard.written.values():
            tally.written(line)
        for path, why in shard.left_out.items():
            tally.left_out(path, why)


def parsed_window(text: str) -> Any:
    """The window that a word of the command line means: auto, none, a side, HEIGHTxWIDTH.

    Raises:
        ValueError: None of them.
    """
    if text in ("auto", "none"):
        return None if text == "none" else text
    sides = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if sides is None:
        raise ValueError(
            f"--window must be auto, none, a side such as 1024, or HEIGHTxWIDTH; got {text!r}."
        )
    return int(sides[1]), int(sides[2] or sides[1])


def parsed_scales(text: str) -> tuple[float, ...]:
    """Numbers with commas between them.

    Raises:
        ValueError: One is no number.
    """
    return outputs.numbers(text, "--scales", "0.75,1,1.25")


def _ids(text: str) -> Literal["train", "dataset"]:
    return "dataset" if text == "dataset" else "train"


def _pictures(images: list[str]) -> list[Path]:
    """The pictures that were named, each once, and those in folders that are no results of ours."""
    from keras_focusseg.inference.cameras import is_camera
    from keras_focusseg.inference.inputs import find_pictures
    from keras_focusseg.label_spaces.text import as_on_disk

    listed = images == ["-"]
    if listed:
        images = [line for line in sys.stdin.read().splitlines() if line.strip()]
        if not images:
            raise ValueError("The standard input names no picture; it needs one path a line.")
    paths: list[Path] = []
    for image in images:
        if is_camera(image):
            paths.append(Path(image))
            continue
        found = find_pictures(image)
        if found[0] != as_on_disk(image):  # a folder, or a pattern
            own = {p for p in found if "_" in p.stem or p.name == "legend.png"}
            own = {p for p in own if files.is_result(p)}
            if own:
                print(f"{image}: {len(own)} results of an earlier run are left out.")
            found = [p for p in found if p not in own]
            if not found:
                raise ValueError(f"{image} holds no picture but results of an earlier run.")
        elif not listed and not found[0].exists():  # of a list, the others are segmented
            raise ValueError(f"There is no picture {image}.")
        paths += found
    return list(dict.fromkeys(paths))


def _check_names(paths: Sequence[Path], run: FolderRun) -> None:
    """Refuses to write over a picture of this run, or over another result of it."""
    from keras_focusseg.inference.results import LEGEND

    inputs = {path.resolve() for path in paths}
    seen: dict[str, Path] = {}
    shared = [run.output / LEGEND] if "overlay" in run.kinds else []
    for path in paths:
        places = run.places(path)
        if path.stem in seen:
            raise ValueError(
                f"{seen[path.stem]} and {path} would both be written as {places[0].name}; "
                "segment them into different --output folders."
            )
        seen[path.stem] = path
        for place in (*places, *shared):
            if place.resolve() in inputs:
                raise ValueError(
                    f"The result of {path} would be written over {place}, which is to be segmented "
                    "too. Name another --output."
                )
        shared = []


def _check_results(paths: Sequence[Path], run: FolderRun, overwrite: bool) -> None:
    """Refuses to write over somebody else's files."""
    from keras_focusseg.inference.results import LEGEND

    places = [place for path in paths for place in run.places(path)]
    if places and "overlay" in run.kinds:
        places.append(run.output / LEGEND)
    outputs.check_outputs(places, overwrite)


def _check_same_run(settings: Path, run: dict[str, Any]) -> None:
    """Refuses to go on with other settings: the results of a folder are of one kind."""
    if not settings.exists():
        return
    before = files.read_json(settings)
    now = {name: list(x) if isinstance(x, tuple) else x for name, x in run.items()}
    for name, value in now.items():
        if before.get(name) != value:
            raise ValueError(
                f"{settings.parent} was segmented with {name} {before.get(name)!r}, now it is "
                f"{value!r}: go on with the same, or name another --output."
            )


# Videos --------------------------------------------------------------------------------------


def _is_video(path: Path) -> bool:
    from keras_focusseg.inference.cameras import is_camera
    from keras_focusseg.inference.video import SUFFIXES

    return path.suffix.lower() in SUFFIXES or is_camera(path)


def _video_results(path: Path, output: Path) -> list[Path]:
    """The video and the figures that are written for a video, if it can be opened."""
    from keras_focusseg.inference.cameras import result_stem
    from keras_focusseg.inference.video import result_suffix

    try:
        suffix = result_suffix(path)
    except ValueError:  # told when its turn comes
        suffix = ".mp4"
    stem = result_stem(path)
    return [output / f"{stem}_overlay{suffix}", output / f"{stem}_video.json"]


def _check_videos(
    videos: dict[Path, list[Path]], pictures: Sequence[Path], overwrite: bool
) -> None:
    """Refuses to write over what is to be segmented, another result, or somebody else's files."""
    inputs = {path.resolve() for path in (*videos, *pictures)}
    seen: dict[Path, Path] = {}
    for path, places in videos.items():
        for place in places:
            if place.resolve() in inputs:
                raise ValueError(
                    f"The result of {path} would be written over {place}, which is to be segmented "
                    "too. Name another --output."
                )
            if place in seen:
                raise ValueError(
                    f"{seen[place]} and {path} would both be written as {place.name}; segment them "
                    "into different --output folders."
                )
            seen[place] = path
        outputs.check_outputs(places, overwrite)


def _segment_video(
    model: Any, path: Path, places: Sequence[Path], options: dict[str, Any]
) -> list[str]:
    """Writes a video and its figures; returns what was wrong with it."""
    import dataclasses

    from keras_focusseg import inference

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(str(path), total=options["max_frames"])
        report = inference.segment_video(
            model,
            path,
            places[0],
            on_frame=lambda done: progress.update(task, completed=done),
            **options,
        )
    figures = dataclasses.asdict(report)
    files.write_json(places[1], {"origin": files.MARK, "video": str(path), **figures})
    print(
        f"{path}: {report.frames} frames, {report.rate:.2f} a second, "
        f"sound {report.sound or 'none'}; {100 * report.flicker:.2f} % of the still pixels flicker"
    )
    return list(report.faults)
