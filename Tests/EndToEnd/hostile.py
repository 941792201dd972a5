"""What the tests with hostile input share: a live stream that must not notice, and packets as attackers make them."""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import hashlib
import hmac
import os
import random
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from aiortc_peer import AiortcPeer
from weir_server import WeirServer

MAGIC_COOKIE = 0x2112A442
FINGERPRINT_MASK = 0x5354554E
BINDING_REQUEST, BINDING_SUCCESS, BINDING_ERROR = 0x0001, 0x0101, 0x0111
USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, PRIORITY = 0x0006, 0x0008, 0x0009, 0x0024
USE_CANDIDATE, FINGERPRINT, ICE_CONTROLLED, ICE_CONTROLLING = 0x0025, 0x8028, 0x8029, 0x802A

# Part of the pictures sent meanwhile that must arrive during an attack, and how many may still be on their way. The
# publisher lives in the attacker's process: on a busy machine both get slower, and that is not the server's doing.
LEAST_ARRIVED = 0.7
PICTURES_ON_THEIR_WAY = 8
LONGEST_GAP_SECONDS = 3.0
LEAST_SECONDS = 1.2
# An attack may leave behind what a server needs anyway (packet slots, buffers of sockets and allocator), no more.
MEMORY_GROWTH_KIB = 24 * 1024
COUNTER_LIMIT_SECONDS = 5.0
SETTINGS = {
    "media": {"workers": 2, "tcp_connections_per_address": 4096},
    "websocket": {"connect_timeout": "3s"},
    "http": {"idle_timeout": "3s"},
}


# STUN ----------------------------------------------------------------------------------------------------------------

def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes (RFC 8489 section 14)."""
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


def stun(*attributes: bytes, kind: int = BINDING_REQUEST, transaction: bytes | None = None) -> bytes:
    """A message without checks on it."""
    body = b"".join(attributes)
    return struct.pack(">HHI", kind, len(body), MAGIC_COOKIE) + (transaction or os.urandom(12)) + body


def signed(message: bytes, password: str) -> bytes:
    """The message with MESSAGE-INTEGRITY and FINGERPRINT (RFC 8489 sections 14.5 and 14.7)."""
    def with_length(extra: int) -> bytes:
        return message[:2] + struct.pack(">H", len(message) - 20 + extra) + message[4:]

    message = with_length(24)
    digest = hmac.new(password.encode(), message, hashlib.sha1).digest()
    message += attribute(MESSAGE_INTEGRITY, digest)
    message = with_length(8)
    return message + attribute(FINGERPRINT, struct.pack(">I", binascii.crc32(message) ^ FINGERPRINT_MASK))


def check(user: str, password: str, *extra: bytes, role: int = ICE_CONTROLLING) -> bytes:
    """A connectivity check (RFC 8445 section 7.2.2)."""
    return signed(
        stun(attribute(USERNAME, user.encode()), attribute(PRIORITY, struct.pack(">I", 0x6E0001FF)),
             attribute(role, os.urandom(8)), *extra), password)


def error_code(reply: bytes) -> int | None:
    """Number in ERROR-CODE of a reply; None if it has none."""
    at = 20
    while at + 4 <= len(reply):
        kind, length = struct.unpack_from(">HH", reply, at)
        if kind == ERROR_CODE:
            return reply[at + 6] * 100 + reply[at + 7]
        at += 4 + (length + 3) // 4 * 4
    return None


def credential(sdp: str, name: str) -> str:
    """First `a=ice-ufrag` or `a=ice-pwd` of a description."""
    return next(line.split(":", 1)[1] for line in sdp.splitlines() if line.startswith(f"a={name}:"))


@dataclass
class Credentials:
    """What one needs to write checks for a session: the server's fragment and password, and the peer's fragment."""

    server_fragment: str
    server_password: str
    peer_fragment: str

    @classmethod
    def of(cls, peer: AiortcPeer) -> "Credentials":
        answer, offer = peer.pc.remoteDescription.sdp, peer.pc.localDescription.sdp
        return cls(credential(answer, "ice-ufrag"), credential(answer, "ice-pwd"), credential(offer, "ice-ufrag"))

    @property
    def user(self) -> str:
        return f"{self.server_fragment}:{self.peer_fragment}"


# RTP and RTCP --------------------------------------------------------------------------------------------------------

def rtp(ssrc: int, sequence: int, payload_type: int, payload: bytes = b"\x10payload", timestamp: int = 0) -> bytes:
    """An RTP packet (RFC 3550 section 5.1)."""
    return struct.pack(">BBHII", 0x80, payload_type, sequence & 0xFFFF, timestamp, ssrc) + payload


def rtcp(count: int, kind: int, body: bytes) -> bytes:
    """An RTCP packet (RFC 3550 section 6.4)."""
    return struct.pack(">BBH", 0x80 | count, kind, len(body) // 4) + body


def nack(media: int, sequences: list[int]) -> bytes:
    """A generic NACK (RFC 4585 section 6.2.1) that asks for each number and the 16 behind it."""
    entries = b"".join(struct.pack(">HH", n & 0xFFFF, 0xFFFF) for n in sequences)
    return rtcp(1, 205, struct.pack(">II", 1, media) + entries)


def pli(media: int) -> bytes:
    """A picture loss indication (RFC 4585 section 6.3.1)."""
    return rtcp(1, 206, struct.pack(">II", 1, media))


def client_hello() -> bytes:
    """A DTLS 1.2 ClientHello that a server would answer with a certificate chain: an amplifier's dream."""
    ciphers = bytes.fromhex("c02bc02fc02cc030c009c013")
    # Groups, point formats, signature algorithms, extended master secret, SRTP profiles.
    extensions = bytes.fromhex(
        "000a00040002001d" "000b00020100" "000d0006000404030401" "00170000" "000e0007000400070001" "00")
    body = b"\xfe\xfd" + os.urandom(32) + b"\0\0" + struct.pack(">H", len(ciphers)) + ciphers + b"\1\0"
    body += struct.pack(">H", len(extensions)) + extensions
    length = struct.pack(">I", len(body))[1:]
    handshake = b"\1" + length + b"\0\0" + b"\0\0\0" + length + body
    return b"\x16\xfe\xfd" + bytes(8) + struct.pack(">H", len(handshake)) + handshake


async def send_protected(transport, packet: bytes) -> None:
    """Sends RTP or RTCP as an authenticated peer does: under its SRTP keys."""
    await transport._send_rtp(packet)


async def send_datagram(transport, packet: bytes) -> None:
    """Sends bytes from an authenticated peer's address, as they are."""
    await transport.transport._send(packet)


# Sending -------------------------------------------------------------------------------------------------------------

def udp_socket(server: WeirServer) -> socket.socket:
    """A socket that only knows the server's media port; what it gets is an answer to the attacker."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.connect(("127.0.0.1", server.media_port))
    one.setblocking(False)
    return one


async def flood(one: socket.socket, packets, count: int, rate: float = 20_000.0) -> int:
    """Sends `count` datagrams of the iterable at no more than `rate` a second, the event loop going on meanwhile."""
    sent = 0
    begin = time.monotonic()
    for packet in packets:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            one.send(packet)
        sent += 1
        if sent >= count:
            break
        if sent % 50 == 0:
            await asyncio.sleep(max(0.0, begin + sent / rate - time.monotonic()))
    return sent


async def replies(one: socket.socket, seconds: float) -> list[bytes]:
    """Datagrams that arrive within that time."""
    got: list[bytes] = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            got.append(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(one, 4096), left))
        except (asyncio.TimeoutError, ConnectionRefusedError):
            pass
    return got


def noise(seed: int, largest: int = 1400):
    """Endless random datagrams, the same for the same seed; a third have the first byte of a protocol of ours."""
    source = random.Random(seed)
    while True:
        packet = bytearray(source.randbytes(source.randint(1, largest)))
        if source.random() < 0.33:
            packet[0] = source.choice([0, 1, 22, 0x80, 0x90, 0xBF])
        yield bytes(packet)


# The stream that must not notice -------------------------------------------------------------------------------------

class LiveStream:
    """A server of its own with one aiortc publisher and one aiortc player."""

    def __init__(self, directory: Path):
        self.server = WeirServer(directory, SETTINGS)
        self.name = "live"
        self.publisher, self.player = AiortcPeer(), AiortcPeer()

    async def start(self) -> "LiveStream":
        self.server.start()
        self.publisher.send("VP8")
        await self.publisher.post(self.server.whip(self.name))
        await self.publisher.connected()
        self.player.receive()
        await self.player.post(self.server.whep(self.name))
        await self.player.connected()
        await self.player.wait_frames(30)
        return self

    async def stop(self) -> int | None:
        """The exit status of the server."""
        if self.server.is_running:
            await self.player.close()
            await self.publisher.close()
        return await asyncio.to_thread(self.server.stop)

    @property
    def sent(self) -> int:
        """Pictures that the publisher has made."""
        return next(t.sender.track.count for t in self.publisher.pc.getTransceivers() if t.kind == "video")

    async def metrics(self) -> dict[str, float]:
        return await asyncio.to_thread(self.server.metrics)

    async def wait_counter(self, name: str, above: float, limit: float = COUNTER_LIMIT_SECONDS) -> float:
        """Waits for the counter to pass `above`."""
        end = time.monotonic() + limit
        while (value := (await self.metrics()).get(name, 0.0)) <= above:
            assert time.monotonic() < end, f"{name} stays at {value}, wanted more than {above}"
            await asyncio.sleep(0.1)
        return value

    @contextlib.asynccontextmanager
    async def unaffected(self, *counters: str, least: float = 1.0, growth_kib: int = MEMORY_GROWTH_KIB):
        """Around an attack: pictures go on, memory stays bounded, and each counter moves by `least` or more."""
        before = await self.metrics()
        memory = self.server.resident_kib()
        watch = asyncio.create_task(self._watch())
        first, first_sent, begin = self.player.frames, self.sent, time.monotonic()
        yield before
        for name in counters:
            await self.wait_counter(name, before.get(name, 0.0) + least - 0.5)
        # Long enough to see frames after the attack, too.
        await asyncio.sleep(max(0.3, LEAST_SECONDS - (time.monotonic() - begin)))
        frames, sent = self.player.frames - first, self.sent - first_sent
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        assert self.server.is_running, f"weir ended with {self.server.process.returncode}\n{self.server.log_tail()}"
        assert frames >= LEAST_ARRIVED * sent - PICTURES_ON_THEIR_WAY, f"{frames} pictures of {sent} during the attack"
        grown = self.server.resident_kib() - memory
        assert grown < growth_kib, f"memory grew by {grown} KiB"
        assert self.publisher.pc.connectionState == self.player.pc.connectionState == "connected"

    async def _watch(self) -> None:
        """Fails the attack's test as soon as the pictures stand still."""
        frames, last = self.player.frames, time.monotonic()
        while True:
            await asyncio.sleep(0.05)
            if self.player.frames != frames:
                frames, last = self.player.frames, time.monotonic()
            gap = time.monotonic() - last
            assert gap < LONGEST_GAP_SECONDS, f"no picture for {gap:.1f} s"


def rejected(reason: str) -> str:
    """Name of the counter of refused datagrams."""
    return f'weir_media_datagrams_rejected_total{{reason="{reason}"}}'


def wcs_rejected(reason: str) -> str:
    """Name of the counter of refused WebSocket messages and connections."""
    return f'weir_wcs_rejected_total{{reason="{reason}"}}'


@pytest.fixture(scope="module")
def live(request, tmp_path_factory):
    """A live stream for the attacks of one file; its server must end cleanly afterwards."""
    loop = request.config.event_loop
    stream = LiveStream(tmp_path_factory.mktemp("hostile") / "weir")
    loop.run_until_complete(stream.start())
    yield stream
    status = loop.run_until_complete(stream.stop())
    assert status == 0, f"weir ended with {status}\n{stream.server.log_tail()}"


async def open_publisher(live: LiveStream, name: str) -> AiortcPeer:
    """Another publisher at the same server: an authenticated peer that may mean harm."""
    peer = AiortcPeer()
    peer.send("VP8", audio=False)
    await peer.post(live.server.whip(name))
    await peer.connected()
    return peer


async def open_player(live: LiveStream) -> AiortcPeer:
    """Another player of the live stream."""
    peer = AiortcPeer()
    peer.receive(decode=False, audio=False)
    await peer.post(live.server.whep(live.name))
    await peer.connected()
    return peer
