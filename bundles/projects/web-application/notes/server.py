"""The server: POST / adds a note, GET / lists them."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import wording  # type: ignore[import-not-found]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        """List the notes."""
        path = Path(os.environ["NOTES"])
        lines = path.read_text().splitlines() if path.exists() else []
        self._answer(f"{wording.count(len(lines), 'note')}\n" + "".join(f"* {line}\n" for line in lines))

    def do_POST(self) -> None:
        """Add one."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with Path(os.environ["NOTES"]).open("a") as file:
            file.write(f"{text}\n")
        self._answer("kept\n")

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


def main() -> None:
    """Serve until the signal that the image names."""
    server = ThreadingHTTPServer(("", 8000), Handler)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("closed")
