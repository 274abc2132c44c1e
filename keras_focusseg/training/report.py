"""What a person watches while a run goes on: its report, pictures in TensorBoard, the speed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_focusseg import data, metrics, presets
from keras_focusseg.metrics import MeanIoU
from keras_focusseg.models.segmenter import Segmenter
from keras_focusseg.training.recipe import Recipe
from keras_focusseg.training.run_folder import RunFolder
from keras_focusseg.visualization import colorize, overlay, run_page, signal_pictures

FRAMES = 3  # watched in each validation
RANKED = 100  # images among which the worst and the best are looked for
SHOWN = 3  # of the worst, and of the best
WIDTH = 420  # of a picture, in pixels


class Speed(keras.callbacks.Callback):
    """Shows images a second beside the loss in the progress bar.

    Args:
        batch_size: Images a step.
    """

    async_safe = True

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size, self._start, self._first = batch_size, 0.0, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._start, self._first = time.monotonic(), -1

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the first step, which is not the epoch's where a run goes on inside it."""
        if self._first < 0:
            self._first = batch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the mean of the epoch to what the bar is given after this."""
        if logs is not None:
            passed = max(time.monotonic() - self._start, 1e-9)
            images = (batch + 1 - max(self._first, 0)) * self.batch_size
            logs["images_per_second"] = images / passed


class Report(keras.callbacks.Callback):
    """Writes `report.html` after each validation, and pictures of a few frames into TensorBoard.

    Has to come after the `RunFolder` and before what swaps averages in and out.

    Args:
        folder: The run's folder.
        recipe: What is trained.
        network: The network, with the weights that are validated.
        source: What it is validated on.
        machine: Where and how it runs, plain values.
        epochs: Epochs of the whole run.
        pictured: Whether frames are segmented; not where several devices hold the network.
    """

    def __init__(
        self,
        folder: RunFolder,
        recipe: Recipe,
        network: Segmenter,
        source: data.Source,
        machine: Mapping[str, Any],
        epochs: int,
        pictured: bool = True,
    ) -> None:
        super().__init__()
        self.folder, self.recipe, self.network, self.source = folder, recipe, network, source
        self.machine, self.epochs, self.pictured = machine, epochs, pictured
        self.path = folder.folder / "report.html"
        self._confusion: np.ndarray | None = None
        self._pictures: dict[str, list[tuple[str, Image.Image]]] = {}
        self._writer: Any = None

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Takes what was validated, while the weights that were are in place."""
        if self.model.stop_evaluating:  # broken off
            return
        for metric in self.model.metrics:
            for each in getattr(metric, "metrics", [metric]):
                if isinstance(each, MeanIoU):
                    self._confusion = each.confusion_matrix()
        if self.pictured:
            self._pictures = {
                "The same frames in each validation: image, truth, prediction": self._frames()
            }

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the page if there was a validation."""
        if any(name.startswith("val_") for name in logs or {}):
            self._write("goes on")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the TensorBoard log."""
        if self._writer is not None:
            self._writer.close()

    def finish(self) -> None:
        """Writes the last page, with the worst and the best images of the best weights."""
        if self.pictured:
            best = presets.load(self.folder.folder / "best")
            self._pictures |= self._extremes(best)
        self._write("is over")

    def _write(self, how: str) -> None:
        done = len(self.folder.history)
        best = ""
        if self.folder.best_epoch > 0:
            best = (
                f" Best: mIoU {100 * self.folder.best:.2f} % on {self.source.name} "
                f"{self.source.split}, after epoch {self.folder.best_epoch}."
            )
        page = run_page.RunPage(
            name=self.recipe.name,
            state=f"The run {how}: {done} of {self.epochs} epochs.{best}",
            history=self.folder.history,
            recipe=self.recipe.to_config(),
            machine=self.machine,
            label_space=self.source.label_space,
            confusion=self._confusion,
            pictures=self._pictures,
        )
        run_page.write(self.path, page)

    def _frames(self) -> list[tuple[str, Image.Image]]:
        """The watched frames side by side with truth and prediction; all signals to TensorBoard."""
        found = []
        for index in _spread(len(self.source), FRAMES):
            image, mask, name = self.source.load(index)
            seen = self.network.inspect(image[None])
            labels = seen["logits"][0].argmax(-1).astype("uint8")
            found.append((name, _strip(self._three(image, mask, labels))))
            signals = signal_pictures(image, seen, self.network.panels)
            self._to_tensorboard(name, found[-1][1], signals)
        return found

    def _to_tensorboard(
        self, name: str, strip: Image.Image, signals: Mapping[str, Image.Image]
    ) -> None:
        from tensorboardX import SummaryWriter

        if self._writer is None:
            folder = str(self.folder.folder / "tensorboard")
            self._writer = SummaryWriter(folder, filename_suffix=".pictures")
        shown = {"image-truth-prediction": strip, **signals}
        for caption, picture in shown.items():
            # What colours stand for changes with the values, and would make a new series each time.
            tag = f"{name}/{caption.split(':')[0]}"
            pixels = np.asarray(_narrow(picture, 3 * WIDTH))
            self._writer.add_image(tag, pixels, self.folder.epoch + 1, dataformats="HWC")
        self._writer.flush()

    def _extremes(self, network: Segmenter) -> dict[str, list[tuple[str, Image.Image]]]:
        """Pictures of the images that the best weights segment worst and best, by their mIoU."""
        ranked = []
        for index in _spread(len(self.source), RANKED):
            image, mask, name = self.source.load(index)
            labels = network.predict_labels(image[None], verbose=0)["labels"][0]
            counts = metrics.ConfusionMatrix(network.num_classes, network.ignore_class)
            counts.update(mask, labels)
            score = metrics.mean_iou(counts.matrix)
            if np.isfinite(score):
                ranked.append((score, index, name, labels))
        ranked.sort(key=lambda each: each[:2])
        of = f"of {len(ranked)} images of {self.source.name} {self.source.split}"

        def pictured(chosen: Sequence[tuple[float, int, str, np.ndarray]]) -> list:
            return [
                (
                    f"{name}: mIoU {100 * score:.1f} %",
                    _strip(self._three(*self.source.load(index)[:2], labels)),
                )
                for score, index, name, labels in chosen
            ]

        return {
            f"Worst {of}, by the mIoU of each": pictured(ranked[:SHOWN]),
            f"Best {of}": pictured(ranked[::-1][:SHOWN]),
        }

    def _three(self, image: np.ndarray, mask: np.ndarray, labels: np.ndarray) -> list[Image.Image]:
        space = self.source.label_space
        truth = Image.fromarray(colorize(mask, space))
        return [Image.fromarray(image), truth, overlay(image, labels, space, 0.75)]


def _spread(count: int, wanted: int) -> list[int]:
    """At most so many indices, evenly from first to last."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, wanted))})


def _strip(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size beside each other, each at most `WIDTH` pixels wide."""
    small = [_narrow(picture, WIDTH) for picture in pictures]
    strip = Image.new("RGB", (sum(p.width for p in small) + 4 * (len(small) - 1), small[0].height))
    for number, picture in enumerate(small):
        strip.paste(picture, (number * (small[0].width + 4), 0))
    return strip


def _narrow(picture: Image.Image, width: int) -> Image.Image:
    if picture.width <= width:
        return picture
    return picture.resize((width, max(round(picture.height * width / picture.width), 1)))
