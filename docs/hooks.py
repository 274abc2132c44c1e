"""Pages that are made from files while the site is built: presets from their records, results.

A page says where with a comment such as `<!-- made here: presets -->`; `PARTS` has what can stand
there. Nothing is imported from the library, so that a page shows what the files say.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measured import (
    RESULTS,
    choices,
    exports_table,
    operators_table,
    peers_before,
    peers_losses,
    peers_tables,
    percent,
    rows_of,
    sparse_branches,
    sparse_networks,
    strategies,
    table,
    train_steps,
)
from mkdocs.structure.files import File

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "keras_focusseg"
CATALOG = PACKAGE / "presets" / "catalog"
# A name in code, with or without arguments, that is no link yet.
MENTION = re.compile(r"(?<!\[)`(?P<name>[a-z_]+\.\w+)(\([^`\n]*\))?`(?!\])")
LISTS = ("api/", "results.md", "changelog.md", "coming-from/")
IN_BROWSER = REPOSITORY / ".cache" / "in-browser"  # where tools/in_browser.py writes


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Called by MkDocs for each page: puts what is made in the place of its comment.

    The search shows pages that explain before those that list.
    """
    if page.file.src_uri.startswith(LISTS):
        page.meta.setdefault("search", {"boost": 0.3})
    for name, make in PARTS.items():
        place = f"<!-- made here: {name} -->"
        if place in markdown:
            markdown = markdown.replace(place, make())
    return markdown if page.file.src_uri.startswith("api/") else with_links(markdown)


# Links to the API -----------------------------------------------------------------------------


def with_links(markdown: str) -> str:
    """The first mention of each public name, such as `data.batches`, as a link to its page."""
    linked: set[str] = set(re.findall(r"\]\[keras_focusseg\.([\w.]+)\]", markdown))

    def link(mention: re.Match[str]) -> str:
        name = mention["name"]
        if name in linked or name not in api_names():
            return mention[0]
        linked.add(name)
        return f"[{mention[0]}][{reference(name)}]"

    # Blocks of code and headings stay as they are.
    parts = re.split(r"(^ *```.*?^ *```$|^#.*?$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if number % 2 else MENTION.sub(link, part) for number, part in enumerate(parts)
    )


def reference(name: str) -> str:
    """What the API pages call a name; a function may have a file of the same name."""
    room, own = name.split(".")
    return f"keras_focusseg.{name}" + f".{own}" * (PACKAGE / room / f"{own}.py").exists()


@functools.cache
def api_names() -> frozenset[str]:
    """What the rooms with an API page export, as `room.name`."""
    found = set()
    for room in (path.stem for path in (REPOSITORY / "docs" / "api").glob("*.md")):
        init = (PACKAGE / room / "__init__.py").read_text("utf-8")
        for node in ast.parse(init).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                found |= {f"{room}.{name}" for name in ast.literal_eval(node.value)}
    return frozenset(found)


# In your browser ---------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Called by MkDocs for all files: puts what the page runs beside it."""
    for path in sorted(IN_BROWSER.glob("[!.]*")):
        beside = f"in-your-browser/{path.name}"
        files.append(File.generated(config, beside, abs_src_path=str(path)))
    return files


def in_browser() -> str:
    """What a visitor uses, or that this build lacks it."""
    if any(IN_BROWSER.glob("*.wasm")):
        return (REPOSITORY / "docs" / "in-your-browser.html").read_text("utf-8")
    return (
        "!!! note\n    This build of the site has no runtime and no network, so nothing runs here. "
        "`make docs` fetches the runtime from the npm registry and says why if it cannot."
    )


# Presets -----------------------------------------------------------------------------------------


UNSCORED = "nothing: it learned the frames of val too"


def records() -> list[dict[str, Any]]:
    """All records, those with weights first, the best score of a data set first."""
    read = [json.loads(path.read_text("utf-8")) for path in sorted(CATALOG.glob("*.json"))]
    return sorted(read, key=lambda record: (record["weights"] is None, *_rank(record)))


def _rank(record: dict[str, Any]) -> tuple[str, float, str]:
    score = record["scores"][0] if record["scores"] else {"dataset": "", "mean_iou": 0.0}
    return score["dataset"], -score["mean_iou"], record["name"]


def presets_table() -> str:
    """One row a shipped preset; a click on a heading sorts."""
    rows = []
    for record in records():
        if record["weights"] is None:
            continue
        where, mean_iou, boundary_f1 = UNSCORED, "", ""
        for score in record["scores"][:1]:
            where = f"{score['dataset']} {score['split']}, {score['resolution']}"
            mean_iou, boundary_f1 = percent(score["mean_iou"]), percent(score["boundary_f1"])
        rows.append(
            {
                "preset": f"[`{record['name']}`](#{record['name']})",
                "network": record["network"],
                "weights, MB": megabytes(record),
                "measured on": where,
                "mIoU": mean_iou,
                "boundary F1": boundary_f1,
                "held-out mIoU": held_out(record),
            }
        )
    right = ("weights, MB", "mIoU", "boundary F1", "held-out mIoU")
    return '<div class="sortable" markdown>\n\n' + table(rows, right) + "\n\n</div>"


def held_out(record: dict[str, Any]) -> str:
    """The score on a split that nobody here has seen, where there is one."""
    scores = [score for score in record["scores"][1:] if score["split"] == "test"]
    return percent(scores[0]["mean_iou"]) if scores else "not measured"


def preset_cards() -> str:
    """A section a preset: what it is, what it scored, its terms, three lines of code."""
    return "\n\n".join(card(record) for record in records())


def card(record: dict[str, Any]) -> str:
    """One record as a section."""
    name, weights = record["name"], record["weights"]
    lines = [f"### {name} {{ #{name} }}", record["description"]]
    if weights:
        alt = f"A drawn street, its classes by {name}, and two signals inside"
        lines.append(f"![{alt}](images/cards/{name}.jpg)")
    for score in record["scores"]:
        lines.append("- " + "\n  ".join(score_lines(score)))
    if record["scores"]:
        per_class = record["scores"][0].get("iou_per_class") or {}
        row = {label: "" if iou is None else percent(iou) for label, iou in per_class.items()}
        lines.append(table([row], tuple(row)) if row else "")
    facts = [
        ("Weights", f"{megabytes(record)} MB, {weights['dtype']}" if weights else ""),
        ("Trained on", record["training"].get("data", "")),
        ("Started from", record["training"].get("start", "")),
        ("Machine", record["training"].get("machine", "")),
        ("Paper", record["paper"]),
        *((f"Terms of the {what}", terms) for what, terms in record["license"].items()),
    ]
    lines.append("\n".join(f"- **{what}**: {text}" for what, text in facts if text))
    load = f'presets.load("{name}"{"" if weights else ", load_weights=False"})'
    code = ["from keras_focusseg import presets, segment", "", f"model = {load}"]
    if weights:
        code.append('next(segment(model, ["street.jpg"])).overlay().save("overlay.png")')
    lines.append("```python\n" + "\n".join(code) + "\n```")
    return "\n\n".join(line for line in lines if line)


def score_lines(score: dict[str, Any]) -> list[str]:
    """A score with its protocol."""
    line = (
        f"**mIoU {percent(score['mean_iou'])}** on {score['dataset']} {score['split']}: "
        f"{score['frames']} images of {score['resolution']}, {score['classes']} classes, void "
        f"{score['void']}, {score['test_time']}"
    )
    if "boundary_f1" in score:
        line += f"; boundary F1 {percent(score['boundary_f1'])}"
    lines = [line + "."]
    if score.get("measured_by"):
        lines.append(f"Measured by {score['measured_by']}.")
    if score.get("note"):
        lines.append(score["note"])
    if score.get("command"):
        lines.append(f"`{score['command']}`")
    return lines


def megabytes(record: dict[str, Any]) -> str:
    """Size of the file of the weights."""
    return f"{record['weights']['bytes'] / 1e6:.1f}"


# Results -----------------------------------------------------------------------------------------


def results() -> str:
    """Every table that a benchmark wrote, with its first comment as the heading."""
    parts = []
    for script in sorted((REPOSITORY / "benchmarks").glob("*.py")):
        found = sorted(RESULTS.glob(f"{script.stem}*.csv"))
        named = [path for path in found if _owner(path) == script.stem]
        if not named:
            continue
        title = script.read_text("utf-8").split('"""')[1].split("\n")[0]
        parts.append(f"## {script.stem}\n\n{title} Command: `python benchmarks/{script.name}`.")
        parts += [_result(path, script.stem) for path in named]
    return "\n\n".join(parts)


def _owner(path: Path) -> str:
    """The benchmark that wrote a file: the longest name that its own begins with."""
    scripts = [script.stem for script in (REPOSITORY / "benchmarks").glob("*.py")]
    return max((name for name in scripts if path.stem.startswith(name)), key=len)


def _result(path: Path, script: str) -> str:
    rows = rows_of(path)
    if not rows or "epoch" in rows[0]:  # the log of one training run
        return ""
    right = tuple(name for name in rows[0] if all(_is_number(row[name]) for row in rows))
    heading = path.stem.removeprefix(script).strip("_").replace("_", " ")
    lines = [f"### {heading}"] if heading else []
    return "\n\n".join([*lines, f"`benchmarks/results/{path.name}`", table(rows, right)])


def _is_number(text: str | None) -> bool:
    try:
        float(text or 0)
    except ValueError:
        return False
    return True


PARTS: dict[str, Callable[[], str]] = {
    "choices": choices,
    "in your browser": in_browser,
    "presets": presets_table,
    "preset cards": preset_cards,
    "results": results,
    "exports": exports_table,
    "peers": peers_tables,
    "peers where we lose": peers_losses,
    "peers before and after": peers_before,
    "operators": operators_table,
    "sparse branches": sparse_branches,
    "sparse networks": sparse_networks,
    "train steps": train_steps,
    "strategies": strategies,
}
