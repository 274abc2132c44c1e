"""One network from several that were trained alike: the mean of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from keras_focusseg import files, presets
from keras_focusseg.presets import PresetRecord
from keras_focusseg.presets.weights_file import named_weights


def average(sources: Sequence[str | Path], output: str | Path) -> PresetRecord:
    """Writes a preset whose weights are the mean of those of several presets.

    The networks must be alike in every argument and have the same classes. Weights of runs that
    started from the same weights lie near each other, and their mean is often better than each
    (Wortsman et al. 2022, arXiv 2203.05482); those of networks that were trained from different
    random weights do not, and their mean is of no use. Measure it: it has no score of its own.

    The statistics of batch norms are averaged like weights. They are not those that the averaged
    network would count on the training images, which differ the more, the farther the networks
    lie from each other.

    Args:
        sources: Two or more names of presets, folders of presets, or folders of runs, whose `best/`
            is taken.
        output: Folder to write, as `presets.save` does; must not hold a preset yet.

    Returns:
        The record as written.

    Raises:
        ValueError: There are fewer than two, they are not alike, or `output` holds a preset.

    Example:
        ```python
        from keras_focusseg import presets, training

        training.average(["runs/seed0", "runs/seed1", "runs/seed2"], "averaged")
        model = presets.load("averaged")
        ```
    """
    output = Path(output)
    files.check_folder(output)
    if (output / "preset.json").exists():
        raise ValueError(f"{output} holds a preset already; name another folder.")
    if len(sources) < 2:
        raise ValueError(f"An average needs two presets or runs at least, got {len(sources)}.")
    found = [_preset(source) for source in sources]
    records = [presets.record(source) for source in found]
    for source, record in zip(sources[1:], records[1:], strict=True):
        _check_alike(records[0], record, f"{sources[0]} and {source}")
    model = presets.load(found[0])
    weights = named_weights(model)
    sums = {name: _array(weight) for name, weight in weights.items()}
    for source in found[1:]:
        for name, weight in named_weights(presets.load(source)).items():
            sums[name] = sums[name] + _array(weight)
    for name, weight in weights.items():
        weight.assign((sums[name] / len(found)).astype("float32"))
    first = records[0]
    return presets.save(
        model,
        output,
        name=first.name,
        label_space=first.classes(),
        description=f"Mean of the weights of {len(found)} presets.",
        recipe={  # as far as all agree
            name: value
            for name, value in first.recipe.items()
            if all(record.recipe.get(name) == value for record in records)
        },
        training={"averaged": [str(source) for source in sources]},
        license={key: text for record in records for key, text in record.license.items()},
        paper=first.paper,
    )


def _preset(source: str | Path) -> str | Path:
    """What `presets.load` takes: of a run's folder its best weights."""
    best = Path(source) / "best"
    return best if (best / "preset.json").is_file() else source


def _array(weight: keras.Variable) -> np.ndarray:
    array: np.ndarray = keras.ops.convert_to_numpy(weight).astype("float64")
    return array


def _check_alike(one: PresetRecord, other: PresetRecord, which: str) -> None:
    if one.network != other.network:
        raise ValueError(f"{which} are a {one.network} and a {other.network}.")
    names = sorted({*one.config, *other.config})
    differing = [name for name in names if one.config.get(name) != other.config.get(name)]
    if differing:
        name = differing[0]
        raise ValueError(
            f"{which} differ in {', '.join(differing)}: {name} is {one.config.get(name)!r} and "
            f"{other.config.get(name)!r}."
        )
    if one.classes().classes != other.classes().classes:
        raise ValueError(f"{which} have other classes, or the same in another order.")
    if one.license != other.license and one.license and other.license:
        raise ValueError(f"{which} have other terms, so those of the average are not known.")
