"""Viewers of low-latency HLS, as many as one processor carries: sockets and one epoll, no library.

Each viewer asks for the playlist with its next part, waits for it, loads the part, and asks again.
"""

from __future__ import annotations

import re
import select
import socket
import time
import urllib.request
from urllib.parse import urlsplit

CHUNK = 1 << 18
#: A request waits for three target durations at most.
ANSWER_LIMIT_SECONDS = 15.0
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
PART = re.compile(rb'#EXT-X-PART:[^\n]*URI="((\d+)\.(\d+)-[^"]+)"')


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def media_playlist(url: str) -> str:
    """The address of the first variant of a multivariant playlist."""
    lines = fetch(url).decode().splitlines()
    return url.rsplit("/", 1)[0] + "/" + next(line for line in lines if line and not line.startswith("#"))


class Viewer:
    def __init__(self, crowd: "Crowd"):
        self.crowd = crowd
        self.socket = socket.create_connection(crowd.address, timeout=30)
        self.socket.setblocking(False)
        self.missing = 0
        self.head = b""
        self.body: list[bytes] | None = None
        self.is_part = False

    def ask(self, path: str, keep: bool, is_part: bool) -> None:
        """`keep`: the body is looked at."""
        self.missing, self.head, self.body, self.is_part = -1, b"", [] if keep else None, is_part
        self.socket.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def read(self, buffer: bytearray) -> bool:
        """Takes what is there; True when the answer is whole."""
        while True:
            try:
                count = self.socket.recv_into(buffer)
            except BlockingIOError:
                return False
            if count == 0:
                raise RuntimeError("a viewer was cut off")
            self.crowd.bytes += count
            data = memoryview(buffer)[:count]
            if self.missing < 0:
                self.head += bytes(data)
                end = self.head.find(b"\r\n\r\n")
                if end < 0:
                    continue
                if not self.head.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"a viewer got {self.head[:60]!r}")
                found = LENGTH.search(self.head)
                self.missing = int(found[1]) if found else 0
                data = memoryview(self.head)[end + 4:]
            self.missing -= len(data)
            if self.body is not None:
                self.body.append(bytes(data))
            if self.missing <= 0:
                return True


class Crowd:
    """So many viewers of one address."""

    def __init__(self, base: str, count: int):
        self.address = (urlsplit(base).hostname, urlsplit(base).port)
        self.bytes = 0
        self.parts = 0
        self.epoll = select.epoll()
        self.buffer = bytearray(CHUNK)
        self.viewers: dict[int, Viewer] = {}
        for _ in range(count):
            viewer = Viewer(self)
            self.viewers[viewer.socket.fileno()] = viewer
            self.epoll.register(viewer.socket, select.EPOLLIN)

    def close(self) -> None:
        for viewer in self.viewers.values():
            viewer.socket.close()
        self.epoll.close()

    def turn(self, answered, timeout: float = 0.2) -> None:
        """`answered(viewer)` for each whole answer."""
        for descriptor, _ in self.epoll.poll(timeout):
            viewer = self.viewers[descriptor]
            if viewer.read(self.buffer):
                self.parts += viewer.is_part
                answered(viewer)

    def follow(self, playlist: str, seconds: float, keep: dict[str, bytes] | None = None) -> None:
        """Follows a live stream for so long; all are answered when it returns. `keep`: parts by name, and the last
        playlist under ""."""
        parts = urlsplit(playlist)
        folder = parts.path.rsplit("/", 1)[0]
        following: dict[bytes, tuple[str, str]] = {}

        def after(body: bytes) -> tuple[str, str]:
            """The newest part of a playlist, and what to ask for next. Thousands get the same text."""
            if body not in following:
                following.clear()
                name, number, part = PART.findall(body)[-1]
                following[body] = (
                    f"{folder}/{name.decode()}", f"{parts.path}?{parts.query}&_HLS_msn={int(number)}&_HLS_part={int(part) + 1}")
            return following[body]

        waiting: dict[Viewer, str] = {}
        left = len(self.viewers)
        end = time.monotonic() + seconds

        def answered(viewer: Viewer) -> None:
            nonlocal left
            whole = b"".join(viewer.body) if viewer.body is not None else b""
            if viewer.is_part:
                if keep is not None:
                    keep[f"p{len(keep)}"] = whole
                if time.monotonic() < end:
                    viewer.ask(waiting[viewer], True, False)
                else:
                    left -= 1
                return
            part, waiting[viewer] = after(whole)
            if keep is not None:
                keep[""] = whole
            viewer.ask(part, keep is not None, True)

        first = after(fetch(playlist))[1]
        for viewer in self.viewers.values():
            viewer.ask(first, True, False)
        while left > 0:
            if time.monotonic() > end + ANSWER_LIMIT_SECONDS:
                raise RuntimeError(f"{left} viewers were not answered")
            self.turn(answered)

    def wait(self, playlist: str) -> None:
        """Asks for the segment behind the next one: all wait for it."""
        parts = urlsplit(playlist)
        number = int(PART.findall(fetch(playlist))[-1][1]) + 1
        for viewer in self.viewers.values():
            viewer.ask(f"{parts.path}?{parts.query}&_HLS_msn={number}&_HLS_part=0", False, False)

    def collect(self) -> None:
        """Until all are answered."""
        left, end = len(self.viewers), time.monotonic() + ANSWER_LIMIT_SECONDS

        def answered(_: Viewer) -> None:
            nonlocal left
            left -= 1

        while left > 0:
            if time.monotonic() > end:
                raise RuntimeError(f"{left} viewers were not answered")
            self.turn(answered)

    def repeat(self, playlist: str, parts: list[str], interval: float, seconds: float) -> None:
        """The same from files: at each interval every viewer loads the playlist and one part."""
        end = time.monotonic() + seconds
        index = 0
        while time.monotonic() < end:
            began = time.monotonic()
            left = len(self.viewers)

            def answered(viewer: Viewer) -> None:
                nonlocal left
                if viewer.is_part:
                    left -= 1
                else:
                    viewer.ask(parts[index % len(parts)], False, True)

            for viewer in self.viewers.values():
                viewer.ask(playlist, False, False)
            while left > 0:
                self.turn(answered)
            index += 1
            time.sleep(max(0.0, interval - (time.monotonic() - began)))
