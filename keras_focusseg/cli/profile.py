"""`focusseg profile`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from keras_focusseg.cli import outputs


def profile(
    preset: Annotated[
        str,
        typer.Argument(
            help="Name of a preset, hf://owner/name, a folder such as runs/x/best, or a file that "
            "focusseg export wrote."
        ),
    ],
    size: Annotated[
        str | None,
        typer.Option(help="Height and width of the image; 512x1024, or what the file takes."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Dtype policy, such as mixed_bfloat16; the preset's own.")
    ] = None,
    sparse: Annotated[
        bool, typer.Option("--sparse", help="FoR-Net's branches on the chosen cells alone.")
    ] = False,
    ratios: Annotated[
        str | None,
        typer.Option(help="Share of the cells of each branch of FoR-Net, such as 0.1,0.1,0.2,0.2."),
    ] = None,
    runs: Annotated[int, typer.Option(help="Timed forward passes, after warm-up.")] = 10,
    no_latency: Annotated[
        bool, typer.Option("--no-latency", help="Count only, without running the network.")
    ] = False,
    all_outputs: Annotated[
        bool, typer.Option("--all-outputs", help="Also what only the training needs.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that focusseg did not write.")
    ] = False,
) -> None:
    """Count parameters and multiply-accumulates by part, peak activations; measure the latency.

    One image. No weights are needed: the network is built with random ones, since costs do not
    depend on them. Of an exported file, its time in its own runtime and its size are told.

    Example: focusseg profile fornet_resnet101_cityscapes --size 1024x2048 --no-latency
    """
    height_and_width = None if size is None else outputs.size(size)
    if runs < 1 and not no_latency:
        raise ValueError(f"--runs must be 1 or more, got {runs}; --no-latency leaves them out.")
    outputs.check_output(output, overwrite, ".json")
    from keras_focusseg import export, inference, presets

    if export.is_exported(preset) or Path(preset).is_file():  # presets are names and folders
        if precision or sparse or ratios or no_latency or all_outputs:
            raise ValueError(
                f"{preset} is an exported file, which holds one network in one form: of --size, "
                "--runs and --output alone. focusseg export has --precision, --ratios and --sparse."
            )
        file = export.open_exported(preset)
        took, size_on_disk = export.latency(preset, height_and_width, runs)
        measured = height_and_width or file.size
        assert measured is not None  # `latency` asks for one
        height, width = measured
        told = f"{1000 * took:.1f} ms, median of {runs} runs of {height}x{width}"
        print(f"{file}: {told}; {size_on_disk / 1e6:.2f} MB")
        if output is not None:
            names = ("network", "format", "precision", "ratios", "sparse")
            facts = {name: file.facts[name] for name in names if name in file.facts}
            figures = {"seconds": took, "runs": runs, "bytes": size_on_disk}
            outputs.write_json(output, {**facts, "height": height, "width": width, **figures})
        return
    if sparse and all_outputs:
        raise ValueError(
            "--sparse is a form of what gives the logits, and --all-outputs counts the dense one: "
            "leave one of them out."
        )
    network: Any = preset
    if sparse or ratios is not None:
        network = presets.load(preset, load_weights=False, dtype=precision)
    if ratios is not None:
        network = outputs.with_ratios(network, preset, ratios)
    if sparse:
        outputs.check_fornet(network, preset, "--sparse is")
        network.sparse_inference()
    costs = inference.profile(
        network,
        height_and_width or (512, 1024),
        dtype=precision,
        outputs=None if all_outputs else "logits",
        runs=0 if no_latency else runs,
    )
    costs = dataclasses.replace(costs, network=preset)
    asked: dict[str, Any] = {"precision": precision, "ratios": ratios, "sparse": sparse}
    asked = {name: value for name, value in asked.items() if value}
    table = Table("part")
    for column in ("parameters", "trainable", "GMACs"):
        table.add_column(column, justify="right")
    *parts, total = costs.rows()
    for row in parts:
        table.add_row(*row)
    table.add_section()
    table.add_row(*total)
    form = [f"--{name}" if value is True else f"--{name} {value}" for name, value in asked.items()]
    print(", ".join([costs.title(), *form]))
    Console(width=max(100, Console().width)).print(table)
    for remark in costs.remarks():
        print(remark)
    if output is not None:
        if ratios is not None:
            asked["ratios"] = list(network.get_config()["ratios"])
        outputs.write_json(output, {**costs.to_dict(), **asked})
