"""A web server for sources that are pulled: files, redirects, playlists, and answers that never come."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

CHUNK = 64 << 10
TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", ".mp4": "video/mp4"}


class WebSource:
    """Serves `directory` at all addresses of this machine. `answers` maps paths to (status, headers, body), or to None for
    an answer that never comes. `seen` has (address that was connected to, path) of each request."""

    def __init__(self, directory: Path, answers: dict[str, tuple[int, dict, str] | None] | None = None):
        source = self
        self.directory = directory
        self.answers = answers or {}
        self.seen: list[tuple[str, str]] = []
        self.closing = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                source.serve(self)

        self.server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> "WebSource":
        return self

    def __exit__(self, *_) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def url(self, path: str, host: str) -> str:
        return f"http://{host}:{self.port}{path}"

    def serve(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path = request.path
        self.seen.append((request.connection.getsockname()[0], path))
        if path in self.answers:
            answer = self.answers[path]
            if answer is None:
                self.closing.wait()
                return
            status, headers, body = answer
            data = body.encode()
        else:
            file = self.directory / path.lstrip("/")
            status, headers = (200, {"Content-Type": TYPES.get(file.suffix, "video/mp4")}) if file.is_file() else (404, {})
            data = file.read_bytes() if file.is_file() else b""
        request.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            request.send_header(key, value)
        request.end_headers()
        try:
            request.wfile.write(data)
        except OSError:
            pass
