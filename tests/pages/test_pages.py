"""The site as a visitor has it: every page opened in a browser, on a desk and on a phone.

`make docs` builds the site and runs these tests; elsewhere they run if `site/` is there, and a
Chromium on the path (Debian's package `chromium`) with the extra `browser`.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tests.pages.conftest import CHROMIUM, SITE, watched

PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
SIZES = {"desk": (1300, 900), "phone": (390, 844)}
# Overflow of the page itself: what scrolls inside itself has no part in it.
OVERFLOW = "document.scrollingElement.scrollWidth - document.documentElement.clientWidth"
BROKEN = """[...document.images].filter(image => image.complete && !image.naturalWidth)
    .map(image => image.src)"""
# Formulas that were not typeset, or with a fault.
RAW = """[...document.querySelectorAll(".arithmatex, .katex-error")]
    .filter(part => !part.querySelector(":scope .katex-html")).map(part => part.textContent)"""

pytestmark = [
    pytest.mark.backend_free,
    pytest.mark.skipif(not PAGES, reason=f"there is no built site in {SITE}: make docs"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the path"),
]


@pytest.mark.parametrize("size", SIZES)
def test_every_page_is_whole(browser: Any, address: str, size: str) -> None:
    width, height = SIZES[size]
    scheme = "dark" if size == "phone" else "light"
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    seen = watched(page, address)
    faults: list[str] = []
    links: dict[str, str] = {}
    for at in PAGES:
        if at == "404.html":  # its links are those of a site at the root
            continue
        page.goto(f"{address}/{at}", wait_until="load")
        faults += [f"{at}: {fault}" for fault in seen]
        seen.clear()
        faults += [f"{at}: no picture at {source}" for source in page.evaluate(BROKEN)]
        faults += [f"{at}: not typeset: {source}" for source in page.evaluate(RAW)]
        too_wide = page.evaluate(OVERFLOW)
        if too_wide > 0:
            faults.append(f"{at}: {too_wide} pixels wider than the window")
        for link in page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)"):
            links.setdefault(link, at)
    faults += [
        f"{at}: links to {link}, which is not there"
        for link, at in links.items()
        if link.startswith(address) and not _is_there(link.removeprefix(address))
    ]
    page.close()
    faults += [f"after {at}: {fault}" for fault in seen]
    assert not faults, "\n".join(faults)


def _is_there(link: str) -> bool:
    path, _, anchor = link.partition("#")
    file = SITE / path.partition("?")[0].lstrip("/")
    file = file / "index.html" if file.is_dir() else file
    if not file.is_file():
        return False
    # Material's own anchors of code lines and headings are made by its scripts.
    return not anchor or anchor.startswith("__") or f'id="{anchor}"' in file.read_text("utf-8")


def test_the_api_pages_have_what_the_rooms_export() -> None:
    missing = []
    for page in (SITE / "api").glob("*/index.html"):
        room = importlib.import_module(f"keras_focusseg.{page.parent.name}")
        text, name = page.read_text("utf-8"), room.__name__
        missing += [
            f"{name}.{one}"
            for one in room.__all__
            if callable(getattr(room, one))
            and f'id="{name}.{one}"' not in text
            and f'id="{name}.{one}.{one}"' not in text
        ]
    assert not missing


def test_formulas_scroll_inside_themselves(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{address}/networks/fornet/index.html")
    formula = page.locator("div.arithmatex").first
    assert formula.evaluate("formula => formula.scrollWidth > formula.clientWidth")
    assert page.evaluate(OVERFLOW) <= 0
    page.close()


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("Top-K", "networks/fornet"),
        ("ignore", "losses-and-metrics"),
        ("void", "losses-and-metrics"),
        ("TPU", "tutorials/devices"),
        ("ONNX", "guides/export"),
    ],
)
def test_search_finds_the_page_that_explains(
    browser: Any, address: str, words: str, first: str
) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(f"{address}/index.html")
    page.keyboard.press("/")
    page.keyboard.type(words, delay=20)
    page.wait_for_function(  # results change while the words are typed
        "first => document.querySelector('.md-search-result__item a')?.href.includes(first)",
        arg=f"/{first}/",
        timeout=20_000,
    )
    page.close()


def test_the_table_of_presets_sorts(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/presets/index.html")
    heading = page.locator(".sortable th", has_text="held-out")
    heading.click()
    figures = page.locator(".sortable tbody tr td:last-child").all_inner_texts()
    numbers = [float(text) for text in figures if text[:1].isdigit()]
    assert numbers == sorted(numbers, reverse=True) and len(numbers) > 1
    heading.click()
    figures = page.locator(".sortable tbody tr td:last-child").all_inner_texts()
    assert [float(text) for text in figures if text[:1].isdigit()] == sorted(numbers)
    page.close()
