"""Hostile bytes and hostile numbers at the RTSP port, beside a player who must not notice them."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct
import time

import pytest

from rtsp_client import RtspClient
from test_rtsp import SETTINGS, Publisher

ANSWER_SECONDS = 20.0
# Silent connections are closed after RTSPServerSettings.firstRequestTimeout (10 s).
SILENT_SECONDS = 30.0
CONNECTIONS, FULL_CONNECTIONS = 6_000, 100_000
# Of the configuration in this test, and of one address.
HELD, FULL_HELD = 2_000, 18_000
PER_ADDRESS = 500
# Descriptors of this process beside the connections.
SPARE_FILES = 500
KIB_PER_CONNECTION = 32
# What the server's memory moves by of itself.
SLACK_KIB = 48 << 10

REQUEST = "{method} {url} RTSP/1.0\r\nCSeq: {sequence}\r\n{more}\r\n"


class Raw:
    """A connection that sends what it likes."""

    def __init__(self, server):
        self.server = server

    async def __aenter__(self) -> "Raw":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.server.rtsp_port)
        return self

    async def __aexit__(self, *_) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def status(self) -> int | None:
        """Of the next answer; None: closed without one."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            async with asyncio.timeout(ANSWER_SECONDS):
                head = await self.reader.readuntil(b"\r\n\r\n")
                return int(head.split(b" ", 2)[1])
        return None

    async def closed(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while await self.reader.read(1 << 16):
                    pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True


def request(method: str, url: str, sequence: int = 1, **headers: str) -> bytes:
    more = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in headers.items())
    return REQUEST.format(method=method, url=url, sequence=sequence, more=more).encode()


async def refused(server, data: bytes, *statuses: int | None) -> None:
    """Answered so, or not at all, and cut off."""
    async with Raw(server) as raw:
        await raw.send(data)
        status = await raw.status()
        assert status in statuses, (status, data[:60])
        assert await raw.closed(), data[:60]


async def wrong_heads(server, url: str) -> None:
    await asyncio.gather(
        refused(server, request("OPTIONS", url, A="x" * 40_000), 400, 414),
        refused(server, b"OPTIONS " + b"x" * (1 << 20), 400, 414, None),
        refused(server, b"OPTIONS * RTSP/1.0\r\n" + b"A: b\r\n" * 20_000, 400, None),
        refused(server, request("OPTIONS", url, Content_Length="99999999999"), 400, 413),
        refused(server, request("OPTIONS", url, Content_Length="-1"), 400),
        refused(server, b"\x16\x03\x01" + bytes(200), 400, None),
        refused(server, b"OPTIONS * RTSP/1.0\r\nA: \x00\r\n\r\n", 400),
    )


async def wrong_frames(server, url: str) -> None:
    """`$` with lengths that do not fit: what follows is lost with them, and nothing else."""
    async with Raw(server) as raw:
        # Packets for channels that nobody has, none longer than told: ignored, and answers come.
        await raw.send(b"$\x07" + struct.pack(">H", 3) + b"abc" + b"$\xff\x00\x00" + request("OPTIONS", url))
        assert await raw.status() == 200
        # One that is longer than told leaves bytes that are no message.
        await raw.send(b"$\x00\x00\x02abc\x00\x01" + request("OPTIONS", url, 2))
        assert await raw.status() in (400, None) and await raw.closed()
    async with Raw(server) as raw:
        # One that is shorter than told takes in the request behind it.
        await raw.send(b"$\x00\xff\xff" + request("OPTIONS", url))
        await raw.send(bytes(0xFFFF - len(request("OPTIONS", url))) + request("OPTIONS", url, 2))
        assert await raw.status() == 200


async def races(server, url: str) -> None:
    """Whole sessions in one piece, TEARDOWN before anything is answered, and the connection cut at every turn."""
    session = (request("DESCRIBE", url, 1) + request("SETUP", f"{url}/trackID=0", 2, Transport="RTP/AVP/TCP;interleaved=0-1")
               + request("PLAY", url, 3) + request("TEARDOWN", url, 4) + request("TEARDOWN", url, 5))
    for cut in (len(session), len(session) - 60, len(session) // 2, 90):
        async with asyncio.TaskGroup() as group:
            async def one(cut=cut) -> None:
                async with Raw(server) as raw:
                    await raw.send(session[:cut])
            for _ in range(25):
                group.create_task(one())
    # Two at once of one who plays.
    async with RtspClient(url) as client:
        await client.play()
        client.writer.write((f"TEARDOWN {url} RTSP/1.0\r\nCSeq: 90\r\nSession: {client.session}\r\n\r\n" * 2).encode())
        answers = [await asyncio.wait_for(client.answers.get(), ANSWER_SECONDS) for _ in range(2)]
        assert [answer and answer.status for answer in answers] in ([200, 454], [200, None]), answers


async def setup_after_record(server) -> None:
    url = server.rtsp("recorder")
    sdp = ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
           "m=audio 0 RTP/AVP 0\r\na=control:trackID=0\r\nm=audio 0 RTP/AVP 8\r\na=control:trackID=1\r\n")
    async with Raw(server) as raw:
        await raw.send(request("ANNOUNCE", url, 1, Content_Type="application/sdp", Content_Length=str(len(sdp)))
                       + sdp.encode())
        assert await raw.status() == 200
        await raw.send(request("SETUP", f"{url}/trackID=0", 2,
                               Transport="RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"))
        head = await asyncio.wait_for(raw.reader.readuntil(b"\r\n\r\n"), ANSWER_SECONDS)
        assert b" 200 " in head.split(b"\r\n")[0], head
        session = next(line for line in head.decode().split("\r\n") if line.lower().startswith("session:"))
        session = session.split(":", 1)[1].split(";")[0].strip()
        await raw.send(request("RECORD", url, 3, Session=session))
        assert await raw.status() == 200
        await raw.send(request("SETUP", f"{url}/trackID=1", 4, Session=session,
                               Transport="RTP/AVP/TCP;unicast;interleaved=2-3;mode=record"))
        assert await raw.status() == 455
        await raw.send(request("TEARDOWN", url, 5, Session=session))
        assert await raw.status() == 200


async def third_parties(server, url: str) -> None:
    """Nobody else is sent to, whatever a header says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as victim:
        victim.bind(("127.0.0.9", 0))
        victim.setblocking(False)
        port = victim.getsockname()[1] & ~1
        for header in (f"destination=127.0.0.9;client_port={port}-{port + 1}",
                       f'dest_addr="127.0.0.9:{port}"/"127.0.0.9:{port + 1}"'):
            async with Raw(server) as raw:
                await raw.send(request("SETUP", f"{url}/trackID=0", 1, Transport=f"RTP/AVP;unicast;{header}"))
                assert await raw.status() in (400, 403, 461), header
        with pytest.raises(BlockingIOError):
            victim.recv(1)


async def test_hostile_bytes_harm_nobody(start_server, clips):
    server = start_server(SETTINGS)
    url = server.rtsp("VP8")
    async with Publisher(server, clips("VP8", 10)), RtspClient(url) as player:
        await player.play()
        await asyncio.gather(wrong_heads(server, url), wrong_frames(server, url), races(server, url),
                             setup_after_record(server), third_parties(server, url))
        seen = len(player.of("video"))
        await player.until(lambda: len(player.of("video")) > seen + 10)
        numbers = [packet.number for packet in player.of("video")]
        assert all((b - a) % 65_536 == 1 for a, b in zip(numbers, numbers[1:]))
        async with asyncio.timeout(ANSWER_SECONDS):
            # The player's connection alone is left.
            while connections(server) != 1:
                await asyncio.sleep(0.1)


def connections(server) -> float | None:
    """Of RTSP. Where there is no room for anybody, there is none for who asks: None."""
    with contextlib.suppress(OSError):
        return server.metrics()["weir_rtsp_connections"]
    return None


def knock(server, count: int, held: int) -> list[socket.socket]:
    """Opens so many connections and says nothing on them; those that the server has closed make room for others."""
    mine: list[socket.socket] = []
    for index in range(count):
        if len(mine) >= held:
            # The oldest that are left say whether there is still somebody.
            mine, old = mine[held // 4:], mine[:held // 4]
            for sock in old:
                sock.close()
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.bind((f"127.0.{1 + index % 250}.1", 0))
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            sock.connect(("127.0.0.1", server.rtsp_port))
        mine.append(sock)
        if index % 100 == 99:
            time.sleep(0.001)
    return mine


@pytest.mark.limit(180)
async def test_silent_connections_are_bounded_and_closed(start_server, clips, full, record_property):
    count, held = (FULL_CONNECTIONS, FULL_HELD) if full else (CONNECTIONS, HELD)
    server = start_server({**SETTINGS, "limits": {"connections": held, "connections_per_address": PER_ADDRESS}})
    url = server.rtsp("VP8")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with Publisher(server, clips("VP8", 60 if full else 10)), RtspClient(url) as player:
        await player.play()
        before, most = server.resident_kib(), 0
        mine: list[socket.socket] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            knocking = asyncio.create_task(asyncio.to_thread(knock, server, count, min(held * 2, hard - SPARE_FILES)))
            while not knocking.done():
                await asyncio.wait([knocking], timeout=0.2)
                most = max(most, connections(server) or 0)
            mine = await knocking
            grown = server.resident_kib() - before
            numbers = [packet.number for packet in player.of("video")]
            assert all((b - a) % 65_536 == 1 for a, b in zip(numbers, numbers[1:]))
            if not full:
                for sock in mine:
                    sock.close()
            # Who keeps silence loses the place, and others get in.
            async with asyncio.timeout(SILENT_SECONDS):
                while True:
                    with contextlib.suppress(AssertionError, OSError):
                        async with RtspClient(url) as late:
                            assert (await late.describe()).status == 200
                            break
                    await asyncio.sleep(0.2)
                while (left := connections(server)) is None or left > 1:
                    await asyncio.sleep(0.2)
        finally:
            for sock in mine:
                sock.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert most <= held, most
        assert grown <= most * KIB_PER_CONNECTION + SLACK_KIB, (grown, most)
        line = f"{count} silent connections: at most {most:.0f} held, {grown >> 10} MiB; {left:.0f} left"
        record_property("silent", line)
        print(line)
