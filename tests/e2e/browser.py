"""A headless browser with one page, which does what the test asks it to.

No driver: the page itself asks this module's little server what to do next, and posts what came of it. The packages
come unbundled, by an import map.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PACKAGES = {
    "@openfeature/core": "@openfeature/core/dist/esm/index.js",
    "@openfeature/web-sdk": "@openfeature/web-sdk/dist/esm/index.js",
    "@openfeature/ofrep-core": "@openfeature/ofrep-core/index.esm.js",
    "@openfeature/ofrep-web-provider": "@openfeature/ofrep-web-provider/index.esm.js",
}
NESTED = "@openfeature/ofrep-web-provider/node_modules"
"""Where npm puts what this package has in another version than its neighbours."""
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # which root doesn't get; it opens no page but ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",  # without which it may leave once the page is loaded
)
ANSWER_TIMEOUT_S = 120.0


class PageError(Exception):
    """The page's code threw; what it said."""


class Page:
    """An open page, which runs `module`, the text of a module. `program`: the browser; `work`: an empty folder."""

    def __init__(self, program: str, work: Path, node_modules: str, module: str) -> None:
        self._node_modules, self._module = Path(node_modules), module
        self._asked: queue.Queue[Any] = queue.Queue()
        self._said: queue.Queue[Any] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._log = work / "browser.log"
        address = f"http://127.0.0.1:{self._server.server_port}/"
        with self._log.open("wb") as log:
            self._browser = subprocess.Popen(
                [program, *OPTIONS, f"--user-data-dir={work / 'profile'}", address], stdout=log, stderr=log
            )

    def call(self, name: str, argument: object = None) -> Any:
        """What `does[name](argument)` came to. Raises PageError."""
        self._asked.put([name, argument])
        return self.hear()

    def hear(self) -> Any:
        """The next thing that the page says."""
        try:
            said = self._said.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            raise AssertionError(f"the page said nothing: {self._log.read_text()[-2000:]}") from None
        if "error" in said:
            raise PageError(said["error"])
        return said["value"]

    def close(self) -> None:
        self._asked.put(None)
        self._browser.terminate()
        self._browser.wait(120)
        self._server.shutdown()
        self._server.server_close()

    def _file(self, path: str) -> bytes | None:
        """What is served at a path."""
        if path == "/":
            imports = json.dumps({"imports": {name: f"/packages/{file}" for name, file in PACKAGES.items()}})
            head = f'<!doctype html><meta charset="utf-8"><script type="importmap">{imports}</script>'
            return f'{head}<script type="module" src="/page.mjs"></script>'.encode()
        if path == "/page.mjs":
            return self._module.encode()
        if path.startswith("/packages/"):
            name = path.removeprefix("/packages/")
            for folder in (self._node_modules / NESTED, self._node_modules):
                if (folder / name).is_file():
                    return (folder / name).read_bytes()
        return None

    def _make_handler(page) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/next":
                    asked = page._asked.get()
                    self._send(204 if asked is None else 200, "application/json", json.dumps(asked).encode())
                    return
                body = page._file(self.path)
                kind = "text/html" if self.path == "/" else "text/javascript"
                self._send(404 if body is None else 200, kind, body or b"")

            def do_POST(self) -> None:
                page._said.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self._send(204, "text/plain", b"")

            def _send(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                if status != 204:
                    self.send_header("content-length", str(len(body)))
                self.end_headers()
                if status != 204:
                    self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                return None

        return Handler
