"""Makes the tutorials: from one Python file each, its page, its pictures and its notebook.

    python tools/tutorials.py                 # all that changed
    python tools/tutorials.py first_masks     # one, whether it changed or not

`docs/tutorials/NAME.py` holds text and code in jupytext's percent format. It is run cell by cell in
a kernel of its own, in an empty folder, and `docs/tutorials/NAME.md` shows what the run printed and
drew; `NAME.ipynb` is the same as a notebook, without outputs. A tutorial whose page was made from
the same text and the same library is left as it is.
"""

from __future__ import annotations

import argparse
import base64
import concurrent.futures
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

REPOSITORY = Path(__file__).resolve().parent.parent
TUTORIALS = REPOSITORY / "docs" / "tutorials"
TIME_LIMIT = 1800  # seconds a cell on a loaded machine; a whole tutorial is meant to take 120
# Where the repository lives on GitHub, as owner/name: the notebooks then open in Colab by a link.
# They are files of the site, which `mkdocs gh-deploy` puts on the branch gh-pages, not of main.
GITHUB = os.environ.get("FOCUSSEG_GITHUB", "")
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="tutorials to make anew; all that changed if none")
    parser.add_argument("--jobs", type=int, default=2, help="how many run side by side")
    arguments = parser.parse_args()
    sources = sorted(TUTORIALS.glob("*.py"))
    unknown = set(arguments.names) - {source.stem for source in sources}
    if unknown:
        parser.error(f"there is no tutorial {', '.join(sorted(unknown))} in {TUTORIALS}")
    library = library_key()
    if arguments.names:
        chosen = [source for source in sources if source.stem in arguments.names]
    else:
        chosen = [source for source in sources if stored_key(source) != key_of(source, library)]
    failed = []
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        runs = {pool.submit(make, source, key_of(source, library)): source for source in chosen}
        for run in concurrent.futures.as_completed(runs):
            name = runs[run].stem
            if run.exception() is None:
                print(f"{name}: {run.result():.0f} s", flush=True)
            else:
                print(f"{name}: FAILED\n{ANSI.sub('', str(run.exception()))}", flush=True)
                failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


# What a page was made from ---------------------------------------------------------------------


def library_key() -> str:
    """A hash of the library's sources, of which every tutorial shows results."""
    digest = hashlib.sha256()
    for path in sorted((REPOSITORY / "keras_focusseg").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def key_of(source: Path, library: str) -> str:
    """What the page of a tutorial depends on."""
    text = source.read_bytes() + Path(__file__).read_bytes() + GITHUB.encode()
    return hashlib.sha256(text + library.encode()).hexdigest()[:16]


def stored_key(source: Path) -> str | None:
    """What the page that lies there was made from."""
    page = source.with_suffix(".md")
    found = re.search(r"<!-- made from (\w+) -->", page.read_text("utf-8")) if page.exists() else ""
    return found.group(1) if found else None


# From file to page -----------------------------------------------------------------------------


def make(source: Path, key: str) -> float:
    """Runs one tutorial and writes its page, pictures and notebook; returns the seconds."""
    start = time.perf_counter()
    notebook = jupytext.read(source, fmt="py:percent")
    write_notebook(notebook, source.with_suffix(".ipynb"))
    notebook.cells = [cell for cell in notebook.cells if "install" not in tags(cell)]
    execute(notebook)
    pictures = source.with_name(f"{source.stem}_files")
    shutil.rmtree(pictures, ignore_errors=True)
    parts = [part for cell in notebook.cells for part in cell_parts(cell, pictures)]
    heading, *rest = parts
    title, _, text = heading.partition("\n")
    page = [title, links(source), text.strip(), *rest, f"<!-- made from {key} -->"]
    source.with_suffix(".md").write_text("\n\n".join(filter(None, page)) + "\n", "utf-8")
    return time.perf_counter() - start


def write_notebook(notebook: Any, path: Path) -> None:
    """The tutorial as a notebook that no run has touched."""
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # nbformat draws them at random
    path.write_text(nbformat.writes(notebook) + "\n", "utf-8")


def execute(notebook: Any) -> None:
    """Runs all cells, in an empty folder, on the backend of the environment."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with tempfile.TemporaryDirectory(prefix="tutorial_") as folder:
        environment["FOCUSSEG_HOME"] = folder + "/.focusseg"
        client = NotebookClient(notebook, timeout=TIME_LIMIT, kernel_name="python3")
        # The kernel's own log; what the cells print goes another way.
        client.execute(cwd=folder, env=environment, stderr=subprocess.DEVNULL)


def tags(cell: Any) -> list[str]:
    """Tags of a cell: "install" is for notebooks alone, "hidden" runs unseen."""
    return cell.metadata.get("tags", [])


def links(source: Path) -> str:
    """How to get the notebook."""
    notebook = f"[Download this page as a notebook]({source.stem}.ipynb)"
    if not GITHUB:
        return notebook
    colab = f"https://colab.research.google.com/github/{GITHUB}/blob/gh-pages/tutorials"
    return f"{notebook} · [Open it in Colab]({colab}/{source.stem}.ipynb)"


def cell_parts(cell: Any, pictures: Path) -> list[str]:
    """A cell as pieces of Markdown."""
    if cell.cell_type != "code":
        return [cell.source]
    if "hidden" in tags(cell):
        return []
    parts = [f"```python\n{cell.source}\n```"] if cell.source.strip() else []
    printed = ""
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue  # warnings and progress; an error ends the run
        if output.output_type == "stream":
            printed += output.text
            continue
        if "image/png" in output.data:
            alt = cell.metadata.get("alt", "What the code above drew")
            parts += [*text_block(printed), write_picture(output.data["image/png"], pictures, alt)]
            printed = ""
        elif "text/plain" in output.data:
            printed += output.data["text/plain"] + "\n"
    return [*parts, *text_block(printed)]


def text_block(printed: str) -> list[str]:
    """What was printed, as a block, without colours and overwritten lines."""
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in ANSI.sub("", printed).split("\n")]
    text = "\n".join(lines).strip("\n")
    return [f"```text\n{text}\n```"] if text.strip() else []


def write_picture(png: str, pictures: Path, alt: str) -> str:
    """Writes a picture beside the page and returns the Markdown that shows it."""
    pictures.mkdir(exist_ok=True)
    path = pictures / f"{len(list(pictures.iterdir())):02d}.png"
    path.write_bytes(base64.b64decode(png))
    return f"![{alt}]({pictures.name}/{path.name})"


if __name__ == "__main__":
    main()
