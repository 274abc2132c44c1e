"""Puts a preset on the Hugging Face Hub, with a model card made from its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_focusseg.presets import hub
from keras_focusseg.presets.record import PresetRecord, record_path
from keras_focusseg.presets.registry import checked_weights


def push(preset: str | Path, address: str, *, private: bool = False) -> str:
    """Uploads a preset: its record, its weights, and a model card as README.md.

    Args:
        preset: A name of `names()`, or a folder with `preset.json`.
        address: `hf://owner/name`; the repository is made if absent. Earlier revisions remain.
        private: Whether a repository that is made is private.

    Returns:
        The address of what was uploaded, pinned to its commit: what to give to others.

    Raises:
        ValueError: There is no such preset, it has no weights, or the address is none.
        ImportError: `huggingface_hub` is not installed.
        ConnectionError: The Hub cannot be reached or refuses; `hf auth login` lets you in.

    Example:
        ```python
        presets.push("runs/mine/best", "hf://owner/name")  # "hf://owner/name@<commit>"
        ```
    """
    if hub.is_address(preset):
        raise ValueError(f"{preset} lies on the Hub already: push a name or a folder.")
    if "@" in address:
        raise ValueError(f"{address!r}: name no revision, pushing makes one.")
    repository, _ = hub.parse(address)
    path = record_path(preset)
    record = PresetRecord.from_file(path)
    if record.weights is None:
        raise ValueError(f"{record.name!r} has no weights to upload.")
    weights = checked_weights(record, path)
    huggingface_hub = hub.library(address)
    api = huggingface_hub.HfApi()
    content = {
        hub.RECORD: record.to_json().encode(),
        weights.name: str(weights),
        "README.md": model_card(record, address).encode(),
    }
    operations = [
        huggingface_hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=value)
        for name, value in content.items()
    ]
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(repository, operations, commit_message=f"Add {record.name}")
    except huggingface_hub.errors.HFValidationError as error:
        raise ValueError(f"{address} is no address of the Hub: {error}") from error
    except Exception as error:  # those of the HTTP client, which is another from version to version
        raise ConnectionError(
            f"{address}: the preset could not be uploaded to {api.endpoint}: {error}"
        ) from error
    return f"{address}@{commit.oid}"


def model_card(record: PresetRecord, address: str) -> str:
    """The record as a model card: YAML, of which JSON is a part, then Markdown.

    Args:
        record: The preset.
        address: Where it is going to lie, for the lines that load it.

    Returns:
        Content of a README.md.
    """
    front = "\n".join(f"{key}: {json.dumps(value)}" for key, value in _front(record).items())
    classes = record.classes()
    sections = [
        f"# {record.name}",
        record.description,
        "```python\nfrom keras_focusseg import presets, segment\n\n"
        f'model = presets.load("{address}")\nresult = next(segment(model, "street.jpg"))\n```',
        f"## Classes\n\n{classes.num_classes}: {', '.join(classes.classes)}.",
    ]
    if record.scores:
        sections.append(f"## Scores\n\n{_lines(_score_text(score) for score in record.scores)}")
    for title, values in (("Training", record.training), ("Terms", record.license)):
        if values:
            sections.append(f"## {title}\n\n{_lines(f'{k}: {v}' for k, v in values.items())}")
    if record.paper:
        sections.append(f"## Paper\n\n{record.paper}")
    assert record.weights is not None  # `push` looked
    sections.append(f"SHA-256 of the weights: `{record.weights['sha256']}`.")
    return f"---\n{front}\n---\n\n" + "\n\n".join(sections) + "\n"


def _front(record: PresetRecord) -> dict[str, Any]:
    """What the Hub reads: licence, tags, data and figures."""
    network = record.network.split(">")[-1]
    results = [
        {
            "task": {"type": "image-segmentation"},
            "dataset": {
                "type": score["dataset"],
                "name": score["dataset"],
                "split": score["split"],
            },
            "metrics": [{"type": "mean_iou", "name": "mIoU", "value": score["mean_iou"]}],
        }
        for score in record.scores
    ]
    front: dict[str, Any] = {
        "library_name": "keras",
        "license": "other",
        "license_name": "see-terms-below",
        "pipeline_tag": "image-segmentation",
        "tags": ["keras-focusseg", "semantic-segmentation", network],
    }
    if results:
        front["datasets"] = sorted({score["dataset"] for score in record.scores})
        front["metrics"] = ["mean_iou"]
        front["model-index"] = [{"name": record.name, "results": results}]
    return front


def _score_text(score: Mapping[str, Any]) -> str:
    known = ("split", "frames", "resolution", "void", "test_time", "measured_by", "command")
    told = ", ".join(f"{key} {score[key]}" for key in known if key in score)
    return f"mIoU {100 * score['mean_iou']:.1f} on {score['dataset']} ({told})"


def _lines(items: Any) -> str:
    return "\n".join(f"- {' '.join(str(item).split())}" for item in items)
