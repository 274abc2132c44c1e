"""The page and its answers over HTTP: limits, refusals, nothing from elsewhere."""

import http.client
import io
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import label_spaces
from keras_focusseg.inference import serving
from tests.testers import tiny_fornet


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    model = tiny_fornet(num_classes=3)
    model.label_space = label_spaces.from_names(["road", "car", "sky"])
    with serving.make_server(serving.Demo(["tiny"], lambda name: model), port=0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: Any, method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, str]:
    connection = http.client.HTTPConnection(*server.server_address, timeout=60)
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    content = reply.read().decode()
    connection.close()
    return reply, content


def png(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 90, "uint8")).save(buffer, "PNG")
    return buffer.getvalue()


OWN = {"X-Focusseg": "1"}


def test_the_page_fetches_nothing_from_elsewhere(server: Any) -> None:
    reply, page = ask(server, "GET", "/")
    assert reply.status == 200 and "<option>tiny</option>" in page
    assert not re.search(r"https?://|(src|href)=", page)
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert ask(server, "GET", "/etc/passwd")[0].status == 404


def test_a_picture_is_answered(server: Any) -> None:
    reply, content = ask(server, "POST", "/segment?preset=tiny", png(40, 56), **OWN)
    assert reply.status == 200, content
    found = json.loads(content)
    assert sum(one["share"] for one in found["classes"]) == pytest.approx(1)
    assert {"classes", "importance", "regions"} <= set(found["pictures"])
    uris = [found["image"], *found["pictures"].values()]
    assert all(uri.startswith("data:image/png;base64,") for uri in uris)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "message"),
    [
        ("/segment?preset=tiny", b"no picture", OWN, 422, "broken, truncated or not one of"),
        ("/segment?preset=tiny", png(4, 400), OWN, 422, "the height is 4"),
        ("/segment?preset=tiny", png(2100, 2000), OWN, 422, "2000 x 2100 pixels; at most 4,000"),
        ("/segment?preset=/etc", png(40, 56), OWN, 422, "There is no preset '/etc' here"),
        ("/segment?preset=tiny", png(40, 56), {}, 403, "from the page"),
        ("/elsewhere", b"x", OWN, 403, "from the page"),
        ("/segment", b"", OWN, 413, "The file has 0 bytes"),
        ("/segment", b"x", {**OWN, "Content-Length": "99000000"}, 413, "99,000,000 bytes"),
        ("/segment", b"x", {**OWN, "Content-Length": "many"}, 411, "length of the upload"),
    ],
)
def test_refusals(
    server: Any, path: str, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    reply, content = ask(server, "POST", path, body, **headers)
    assert reply.status == status and message in json.loads(content)["error"]
