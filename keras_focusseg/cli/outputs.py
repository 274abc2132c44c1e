"""What the verbs that write share: nothing is written over but results of this program."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_focusseg import files
from keras_focusseg.files import MARK


def size(text: str) -> tuple[int, int]:
    """Height and width of "HEIGHTxWIDTH".

    Raises:
        ValueError: It is not written so.
    """
    sides = re.fullmatch(r"(\d+)x(\d+)", text)
    if sides is None:
        raise ValueError(f"--size must be HEIGHTxWIDTH, such as 1024x2048; got {text!r}.")
    return int(sides[1]), int(sides[2])


def numbers(text: str, option: str, example: str) -> tuple[float, ...]:
    """Numbers with commas between them.

    Raises:
        ValueError: One is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} must be numbers, such as {example}; got {text!r}.") from None


def check_fornet(network: Any, preset: str, what: str) -> None:
    """Refuses an option that only FoR-Net has.

    Raises:
        ValueError: The network is another one.
    """
    from keras_focusseg import models

    if not isinstance(network, models.FoRNet):
        raise ValueError(f"{what} for FoR-Net; {preset} is {type(network).__name__}.")


def with_ratios(network: Any, preset: str, text: str) -> Any:
    """The same FoR-Net, weights and all, with other shares of the cells in its branches.

    Raises:
        ValueError: The network is another one, or the shares are no numbers or do not fit it.
    """
    check_fornet(network, preset, "--ratios is")
    ratios = numbers(text, "--ratios", "0.1,0.1,0.2,0.2")
    other = type(network).from_config({**network.get_config(), "ratios": ratios})
    other.set_weights(network.get_weights())
    other.label_space = network.label_space
    return other


def check_output(path: Path | None, overwrite: bool, *suffixes: str) -> None:
    """Refuses a file that cannot be written, or would replace what this program did not write.

    Args:
        path: File to write; `None` is no mistake.
        overwrite: Whether it may replace anything.
        *suffixes: What its name may end in, such as ".json", if not all is possible; a device may
            have any name.

    Raises:
        ValueError: It is a folder, lies where nothing can be written, is somebody else's, or its
            name promises another kind of file.
    """
    if path is None:
        return
    check_outputs([path], overwrite)
    if suffixes and path.suffix.lower() not in suffixes and Path("/dev") not in path.parents:
        raise ValueError(
            f"{path} would not be what its name says: what is written here ends in "
            f"{', '.join(suffixes)}."
        )


def check_outputs(paths: Sequence[Path], overwrite: bool) -> None:
    """Refuses files as `check_output` does; what holds for their folder is asked once.

    Args:
        paths: Files to write.
        overwrite: Whether they may replace anything.

    Raises:
        ValueError: One is a folder, lies where nothing can be written, or is somebody else's.
    """
    files.check_files(paths)
    for path in () if overwrite else paths:
        if path.is_file() and not files.is_result(path):
            raise ValueError(
                f"{path} is there already, and is no result of focusseg. Name another file, or "
                "give --overwrite to replace it."
            )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes figures with the mark, and says so.

    Args:
        path: File to write; its folder is made if absent.
        values: The figures.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, {"origin": MARK, **values})
    print(f"Written: {path}")
