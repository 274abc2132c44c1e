"""Makes what the page "In your browser" runs: runtime, network, sample pictures.

    python tools/in_browser.py

ONNX Runtime Web comes from the npm registry (or the one that `npm_config_registry` names), in one
version whose hash is known; a shipped preset is exported to ONNX for pictures of any size; the
samples are drawn streets. All of it lies in `.cache/in-browser`, from where `docs/hooks.py` puts it
beside the page, and is made anew when what it depends on has changed. Without the runtime nothing
is made, and the page says that it isn't part of that build.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import tarfile
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache"
MADE = CACHE / "in-browser"
KEY = ".made-from"  # the file that says what the others were made from; written last

REGISTRY = "https://registry.npmjs.org"
RUNTIME = "onnxruntime-web/-/onnxruntime-web-1.22.0.tgz"
INTEGRITY = (
    "Ud/+EBo6mhuaQWt/OjaOk0iNWjXqJoeeMFr6xQEERZdIZH2OWpGzuujz7lfuOBjUa6TEE/sc4nb7Da5dNL34fg=="
)
"""SHA-512 of the package, as npm tells it."""
RUNTIME_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
SECONDS = 60  # that the registry has to answer

PRESET = "fornet_mobilenet_edgetpu_small_camvid"
SIGNALS = ("importance",)
STREETS = (3, 5, 7)  # by day, as the preset learned
STREET_SIZE = (360, 480)
# What the exported file and the samples depend on.
ROOMS = ("backbones", "export", "layers", "models", "presets", "streets", "visualization")


def main() -> None:
    """Makes all of it, or nothing if the runtime cannot be had."""
    if (MADE / KEY).exists() and (MADE / KEY).read_text("utf-8") == key():
        return
    CACHE.mkdir(exist_ok=True)
    try:
        runtime = unpacked(package(registry()))
    except (OSError, ValueError) as error:
        shutil.rmtree(MADE, ignore_errors=True)
        print(f"The page that segments in the browser is left out: {error}")
        return
    make(runtime)


def key() -> str:
    """A hash of all that the files depend on."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for room in ROOMS:
        for path in sorted((REPOSITORY / "keras_focusseg" / room).rglob("*.py")):
            digest.update(path.read_bytes())
    catalog = REPOSITORY / "keras_focusseg" / "presets" / "catalog"
    digest.update((catalog / f"{PRESET}.json").read_bytes())  # with the hash of the weights
    return digest.hexdigest()


def registry() -> str:
    """Where packages of npm come from."""
    named = {name.lower(): value for name, value in os.environ.items()}
    return named.get("npm_config_registry", REGISTRY).rstrip("/")


def package(address: str) -> bytes:
    """The package of the runtime, as it was fetched before or from a registry.

    Raises:
        OSError: The registry does not answer.
        ValueError: What it sent is another package than the one that is known.
    """
    kept, url = CACHE / Path(RUNTIME).name, f"{address}/{RUNTIME}"
    if kept.exists() and is_known(content := kept.read_bytes()):
        return content
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            content = answer.read()
    except OSError as error:
        raise OSError(f"{url} cannot be fetched ({error}).") from error
    if not is_known(content):
        raise ValueError(f"{url} is not the file that is expected: its SHA-512 is another.")
    kept.write_bytes(content)
    return content


def is_known(content: bytes) -> bool:
    """Whether it is the package whose hash stands here."""
    return base64.b64encode(hashlib.sha512(content).digest()).decode() == INTEGRITY


def unpacked(content: bytes) -> dict[str, bytes]:
    """The files of the runtime, by name."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {name: archive.extractfile(f"package/dist/{name}") for name in RUNTIME_FILES}
        return {name: member.read() for name, member in members.items() if member}


def make(runtime: dict[str, bytes]) -> None:
    """Writes every file, whole or not at all."""
    import numpy as np
    from PIL import Image

    from keras_focusseg import data, export, files, presets, visualization

    with files.written_folder(MADE) as folder:
        for name, content in runtime.items():
            (folder / name).write_bytes(content)
        written = export.export(
            presets.load(PRESET, dtype="float32"),
            folder / "network.onnx",
            precision="float16",
            labels=True,
            uint8=True,
            signals=SIGNALS,
            notes={"preset": PRESET},
        )
        source = data.SyntheticStreets(max(STREETS) + 1, size=STREET_SIZE, seed=2026, split="test")
        for number, scene in enumerate(STREETS, start=1):
            image = Image.fromarray(source.load(scene).image)
            image.save(folder / f"street-{number}.png", optimize=True)
        colors = visualization.heatmap(np.linspace(0, 1, 256)[None], (1, 256))
        files.write_json(folder / "heat.json", np.asarray(colors)[0].tolist())
        (folder / KEY).write_text(key(), "utf-8")
    size = f"{written.bytes / 1e6:.2f} MB"
    print(f"For the page that segments in the browser, {size}: {written.comparison}")


if __name__ == "__main__":
    main()
