"""A hub on loopback: the part of the hub's interface that a download needs, with faults on request.

Source: what huggingface_hub 2.4 asks for (hf_api.py: model_info, list_repo_tree; file_download.py: the HEAD and GET of
/OWNER/NAME/resolve/COMMIT/PATH and the headers X-Repo-Commit, X-Linked-Etag and X-Linked-Size).
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "owner/model"


@dataclass
class Hub:
    """What the hub holds, what was asked of it, and how it misbehaves."""

    files: dict[str, bytes]
    url: str = ""
    revision: str = "main"
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path inside the repository, and the Range header of each request for a file."""
    cut_at: dict[str, int] = field(default_factory=dict)
    """Bytes after which the connection breaks, once; from then on the file is refused until `healthy`."""
    claimed: dict[str, str] = field(default_factory=dict)
    """Sums that the hub names instead of the true ones."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that the hub names instead of the true ones."""
    broken: set[str] = field(default_factory=set)

    def healthy(self) -> None:
        self.cut_at.clear()
        self.broken.clear()

    def sum_of(self, path: str) -> str:
        return self.claimed.get(path) or hashlib.sha256(self.files[path]).hexdigest()

    def size_of(self, path: str) -> int:
        return self.sizes.get(path, len(self.files[path]))

    def gets(self, path: str) -> list[str | None]:
        """The Range headers of the requests for a file's content."""
        return [wanted for method, asked, wanted in self.asked if method == "GET" and asked == path]


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Hub]:
    """Serve the files as the repository owner/model until the end of the block."""
    hub = Hub(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:  # the name that http.server looks for
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = urlsplit(self.path).path
            if path == f"/api/models/{REPO}" or path == f"/api/models/{REPO}/revision/{hub.revision}":
                return self.tell({"id": REPO, "sha": COMMIT, "siblings": []})
            if path == f"/api/models/{REPO}/tree/{COMMIT}":
                return self.tell([entry(hub, name) for name in hub.files])
            start = f"/{REPO}/resolve/{COMMIT}/"
            if path.startswith(start) and path.removeprefix(start) in hub.files:
                return self.send_file(path.removeprefix(start))
            code = "RevisionNotFound" if path.startswith(f"/api/models/{REPO}/") else "RepoNotFound"
            self.tell({"error": code}, 404, {"X-Error-Code": code})

        def tell(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
            self.begin(status, {"Content-Type": "application/json"} | (headers or {}), json.dumps(content).encode())

        def send_file(self, name: str) -> None:
            content, wanted = hub.files[name], self.headers.get("Range")
            hub.asked.append((self.command, name, wanted))
            if self.command == "GET" and name in hub.broken:
                return self.tell({"error": "down"}, 503)
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
            if name.endswith(".safetensors"):
                headers |= {"X-Linked-Etag": f'"{hub.sum_of(name)}"', "X-Linked-Size": str(len(content))}
            first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            if wanted:
                headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            stop = hub.cut_at.get(name) if self.command == "GET" else None
            self.begin(206 if wanted else 200, headers, content[first:], stop)
            if stop is not None:
                hub.broken.add(name)

        def begin(self, status: int, headers: dict[str, str], body: bytes, stop: int | None = None) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[:stop])
                self.close_connection = self.close_connection or stop is not None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def entry(hub: Hub, name: str) -> dict[str, Any]:
    """One file as the tree lists it; safetensors are large files."""
    found: dict[str, Any] = {"type": "file", "path": name, "size": hub.size_of(name), "oid": "0" * 40}
    if name.endswith(".safetensors"):
        found["lfs"] = {"oid": hub.sum_of(name), "size": hub.size_of(name), "pointerSize": 130}
    return found
