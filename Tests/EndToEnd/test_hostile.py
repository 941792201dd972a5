"""Hostile datagrams at the media port: nobody else's stream notices, memory stays bounded, a counter moves.

Counters: weir_media_datagrams_rejected_total by reason (malformed, unknown_user, stun_rejected, unknown_source,
authentication_failed, replayed, unknown_ssrc), weir_media_retransmissions_refused_total,
weir_media_key_frame_requests_merged_total.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time

import pytest

from aiortc_peer import AiortcPeer
from dtls_forgery import forged_records
from hostile import live  # noqa: F401 (a fixture)
from hostile import (
    BINDING_ERROR, BINDING_SUCCESS, ICE_CONTROLLED, Credentials, check, client_hello, error_code, flood, nack, noise,
    open_player, open_publisher, pli, rejected, replies, rtcp, rtp, send_datagram, send_protected, udp_socket,
)

# Error replies that all unauthenticated checks together may cause, of all (two) workers.
MOST_ERROR_REPLIES_A_SECOND = 100
# What one player's NACKs may cost: bytes per second and a burst (Worker's retransmission budget), as the issue wants.
RETRANSMISSION_RATE = 1_250_000
RETRANSMISSION_BURST = 500_000
KEY_FRAME_INTERVAL_SECONDS = 0.3


def ssrc_of(peer: AiortcPeer, kind: str) -> int:
    """SSRC that the peer sends this kind of media with."""
    return next(t.sender._ssrc for t in peer.pc.getTransceivers() if t.kind == kind)


def remote_ssrc(peer: AiortcPeer) -> int:
    """SSRC of the video that the server sends to the peer."""
    video = peer.pc.remoteDescription.sdp.split("m=video")[1]
    return int(video.split("a=ssrc:")[1].split()[0])


def check_error_replies(got: list[bytes], codes: set[int], seconds: float, longest: int) -> None:
    """Refusals are few, say what they should, and are no longer than what asked for them."""
    assert {error_code(reply) for reply in got} <= codes, {error_code(reply) for reply in got}
    assert len(got) <= MOST_ERROR_REPLIES_A_SECOND * (seconds + 1), f"{len(got)} error replies in {seconds:.1f} s"
    assert max(map(len, got), default=0) <= longest, "an error reply amplifies"


def transport_of(peer: AiortcPeer):
    """The DTLS transport of a bundled peer."""
    transceiver = peer.pc.getTransceivers()[0]
    return transceiver.sender.transport or transceiver.receiver.transport


async def test_truncated_stun_and_lying_lengths(live):
    good = check("nobody:peer", "x" * 24)
    lies = [good[:2] + struct.pack(">H", n) + good[4:] for n in range(0, 0x10000, 97) if n != len(good) - 20]
    # The attribute's length instead of the message's.
    lies += [good[:22] + struct.pack(">H", n) + good[24:] for n in range(16, 0x10000, 97)]
    packets = [good[:n] for n in range(1, len(good))] + lies
    async with live.unaffected(rejected("malformed"), least=0.9 * len(packets)):
        with udp_socket(live.server) as attacker:
            await flood(attacker, packets, len(packets))
            assert not await replies(attacker, 0.3), "malformed STUN was answered"


@pytest.mark.limit(90)
async def test_flood_of_checks_for_unknown_users(live, full):
    count = 1_000_000 if full else 50_000
    packets = [check(f"{os.urandom(6).hex()}:peer", "x" * 24) for _ in range(500)]
    # Less than all: what is more than the socket's buffer holds is the kernel's to drop.
    async with live.unaffected(rejected("unknown_user"), least=0.5 * count):
        with udp_socket(live.server) as attacker:
            begin = time.monotonic()
            await flood(attacker, (packets[n % 500] for n in range(count)), count)
            got = await replies(attacker, 0.3)
            check_error_replies(got, {401}, time.monotonic() - begin, max(map(len, packets)))


async def test_checks_with_bad_integrity(live):
    known = Credentials.of(live.publisher)
    packets = [check(known.user, "wrong password of 28 letters") for _ in range(2000)]
    async with live.unaffected(rejected("stun_rejected"), least=1000):
        with udp_socket(live.server) as attacker:
            begin = time.monotonic()
            await flood(attacker, packets, len(packets), rate=2000)
            got = await replies(attacker, 0.3)
    assert got
    check_error_replies(got, {401}, time.monotonic() - begin, max(map(len, packets)))


async def test_checks_in_the_wrong_role_move_no_media(live):
    known = Credentials.of(live.player)
    async with live.unaffected(rejected("stun_rejected"), least=5):
        with udp_socket(live.server) as attacker:
            packets = [check(known.user, known.server_password, role=ICE_CONTROLLED) for _ in range(10)]
            await flood(attacker, packets, len(packets))
            got = await replies(attacker, 0.5)
    assert got and {error_code(reply) for reply in got} == {487}
    assert all(struct.unpack_from(">H", reply)[0] == BINDING_ERROR for reply in got), "media followed a refused check"


async def test_client_hello_of_an_unvalidated_address_gets_no_answer(live):
    hello = client_hello()
    packets = [hello, hello[:40], hello[:13]] * 300
    async with live.unaffected(rejected("unknown_source"), least=0.9 * len(packets)):
        with udp_socket(live.server) as attacker:
            await flood(attacker, packets, len(packets))
            assert not await replies(attacker, 1.0), "DTLS answers an address that ICE has not validated"


async def test_media_of_an_unvalidated_address(live):
    ssrc = ssrc_of(live.publisher, "video")
    packets = [rtp(ssrc, n, 96) for n in range(2000)] + [pli(ssrc), nack(ssrc, [1, 100])] * 500
    async with live.unaffected(rejected("unknown_source"), least=0.9 * len(packets)):
        with udp_socket(live.server) as attacker:
            await flood(attacker, packets, len(packets))
            assert not await replies(attacker, 0.3)


async def test_noise(live, full):
    count, seed = (500_000 if full else 20_000), int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    async with live.unaffected(rejected("unknown_source"), rejected("malformed"), least=100):
        with udp_socket(live.server) as attacker:
            await flood(attacker, noise(seed), count)
            assert not await replies(attacker, 0.3), "noise was answered"


async def test_forged_and_repeated_packets_of_an_authenticated_peer(live, name):
    peer = await open_publisher(live, name)
    try:
        transport = transport_of(peer)
        genuine = transport._tx_srtp.protect(rtp(0x77777777, 1, 96))
        async with live.unaffected(rejected("authentication_failed"), rejected("replayed"), least=100):
            for n in range(200):
                await send_datagram(transport, rtp(0x77777777, n, 96, os.urandom(200)))
                await send_datagram(transport, rtcp(0, 201, os.urandom(60)))
                await send_datagram(transport, genuine)
            await send_datagram(transport, b"\x80\x60")
    finally:
        await peer.close()


async def test_records_that_break_dtls_after_the_handshake(live, name, monkeypatch):
    """Encrypted with the right keys, so that OpenSSL takes them for the peer's own words."""
    contents = {"change cipher spec": 20, "alert": 21, "handshake": 22, "data": 23, "unknown": 99}
    with forged_records(monkeypatch) as forge:
        peers = [await open_publisher(live, f"{name}-{n}") for n in range(len(contents))]
        others = []
        try:
            async with live.unaffected():
                for peer, kind in zip(peers, contents.values()):
                    transport = transport_of(peer)
                    for n in range(40):
                        await send_datagram(transport, forge(transport, kind, 100 + n, os.urandom(n + 1)))
                # The workers that got them still answer: new peers can connect to each.
                others = [await open_publisher(live, f"{name}-after-{n}") for n in range(4)]
        finally:
            for peer in peers + others:
                await peer.close()


async def test_authenticated_peers_with_the_ssrc_of_others(live, name):
    """A publisher and a player send with the SSRC of the live stream; what they send stays in their own sessions."""
    publisher, player = await open_publisher(live, name), await open_player(live)
    try:
        ssrc = ssrc_of(live.publisher, "video")
        async with live.unaffected(rejected("unknown_ssrc"), least=500):
            for n in range(500):
                await send_protected(transport_of(publisher), rtp(ssrc, n, 126, os.urandom(100)))
                await send_protected(transport_of(player), rtp(ssrc, n, 96, os.urandom(100)))
                # Known payload type, another source each time: numbering starts anew again and again.
                await send_protected(transport_of(publisher), rtp(0x1000 + n, 0xFFFF - n, 97, os.urandom(100)))
    finally:
        await player.close()
        await publisher.close()


async def test_malformed_rtcp_of_an_authenticated_peer(live):
    peer = await open_player(live)
    try:
        transport = transport_of(peer)
        bodies = [
            struct.pack(">BBHI", 0x9F, 201, 1, 1),  # 31 blocks announced, none there
            struct.pack(">BBHI", 0xA1, 205, 1, 1) + b"\xff\xff\xff\xff",  # padding beyond the packet
            struct.pack(">BBHI", 0x81, 201, 1, 1) + b"\x81\xc9\xff\xff",  # the second one's length lies
            rtcp(15, 206, struct.pack(">II", 1, 0) + b"REMB\xff\xff\xff\xff"),
            rtcp(15, 205, struct.pack(">II", 1, 0) + b"\0\0\xff\xff" + b"\0" * 64),
            rtcp(31, 202, struct.pack(">I", 1) + b"\1\xff" + b"x" * 30),
            struct.pack(">BBHI", 0x80, 201, 1, 1) * 100,
        ]
        async with live.unaffected(rejected("malformed"), least=0.9 * 100 * len(bodies)):
            for _ in range(100):
                for body in bodies:
                    await send_protected(transport, body)
                await asyncio.sleep(0)
    finally:
        await peer.close()


async def test_storm_of_nacks_stays_within_the_retransmission_budget(live, full):
    peer = await open_player(live)
    seen = {"bytes": 0, "sequence": 0}
    try:
        transport, ssrc = transport_of(peer), remote_ssrc(peer)
        handle = transport._handle_rtp_data

        async def watch(data, arrival_time_ms):
            seen["bytes"] += len(data)
            if struct.unpack_from(">I", data, 8)[0] == ssrc:
                seen["sequence"] = struct.unpack_from(">H", data, 2)[0]
            await handle(data, arrival_time_ms)

        transport._handle_rtp_data = watch
        while not seen["sequence"]:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        plain = seen["bytes"]
        await asyncio.sleep(1)
        plain, length = seen["bytes"] - plain, 60 if full else 3
        async with live.unaffected("weir_media_retransmissions_refused_total", least=1000):
            first, begin = seen["bytes"], time.monotonic()
            while (seconds := time.monotonic() - begin) < length:
                asked = [seen["sequence"] - 17 * n for n in range(16)]
                for _ in range(5):
                    await send_protected(transport, nack(ssrc, asked))
                await asyncio.sleep(0.02)
            got = seen["bytes"] - first
        allowed = RETRANSMISSION_BURST + RETRANSMISSION_RATE * (seconds + 0.5) + 2 * plain * (seconds + 1)
        assert got <= allowed, f"{got} bytes in {seconds:.1f} s, allowed {allowed:.0f}"
        assert got > 1.5 * plain * seconds, "the storm brought no retransmissions: the test proves nothing"
    finally:
        await peer.close()


async def test_storm_of_plis_is_merged(live):
    peer = await open_player(live)
    asked = 0
    sender = next(t.sender for t in live.publisher.pc.getTransceivers() if t.kind == "video")
    handle = sender._handle_rtcp_packet

    async def count(packet):
        nonlocal asked
        # RTCPFB PSFB (206) of format 1 is a PLI.
        asked += getattr(packet, "fmt", None) == 1 and type(packet).__name__ == "RtcpPsfbPacket"
        await handle(packet)

    sender._handle_rtcp_packet = count
    try:
        ssrc, begin = remote_ssrc(peer), time.monotonic()
        async with live.unaffected("weir_media_key_frame_requests_merged_total", least=500):
            for _ in range(100):
                for _ in range(20):
                    await send_protected(transport_of(peer), pli(ssrc))
                await asyncio.sleep(0.02)
        seconds = time.monotonic() - begin
        assert 1 <= asked <= seconds / KEY_FRAME_INTERVAL_SECONDS + 2, f"{asked} PLIs in {seconds:.1f} s"
    finally:
        sender._handle_rtcp_packet = handle
        await peer.close()


async def test_one_peer_at_many_addresses(live, name):
    """Each valid check opens a path; only a few are kept, and the peer's own stream goes on."""
    peer = await open_publisher(live, name)
    try:
        known = Credentials.of(peer)
        good = [check(known.user, known.server_password) for _ in range(150)]
        answered = 0
        async with live.unaffected():
            for packet in good:
                with udp_socket(live.server) as attacker:
                    attacker.send(packet)
                    got = await replies(attacker, 0.01)
                    answered += any(struct.unpack_from(">H", reply)[0] == BINDING_SUCCESS for reply in got)
        assert answered > 75, answered
        assert peer.pc.connectionState == "connected"
    finally:
        await peer.close()
