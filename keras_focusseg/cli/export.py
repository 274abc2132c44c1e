"""`focusseg export`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_focusseg.cli import evaluate, outputs


def export(
    preset: Annotated[
        str,
        typer.Argument(help="Name of a preset, hf://owner/name, or a folder such as runs/x/best."),
    ],
    size: Annotated[str, typer.Option(help="Height and width of the images, or dynamic.")],
    format: Annotated[
        str, typer.Option(help="onnx, litert, openvino, saved_model or torch.")
    ] = "onnx",
    precision: Annotated[str, typer.Option(help="float32, float16 or int8.")] = "float32",
    labels: Annotated[
        bool, typer.Option("--labels", help="The file gives classes, not logits.")
    ] = False,
    uint8: Annotated[
        bool, typer.Option("--uint8", help="The file takes uint8, not float32.")
    ] = False,
    signal: Annotated[
        list[str] | None,
        typer.Option(
            help="What `focusseg inspect` shows that the file gives too; repeat for more."
        ),
    ] = None,
    sparse: Annotated[
        bool, typer.Option("--sparse", help="FoR-Net's branches on the chosen cells alone.")
    ] = False,
    ratios: Annotated[
        str | None,
        typer.Option(help="Share of the cells of each branch of FoR-Net, such as 0.1,0.1,0.2,0.2."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write; by default the preset's name.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--data", help="Dataset to score Keras and the file on.")
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the dataset.")] = None,
    split: Annotated[str | None, typer.Option(help="Split to score; val by default.")] = None,
    calibration_split: Annotated[
        str | None,
        typer.Option(help="Split of the dataset that int8 learns ranges from; train by default."),
    ] = None,
    calibration_count: Annotated[
        int | None, typer.Option(help="Images that int8 learns from; 32 by default.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only compare a file that was exported before.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that focusseg did not write.")
    ] = False,
) -> None:
    """Write a preset as a file that runs without Keras, and keep it only if both agree.

    The file is run by its own runtime beside Keras: on drawn streets, or with --data on labelled
    images, where mIoU and boundary F1 of both are told. If they disagree nothing is written and
    the end is 2. Beside the file lies NAME.json, with classes, colours, input and output.

    Example: focusseg export fornet_mobilenet_v2_camvid --format onnx --size 360x480
    """
    from keras_focusseg import export as exports
    from keras_focusseg import presets

    wanted = None if size == "dynamic" else outputs.size(size)
    if format not in exports.FORMATS:
        raise ValueError(f"--format must be one of {', '.join(exports.FORMATS)}; got {format!r}.")
    name = os.path.basename(os.path.abspath(preset))  # of "." as well
    path = output or Path(f"{name}{exports.FORMATS[format].suffix}")
    source = calibration = None
    with_data, int8 = dataset is not None or data_root is not None, precision == "int8"
    for option, value, needed, there in (
        ("--split", split, "--data or --data-root", with_data),
        ("--calibration-split", calibration_split, "--data or --data-root", with_data),
        ("--calibration-split", calibration_split, "--precision int8", int8),
        ("--calibration-count", calibration_count, "--precision int8", int8),
    ):
        if value is not None and not there:
            raise ValueError(f"{option} goes with {needed}.")
    if with_data:
        source = evaluate.open_source(preset, dataset, data_root, split or "val", None)
        if int8:
            calibration = evaluate.open_source(
                preset, dataset, data_root, calibration_split or "train", None
            )
    if not verify:
        _check_foreign(path, overwrite)
    model = presets.load(preset, dtype="float32")
    if ratios is not None:
        model = outputs.with_ratios(model, preset, ratios)
    if sparse:
        if signal:
            raise ValueError("A file with --signal holds the dense form: leave --sparse out.")
        outputs.check_fornet(model, preset, "--sparse is")
        model.sparse_inference()
    if verify:
        file = exports.open_exported(path)
        _check_asked(file, format, wanted, precision, labels, uint8, signal or ())
        _check_ratios(file, model)
        print(exports.verify(model, path, source))
        return
    notes = {"origin": outputs.MARK, "preset": presets.record(preset).name, "sparse": sparse}
    if "ratios" in model.get_config():
        notes["ratios"] = list(model.get_config()["ratios"])
    written = exports.export(
        model,
        path,
        format,
        wanted,
        precision=precision,
        labels=labels,
        uint8=uint8,
        signals=tuple(signal or ()),
        source=source,
        calibration=calibration,
        calibration_count=32 if calibration_count is None else calibration_count,
        notes=notes,
    )
    print(written)


def _check_foreign(path: Path, overwrite: bool) -> None:
    """Refuses to replace files, the weights of OpenVINO and the JSON among them, that are not ours.

    Raises:
        ValueError: One is there, and no export lies at the path.
    """
    from keras_focusseg import export as exports

    if overwrite or exports.is_exported(path):
        return
    weights = [path.with_suffix(".bin")] if path.suffix == ".xml" else []
    for place in (path, *weights, exports.facts_path(path)):
        if place.exists():
            raise ValueError(
                f"{place} is there already, and is no result of focusseg. Name another file, or "
                "give --overwrite to replace it."
            )


def _check_asked(
    file: Any,
    format: str,
    size: tuple[int, int] | None,
    precision: str,
    labels: bool,
    uint8: bool,
    signals: Sequence[str],
) -> None:
    """Refuses a file that was exported otherwise than the options say; those not given say nothing.

    Raises:
        ValueError: It holds another format, size or precision, or takes or gives something else.
    """
    if format not in ("onnx", file.facts["format"]):
        raise ValueError(f"{file.path} is in {file.facts['format']}, not in {format}.")
    if file.size != size:
        there, here = (
            "x".join(map(str, sides)) if sides else "dynamic" for sides in (file.size, size)
        )
        raise ValueError(f"{file.path} was exported with --size {there}, not {here}.")
    if precision not in ("float32", file.facts["precision"]):
        raise ValueError(f"{file.path} is in {file.facts['precision']}, not in {precision}.")
    if labels and file.facts["output"]["name"] != "labels":
        raise ValueError(f"{file.path} was exported without --labels.")
    if uint8 and file.facts["input"]["dtype"] != "uint8":
        raise ValueError(f"{file.path} was exported without --uint8.")
    for name in signals:
        if name not in file.facts.get("signals", ()):
            raise ValueError(f"{file.path} was exported without --signal {name}.")


def _check_ratios(file: Any, model: Any) -> None:
    """Refuses a file with other shares of the cells than the network's, which would only differ.

    Raises:
        ValueError: It holds others.
    """
    here = list(model.get_config().get("ratios", ()))
    there = file.facts.get("ratios", here)
    if here and there != here:
        told = [",".join(map(str, ratios)) for ratios in (there, here)]
        raise ValueError(
            f"{file.path} holds shares of {told[0]} of the cells, the network {told[1]}: --ratios "
            "says which."
        )
