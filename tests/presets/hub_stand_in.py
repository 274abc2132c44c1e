"""A server that answers as the Hugging Face Hub does where presets are pushed and fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
API = re.compile(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main")


class Hub:
    """Repositories as lists of (commit, files), newest last; `asked` is what was asked for."""

    def __init__(self) -> None:
        self.repositories: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Keeps quiet."""

            def answer(self, status: int, headers: dict[str, Any], body: bytes = b"") -> None:
                self.send_response(status)
                for name, value in {"Content-Length": len(body), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                match = FILE.fullmatch(self.path)
                commits = hub.repositories.get(match[1]) if match else None
                if match is None or commits is None:
                    return self.answer(404, {"X-Error-Code": "RepoNotFound"})
                by_revision = {**dict(commits), "main": commits[-1][1]}
                names = {**{commit: commit for commit, _ in commits}, "main": commits[-1][0]}
                if match[2] not in by_revision:
                    return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
                body = by_revision[match[2]].get(match[3])
                if body is None:
                    return self.answer(404, {"X-Error-Code": "EntryNotFound"})
                tag = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"'}
                self.answer(200, {**tag, "X-Repo-Commit": names[match[2]]}, body)

            do_HEAD = do_GET

            def do_POST(self) -> None:
                hub.asked.append(f"POST {self.path}")
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                match = API.fullmatch(self.path)
                if self.path == "/api/repos/create":
                    sent = json.loads(text)
                    name = "/".join(filter(None, (sent.get("organization"), sent["name"])))
                    hub.repositories.setdefault(name, [])
                    told: dict[str, Any] = {"url": f"{hub.url}/{name}", "name": name}
                elif self.path == "/api/validate-yaml":
                    told = {"errors": [], "warnings": []}
                elif match and match[2] == "preupload":
                    told = {
                        "files": [
                            {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                            for file in json.loads(text)["files"]
                        ]
                    }
                elif match:
                    lines = [json.loads(line) for line in text.splitlines()]
                    files = {
                        line["value"]["path"]: base64.b64decode(line["value"]["content"])
                        for line in lines
                        if line["key"] == "file"
                    }
                    commit = hub.add(match[1], files)
                    told = {"commitUrl": f"{hub.url}/{match[1]}/commit/{commit}"}
                    told |= {"commitOid": commit}
                else:
                    return self.answer(404, {})
                kind = {"Content-Type": "application/json"}
                self.answer(200, kind, json.dumps(told).encode())

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, repository: str, files: dict[str, bytes]) -> str:
        """A commit that adds files to those that are there."""
        commits = self.repositories.setdefault(repository, [])
        before = commits[-1][1] if commits else {}
        commit = hashlib.sha1(f"{repository} {len(commits)}".encode()).hexdigest()
        commits.append((commit, {**before, **files}))
        return commit

    def close(self) -> None:
        """Ends the server."""
        self.server.shutdown()
        self.server.server_close()
