"""An RTSP client by hand, in its connection only: says exactly what a test wants and keeps every packet with its time."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ANSWER_LIMIT_SECONDS = 20.0
READ_BYTES = 1 << 16


@dataclass
class Answer:
    status: int
    reason: str
    headers: dict[str, str]
    body: str


@dataclass
class Packet:
    channel: int
    data: bytes
    arrival: float

    @property
    def number(self) -> int:
        return struct.unpack_from(">H", self.data, 2)[0]

    @property
    def timestamp(self) -> int:
        return struct.unpack_from(">I", self.data, 4)[0]

    @property
    def ssrc(self) -> int:
        return struct.unpack_from(">I", self.data, 8)[0]

    @property
    def ends_picture(self) -> bool:
        return bool(self.data[1] & 0x80)


@dataclass
class Track:
    kind: str
    control: str
    codec: str
    parameters: str = ""


@dataclass
class Info:
    """What RTP-Info says of a track."""

    number: int | None
    timestamp: int | None


@dataclass
class RtspClient:
    url: str
    user_agent: str = "weir-test"
    # Bytes of the socket's receive buffer; small for a client that is to be slow.
    receive_buffer: int = 0
    packets: list[Packet] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    session: str = ""
    is_closed: bool = False

    async def __aenter__(self) -> "RtspClient":
        parts = urlsplit(self.url)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if self.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port))
        trusting = None
        if parts.scheme == "rtsps":
            trusting = ssl.create_default_context()
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        limit = self.receive_buffer or READ_BYTES
        self.reader, self.writer = await asyncio.open_connection(
            sock=sock, ssl=trusting, server_hostname="localhost" if trusting else None, limit=limit)
        self.sequence = 0
        self.answers: asyncio.Queue[Answer | None] = asyncio.Queue()
        self.news = asyncio.Condition()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_) -> None:
        self.reading.cancel()
        self.writer.close()
        await asyncio.gather(self.reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while True:
                await self.may_read.wait()
                first = await self.reader.readexactly(1)
                if first == b"$":
                    channel, length = struct.unpack(">BH", await self.reader.readexactly(3))
                    data = await self.reader.readexactly(length)
                    self.packets.append(Packet(channel, data, time.monotonic()))
                    async with self.news:
                        self.news.notify_all()
                else:
                    await self.answers.put(await self._answer(first))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.is_closed = True
            await self.answers.put(None)
            async with self.news:
                self.news.notify_all()

    async def _answer(self, first: bytes) -> Answer:
        line = (first + await self.reader.readline()).decode().strip()
        _, status, reason = line.split(" ", 2)
        headers: dict[str, str] = {}
        while header := (await self.reader.readline()).decode().strip():
            key, _, value = header.partition(":")
            headers.setdefault(key.lower(), value.strip())
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(status), reason, headers, body.decode())

    async def ask(self, method: str, url: str | None = None, body: str = "", **headers: str) -> Answer:
        """A request and its answer. Headers' names are written with `_` for `-`. A body is a session description."""
        self.sequence += 1
        lines = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self.sequence}", f"User-Agent: {self.user_agent}"]
        if self.session and "Session" not in headers:
            lines.append(f"Session: {self.session}")
        lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
        if body:
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body.encode())}"]
        self.writer.write(("\r\n".join(lines) + f"\r\n\r\n{body}").encode())
        await self.writer.drain()
        answer = await asyncio.wait_for(self.answers.get(), ANSWER_LIMIT_SECONDS)
        assert answer is not None, f"closed instead of an answer to {method}"
        assert answer.headers.get("cseq") == str(self.sequence), answer
        return answer

    async def describe(self) -> Answer:
        answer = await self.ask("DESCRIBE", Accept="application/sdp")
        if answer.status == 200:
            base = answer.headers["content-base"]
            for media in re.split(r"^(?=m=)", answer.body, flags=re.MULTILINE)[1:]:
                parameters = re.search(r"a=fmtp:\d+ (.*)", media)
                self.tracks.append(Track(
                    media[2:].split(" ", 1)[0], base + re.search(r"a=control:(\S+)", media)[1],
                    re.search(r"a=rtpmap:\d+ ([^/\s]+)", media)[1], parameters[1].strip() if parameters else ""))
        return answer

    async def set_up(self) -> None:
        for index, track in enumerate(self.tracks):
            transport = f"RTP/AVP/TCP;unicast;interleaved={2 * index}-{2 * index + 1}"
            answer = await self.ask("SETUP", track.control, Transport=transport)
            assert answer.status == 200, answer
            self.session = answer.headers["session"].split(";")[0]

    async def play(self) -> list[Info]:
        """DESCRIBE, SETUP of all tracks, PLAY. Returns what RTP-Info says of each track."""
        described = await self.describe()
        assert described.status == 200, described
        await self.set_up()
        self.asked = time.monotonic()
        answer = await self.ask("PLAY", Range="npt=0-")
        self.answered = time.monotonic()
        assert answer.status == 200, answer
        infos = {}
        for entry in answer.headers["rtp-info"].split(","):
            fields = dict(part.split("=", 1) for part in entry.strip().split(";"))
            infos[fields["url"]] = Info(*(int(fields[key]) if key in fields else None for key in ("seq", "rtptime")))
        return [infos[track.control] for track in self.tracks]

    def of(self, kind: str) -> list[Packet]:
        """RTP packets of the track of that kind."""
        index = next(i for i, track in enumerate(self.tracks) if track.kind == kind)
        return [packet for packet in self.packets if packet.channel == 2 * index]

    async def until(self, fits, limit: float = ANSWER_LIMIT_SECONDS) -> None:
        """Waits until `fits()`, looking at each packet."""
        async with asyncio.timeout(limit), self.news:
            while not fits():
                assert not self.is_closed, "the server has closed the connection"
                await self.news.wait()

    async def closed(self, limit: float = ANSWER_LIMIT_SECONDS) -> None:
        async with asyncio.timeout(limit), self.news:
            await self.news.wait_for(lambda: self.is_closed)
