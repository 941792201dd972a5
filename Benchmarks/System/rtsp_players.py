"""Players by RTSP, as many as one processor carries: they shake hands and then only empty their sockets."""

from __future__ import annotations

import ctypes
import re
import socket
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

ANSWER_LIMIT_SECONDS = 20.0
HOST = "127.0.0.1"
RECEIVE_BUFFER = 1 << 20


def build_drain(repository: Path, work: Path) -> ctypes.CDLL:
    library = work / "drain.so"
    if not library.exists():
        source = repository / "Benchmarks/Drain/drain.c"
        subprocess.run(["cc", "-O2", "-fPIC", "-shared", "-o", library, source], check=True)
    return ctypes.CDLL(str(library))


class Player:
    """One session: DESCRIBE, SETUP of every track, PLAY, whose answer waits for a key frame."""

    def __init__(self, url: str, by_udp: bool):
        self.url, self.by_udp = url, by_udp
        parts = urlsplit(url)
        self.connection = socket.create_connection((parts.hostname, parts.port), ANSWER_LIMIT_SECONDS)
        self.sequence, self.session, self.left = 0, "", b""
        self.rtp: list[socket.socket] = []
        self.rtcp: list[socket.socket] = []

    def set_up(self) -> None:
        head, body = self.ask("DESCRIBE", self.url, "Accept: application/sdp")
        base = re.search(rb"(?im)^content-base: *(\S+)", head)[1].decode()
        for index, control in enumerate(re.findall(rb"(?m)^a=control:(\S+)", body.split(b"m=", 1)[1])):
            if self.by_udp:
                transport = f"RTP/AVP;unicast;client_port={self.open_ports()}"
            else:
                transport = f"RTP/AVP/TCP;unicast;interleaved={2 * index}-{2 * index + 1}"
            head, _ = self.ask("SETUP", base + control.decode(), f"Transport: {transport}")
            self.session = re.search(rb"(?im)^session: *([^;\s]+)", head)[1].decode()

    def open_ports(self) -> str:
        pair = []
        for _ in range(2):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            one.bind((HOST, 0))
            pair.append(one)
        self.rtp.append(pair[0])
        self.rtcp.append(pair[1])
        return "-".join(str(one.getsockname()[1]) for one in pair)

    def ask(self, method: str, url: str, *headers: str) -> tuple[bytes, bytes]:
        self.send(method, url, *headers)
        return self.answer(method)

    def send(self, method: str, url: str, *headers: str) -> None:
        self.sequence += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self.sequence}", *headers]
        if self.session:
            lines.append(f"Session: {self.session}")
        self.connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def answer(self, method: str) -> tuple[bytes, bytes]:
        data = self.left
        while b"\r\n\r\n" not in data:
            data += self.more()
        head, _, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        need = int(length[1]) if length else 0
        while len(rest) < need:
            rest += self.more()
        # What follows PLAY's answer is media.
        self.left = b"" if method == "PLAY" else rest[need:]
        if not head.startswith(b"RTSP/1.0 200"):
            raise RuntimeError(f"a player's {method} got {head[:80]!r}")
        return head, rest[:need]

    def more(self) -> bytes:
        data = self.connection.recv(1 << 16)
        if not data:
            raise RuntimeError("a player was cut off")
        return data

    def close(self) -> None:
        for one in (self.connection, *self.rtp, *self.rtcp):
            one.close()


class Crowd:
    """Players that come one by one and are drained by a thread beside; or `reads` nothing once it plays."""

    def __init__(self, library: ctypes.CDLL, by_udp: bool, reads: bool = True):
        self.library, self.by_udp, self.reads = library, by_udp, reads
        self.players: list[Player] = []
        self.received = ctypes.c_uint64(0)
        self.drains: list[tuple[threading.Thread, ctypes.c_int]] = []

    def join(self, url: str, count: int) -> None:
        batch = 50
        for first in range(0, count, batch):
            new = []
            for _ in range(min(batch, count - first)):
                new.append(Player(url, self.by_udp))
                new[-1].set_up()
            for one in new:
                one.send("PLAY", url, "Range: npt=0-")
            for one in new:
                one.answer("PLAY")
            self.players += new
            if self.reads:
                self.drain()

    def drain(self) -> None:
        """One thread for all that are there."""
        self.stop()
        if self.by_udp:
            sockets = [one.fileno() for player in self.players for one in (*player.rtp, *player.rtcp)]
            work = self.library.weir_drain_datagrams
        else:
            sockets = [player.connection.fileno() for player in self.players]
            work = self.library.weir_drain_streams
        array = (ctypes.c_int * len(sockets))(*sockets)
        ending = ctypes.c_int(0)
        thread = threading.Thread(
            target=work, args=(array, len(sockets), ctypes.byref(ending), ctypes.byref(self.received)), daemon=True)
        thread.start()
        self.drains.append((thread, ending))

    def stop(self) -> None:
        for thread, ending in self.drains:
            ending.value = 1
            thread.join()
        self.drains = []

    def close(self) -> None:
        self.stop()
        for player in self.players:
            player.close()
