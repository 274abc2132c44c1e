"""What becomes of each picture of a run, in one process or on the workers of a cluster."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from keras_focusseg import files, presets
from keras_focusseg.inference.procedure import Procedure
from keras_focusseg.inference.results import Ids, result_names, write_results
from keras_focusseg.inference.segment import Segmentation, segment
from keras_focusseg.models.segmenter import Segmenter

SETTINGS = "segment.json"
"""Name of the file of a run's settings, in its folder. It is written before all results."""


@dataclasses.dataclass(frozen=True)
class FolderRun:
    """How pictures are segmented and what is written of each: values that can go to a worker.

    Args:
        output: Folder to write into.
        preset: Name of a preset, or its folder.
        precision: Policy such as "mixed_bfloat16"; `None` for the one that is set.
        procedure: How the network is asked.
        kinds: What is written of each picture, see `write_results`.
        ids: Numbers in the labels, see `write_results`.
        opacity: Strength of the colours of the overlay, 0..1.
        pad_to_multiple: See `segment`.

    Example:
        ```python
        run = FolderRun(Path("segmented"), "fornet_mobilenet_v2_camvid")
        for path, result in run.segmented(run.load(), [Path("street.jpg")], on_error=print):
            run.write(result)
        ```
    """

    output: Path
    preset: str
    precision: str | None = None
    procedure: Procedure = Procedure()
    kinds: tuple[str, ...] = ("overlay", "labels")
    ids: Ids = "train"
    opacity: float = 0.55
    pad_to_multiple: int = 1

    def load(self) -> Segmenter:
        """The network, with its weights."""
        return presets.load(self.preset, dtype=self.precision)

    def segmented(
        self,
        model: Segmenter,
        paths: Sequence[Path],
        on_error: Callable[[Path, Exception], None],
    ) -> Iterator[tuple[Path, Segmentation]]:
        """Segments pictures.

        Args:
            model: The network, see `load`.
            paths: Pictures, no two of the same name.
            on_error: Called with each picture that is left out, and why.

        Yields:
            Each picture and its result.
        """
        by_name = {path.name: path for path in paths}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* cut into windows")  # `told` says it
            results = segment(
                model,
                paths,
                on_error=lambda name, error: on_error(by_name[name], error),
                window=self.procedure.window,
                overlap=self.procedure.overlap,
                flip=self.procedure.flip,
                scales=self.procedure.scales,
                batch_size=self.procedure.batch_size,
                probabilities="probabilities" in self.kinds,
                pad_to_multiple=self.pad_to_multiple,
            )
            for result in results:
                yield by_name[result.name], result

    def write(self, result: Segmentation) -> None:
        """Writes what there is to write of a picture."""
        write_results(result, self.output, self.kinds, ids=self.ids, opacity=self.opacity)

    def places(self, path: Path) -> list[Path]:
        """The files that are written of a picture."""
        return [self.output / name for name in result_names(path.stem, self.kinds)]


def is_done(path: Path, places: Sequence[Path]) -> bool:
    """Whether results of this run are there, by their marks, and made of the file as it is.

    They are no older than it, and no older than the settings beside them: those of a run with
    other settings are.
    """
    try:
        made_of = max(path.stat().st_mtime, places[0].with_name(SETTINGS).stat().st_mtime)
        return all(
            place.is_file()
            and place.stat().st_size > 0
            and files.is_result(place)
            and place.stat().st_mtime >= made_of
            for place in places
        )
    except OSError:  # there are no settings, or it has gone, which is told when its turn comes
        return False


def told(path: Path, result: Segmentation) -> str:
    """A line about a picture: its largest classes, and its windows."""
    shares = list(result.shares().items())[:4]
    text = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares)
    windows = " (in windows of {}x{})".format(*result.window) if result.window else ""
    return f"{path}: {text}{windows}"
