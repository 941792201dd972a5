"""RTSP players by UDP: ffmpeg, GStreamer and a client by hand play what a WebRTC publisher sends, from the two ports
that all of them share."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
import time
from pathlib import Path

import pylibsrtp
import pytest

import test_rtsp
from gstreamer import PYTHON
from recorded_media import Recorded, read_back
from rest_api import done, get
from rtsp_udp_client import RtspUdpClient, bound_pair
from test_rtsp_publish import Ffmpeg, encoded  # noqa: F401
from test_rtsp_publish import Publisher as Program
from test_rtsp_publish import judge as judge_published
from test_rtsp import FIRST_PICTURE_SECONDS, FULL_SECONDS, HERE, LIMIT_SECONDS, SECONDS, Publisher, is_key, judge, run

# Of the configuration, its least; and what sessions are given beyond it.
SESSION_TIMEOUT, GRACE = 10, 10
KEY_FRAME_WAIT = 0.25
SETTINGS = {"media": {"overload_delay": "1m"}, "rtsp": {"session_timeout": f"{SESSION_TIMEOUT}s"}}
# For datagrams that are on their way when a request is answered.
UNDER_WAY_SECONDS = 0.3
# What was in the server's hands when the request came.
QUIET_SECONDS = 1.5


async def play_with_ffmpeg(url: str, path: Path, limit: float) -> Recorded:
    await run(
        "ffmpeg", "-v", "error", "-y", "-rtsp_transport", "udp", "-buffer_size", "4000000", "-i", url, "-c", "copy",
        # It does not see which of VP9's pictures are key frames.
        "-copyinkf", str(path), limit=limit)
    return await asyncio.to_thread(read_back, path)


async def play_with_gstreamer(url: str, path: Path, limit: float) -> Recorded:
    said = await run(PYTHON, str(HERE / "gst_rtsp.py"), url, str(path), str(limit), "udp", limit=limit + 5)
    facts = json.loads(said)
    assert facts["problem"] is None and facts["decrypted"] == (2 if "srtp=" in url else 0), said
    return await asyncio.to_thread(read_back, path)


async def play_with_pyav(url: str, path: Path, limit: float) -> Recorded:
    return await test_rtsp.play_with_pyav(url, path, limit, "udp")


PLAYERS = {"ffmpeg": play_with_ffmpeg, "GStreamer": play_with_gstreamer, "PyAV": play_with_pyav}


def url_for(server, codec: str, player: str) -> str:
    """With MIKEY, whose keys are told over TLS; ffmpeg knows SDES, but over TLS no UDP."""
    if "MIKEY" in player:
        return server.rtsp(codec, secure=True) + "?srtp=mikey"
    return server.rtsp(codec) + ("?srtp=sdes" if "SDES" in player else "")


@pytest.mark.limit(90)
async def test_programs_play_every_picture_in_sync(start_server, clips, full, tmp_path, record_property):
    seconds = FULL_SECONDS if full else SECONDS
    server = start_server({**SETTINGS, "rtsp": {**SETTINGS["rtsp"], "srtp_without_tls": True}})
    cases = [
        ("VP8", "ffmpeg"), ("VP9", "ffmpeg"), ("H264", "ffmpeg"), ("H265", "ffmpeg"), ("VP8", "GStreamer"),
        ("VP9", "GStreamer"), ("H264", "GStreamer"), ("AV1", "PyAV"), ("VP8", "GStreamer, SRTP by MIKEY"),
        ("H264", "GStreamer, SRTP by MIKEY"), ("VP8", "ffmpeg, SRTP by SDES"),
    ]
    sent = {codec: clips(codec, seconds) for codec in {codec for codec, _ in cases}}

    async def play(codec: str, player: str) -> tuple[str, Recorded]:
        path = tmp_path / f"{codec}-{player}.mkv"
        facts = await PLAYERS[player.split(",")[0]](url_for(server, codec, player), path, seconds + LIMIT_SECONDS)
        return f"{codec} by {player} over UDP", facts

    async def publish(codec: str) -> list[tuple[str, Recorded]]:
        async with Publisher(server, sent[codec], whole=True):
            playing = [asyncio.create_task(play(*case)) for case in cases if case[0] == codec]
        return await asyncio.gather(*playing)

    played = [one for all_ in await asyncio.gather(*(publish(codec) for codec in sent)) for one in all_]
    for title, facts in played:
        try:
            measured = judge(facts, seconds, shows_all="GStreamer" not in title, hears="PyAV" not in title)
        except AssertionError as problem:
            raise AssertionError(f"{title}: {problem}") from None
        record_property(title, measured)
        print(f"{title}: {measured}")
    metrics = server.metrics()
    assert metrics["weir_rtsp_sent_bytes_total"] < 100_000, "in connections"
    assert metrics["weir_rtsp_srtp_tracks_total"] == 2 * sum("SRTP" in player for _, player in cases)


async def first_pictures(server) -> None:
    """The first picture comes soon and is the one that was told, from the ports that were told."""
    async def watch(codec: str, join_after: float) -> None:
        await asyncio.sleep(join_after)
        async with RtspUdpClient(server.rtsp(codec)) as client:
            infos = await client.play()
            await client.until(lambda: len(client.of("audio")) > 10 and any(p.ends_picture for p in client.of("video")))
            video, audio = client.of("video"), client.of("audio")
            took = next(p.arrival for p in video if p.ends_picture) - client.asked
            assert took <= FIRST_PICTURE_SECONDS, took
            kinds = [track.kind for track in client.tracks]
            info = infos[kinds.index("video")]
            assert info.number == video[0].number, (info, video[0])
            # PLAY is answered without when no key frame has come for so long.
            is_late = client.answered - client.asked >= KEY_FRAME_WAIT
            assert info.timestamp == video[0].timestamp or info.timestamp is None and is_late, (info, video[0])
            assert is_key(codec, video[0].data[12:]), video[0].data[:24].hex()
            info = infos[kinds.index("audio")]
            # The RTP time that belongs to the first picture: sound of about then comes first.
            away = (audio[0].timestamp - (info.timestamp or 0) + (1 << 31)) % (1 << 32) - (1 << 31)
            assert info.number == audio[0].number and (is_late or abs(away) <= 48_000), (info, audio[0], away)
            assert {p.ssrc for p in video} == {client.sources[kinds.index("video")]}
            assert {p.ssrc for p in audio} == {client.sources[kinds.index("audio")]}
            for track in range(2):
                ports = client.server_ports[track]
                assert ports == (server.rtsp_udp_port, server.rtsp_udp_port + 1)
                for side in range(2):
                    assert client.senders[2 * track + side] == {("127.0.0.1", ports[side])}
                # What the clocks are, before any packet could be played.
                report = next(p for p in client.packets if p.channel == 2 * track + 1)
                first = next(p for p in client.packets if p.channel == 2 * track)
                assert report.data[1] == 200 and report.arrival <= first.arrival + 0.05, (report, first)
            for packets in (video, audio):
                numbers = [packet.number for packet in packets]
                assert all((b - a) % 65_536 == 1 for a, b in zip(numbers, numbers[1:])), numbers
            print(f"{codec}, {join_after} s in: first picture {took * 1000:.0f} ms after PLAY")
    await asyncio.gather(*(watch(codec, wait) for codec in ("VP8", "H264") for wait in (0.6, 1.3, 2.1)))


async def pauses_and_ends(server) -> None:
    """Nothing comes while a player pauses, and after its TEARDOWN; others go on."""
    async with RtspUdpClient(server.rtsp("VP8")) as client, RtspUdpClient(server.rtsp("VP8")) as other:
        await asyncio.gather(client.play(), other.play())
        await asyncio.gather(*(one.until(lambda one=one: len(one.of("video")) > 30) for one in (client, other)))
        assert (await client.ask("PAUSE")).status == 200
        paused = time.monotonic()
        await asyncio.sleep(QUIET_SECONDS)
        assert client.last_arrival() < paused + UNDER_WAY_SECONDS, "after PAUSE"
        client.packets.clear()
        assert (await client.ask("PLAY")).status == 200
        await client.until(lambda: len(client.of("video")) > 30 and len(client.of("audio")) > 10)
        assert is_key("VP8", client.of("video")[0].data[12:])
        streams = json.loads((await get(server, "/api/streams"))[2])
        assert [one["rtspPlayers"] for one in streams if one["name"] == "VP8"][0] >= 2, streams
        assert (await client.ask("TEARDOWN")).status == 200
        ended = time.monotonic()
        await asyncio.sleep(QUIET_SECONDS)
        assert client.last_arrival() < ended + UNDER_WAY_SECONDS, "after TEARDOWN"
        assert other.last_arrival() > ended + QUIET_SECONDS - UNDER_WAY_SECONDS
        numbers = [packet.number for packet in other.of("video")]
        assert all((b - a) % 65_536 == 1 for a, b in zip(numbers, numbers[1:]))
    # The end of the stream is told: by RTCP, and in the connection.
    async with RtspUdpClient(server.rtsp("ended")) as client:
        await client.play()
        await client.until(lambda: len(client.of("video")) > 10)
        await done(server, "stream/terminate", {"name": "ended"})
        await client.closed()
        # A goodbye begins with a receiver report, all others of a sender with its own.
        goodbyes = {p.channel for p in client.packets if p.channel % 2 and p.data[1] == 201 and b"\xcb" in p.data}
        assert goodbyes == {1, 3}, goodbyes


async def refusals(server) -> None:
    """Media goes to the address of the connection and to no other, and to ports that are no services'."""
    async with RtspUdpClient(server.rtsp("VP8")) as client:
        await client.describe()
        control = client.tracks[0].control
        for address in ("127.0.0.2", "192.0.2.1"):
            async with RtspUdpClient(server.rtsp("VP8")) as attacker:
                refused = await attacker.set_up_track(control, destination=address)
                assert refused.status == 403, (address, refused)
        assert (await client.set_up_track(control, client_port="53-54")).status == 461
        assert (await client.set_up_track(control, destination="127.0.0.1")).status == 200
        assert (await client.ask("PLAY")).status == 200
        # Another session at the same ports.
        own = "-".join(map(str, client.ports[0]))
        async with RtspUdpClient(server.rtsp("VP8")) as second:
            assert (await second.set_up_track(control, client_port=own)).status == 200
            answer = await second.ask("PLAY")
            assert answer.status == 461 and "another session" in answer.reason, answer
        await client.until(lambda: client.packets)
    before = server.metrics()['weir_media_datagrams_rejected_total{reason="unknown_rtp_client"}']
    async with RtspUdpClient(server.rtsp("VP8")) as client:
        await client.play()
        await client.ask("TEARDOWN")
        client.report()
        async with asyncio.timeout(LIMIT_SECONDS):
            while server.metrics()['weir_media_datagrams_rejected_total{reason="unknown_rtp_client"}'] == before:
                await asyncio.sleep(0.05)


class ProtectedClient(RtspUdpClient):
    """Takes RTP and RTCP by SRTP, under the keys of its description; libsrtp2 says so of a packet that is under others, and of
    one whose number has come before."""

    def opened(self) -> list[bytes]:
        """What has come since the last call, in plain."""
        new, self.packets[:] = list(self.packets), []
        return [(self.inbound[p.channel // 2].unprotect_rtcp if p.channel % 2 else
                 self.inbound[p.channel // 2].unprotect)(p.data) for p in new]

    async def begin(self) -> None:
        body = (await self.describe()).body
        keys = [base64.b64decode(key) for key in re.findall(r"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:(\S+)", body)]
        assert len(keys) == 2 and keys[0] != keys[1] and body.count("RTP/SAVP") == 2, body

        def session(kind: int, key: bytes) -> pylibsrtp.Session:
            return pylibsrtp.Session(pylibsrtp.Policy(
                key=key, ssrc_type=kind, srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80))
        self.inbound = [session(pylibsrtp.Policy.SSRC_ANY_INBOUND, key) for key in keys]
        self.stranger = session(pylibsrtp.Policy.SSRC_ANY_OUTBOUND, keys[1])
        await self.set_up()
        assert (await self.ask("PLAY")).status == 200

    def report_by(self, session: pylibsrtp.Session) -> None:
        report = session.protect_rtcp(struct.pack(">BBHI", 0x80, 201, 1, 1))
        self.pairs[0][1].sendto(report, ("127.0.0.1", self.server_ports[0][1]))


async def protected(server) -> None:
    """Each player has keys of its own, of which no number is used twice, though it pauses; who has others is not heard."""
    wrong = 'weir_media_datagrams_rejected_total{reason="authentication_failed"}'
    async with ProtectedClient(server.rtsp("VP8", secure=True) + "?srtp=sdes") as client, \
            ProtectedClient(server.rtsp("VP8", secure=True) + "?srtp=sdes") as other:
        await asyncio.gather(client.begin(), other.begin())
        for _ in range(3):
            for one in (client, other):
                await one.until(lambda one=one: len(one.of("video")) > 30 and len(one.of("audio")) > 10)
            # Raises for a packet that is under another key, or whose number has come before.
            assert client.opened() and other.opened()
            assert (await client.ask("PAUSE")).status == 200
            client.opened()
            assert (await client.ask("PLAY")).status == 200
        # Under another key, though from the right address.
        await client.until(lambda: client.of("video"))
        with pytest.raises(pylibsrtp.Error):
            other.inbound[0].unprotect(client.of("video")[0].data)
        before = server.metrics()[wrong]
        client.report_by(client.stranger)
        async with asyncio.timeout(LIMIT_SECONDS):
            while server.metrics()[wrong] == before:
                await asyncio.sleep(0.05)
    async with RtspUdpClient(server.rtsp("VP8") + "?srtp=mikey") as plain:
        refused = await plain.describe()
        assert refused.status == 463 and "rtsps" in refused.reason, refused


async def signs_of_life(server) -> None:
    """Who reports lives; who says nothing ends, and gets nothing more."""
    async with RtspUdpClient(server.rtsp("VP8")) as silent, RtspUdpClient(server.rtsp("VP8")) as alive:
        await asyncio.gather(silent.play(), alive.play())
        began = time.monotonic()

        async def report() -> None:
            while True:
                alive.report()
                await asyncio.sleep(3)
        reporting = asyncio.create_task(report())
        await silent.closed(SESSION_TIMEOUT + GRACE + LIMIT_SECONDS)
        closed = time.monotonic()
        assert closed - began >= SESSION_TIMEOUT + GRACE - 1, closed - began
        await asyncio.sleep(QUIET_SECONDS)
        assert silent.last_arrival() < closed + UNDER_WAY_SECONDS
        assert not alive.is_closed and alive.last_arrival() > closed + QUIET_SECONDS - UNDER_WAY_SECONDS
        assert (await alive.ask("GET_PARAMETER")).status == 200
        reporting.cancel()


@pytest.mark.limit(90)
async def test_sessions(start_server, clips):
    server = start_server(SETTINGS)
    # Beyond what the silent player is given, with the time that publishers and players need to come.
    long = SESSION_TIMEOUT + GRACE + 20
    async with Publisher(server, clips("VP8", long)), Publisher(server, clips("H264", 6)), \
            Publisher(server, clips("VP8", 12), name="ended"):
        await asyncio.gather(
            first_pictures(server), pauses_and_ends(server), refusals(server), signs_of_life(server), protected(server))
    assert server.metrics()['weir_rtsp_closed_total{reason="session_timeout"}'] == 1


async def reports_to_publishers(server) -> None:
    """Who publishes by UDP is sent receiver reports there: from the server's RTCP port to the one that it named."""
    sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\na=control:trackID=0\r\n"
    source, sent = 0x1234ABCD, 0
    async with RtspUdpClient(server.rtsp("reported")) as client:
        assert (await client.ask("ANNOUNCE", body=sdp)).status == 200
        rtp, rtcp = bound_pair()
        ports = f"{rtp.getsockname()[1]}-{rtcp.getsockname()[1]}"
        answer = await client.ask(
            "SETUP", client.url + "/trackID=0", Transport=f"RTP/AVP;unicast;client_port={ports};mode=record")
        assert answer.status == 200, answer
        client.session = answer.headers["session"].split(";")[0]
        assert (await client.ask("RECORD")).status == 200
        rtcp.setblocking(False)
        coming = asyncio.create_task(asyncio.get_running_loop().sock_recvfrom(rtcp, 2048))
        async with asyncio.timeout(LIMIT_SECONDS):
            while not coming.done():
                packet = struct.pack(">BBHII", 0x80, 0, sent, 160 * sent, source) + b"\xd5" * 160
                rtp.sendto(packet, ("127.0.0.1", server.rtsp_udp_port))
                sent += 1
                await asyncio.wait({coming}, timeout=0.02)
        report, sender = coming.result()
        first, kind, about, lost, highest = struct.unpack_from(">BB6xIII", report)
        assert sender == ("127.0.0.1", server.rtsp_udp_port + 1), sender
        assert (first, kind, about, lost) == (0x81, 201, source, 0) and 0 < highest < sent, report.hex()
        rtp.close()
        rtcp.close()


@pytest.mark.limit(90)
async def test_publishers(start_server, encoded, tmp_path, record_property):  # noqa: F811
    """What ffmpeg publishes by UDP comes whole to players by UDP."""
    server = start_server(SETTINGS)
    cases = [("H265", "AAC"), ("VP8", "Opus"), ("H264", "PCMA")]
    sources = {case: await asyncio.to_thread(encoded, *case, SECONDS) for case in cases}

    async def one(case) -> tuple[str, Path]:
        name = "-".join(case)
        played = tmp_path / f"{name}.mkv"
        async with Ffmpeg(server, name, sources[case], transport="udp") as publisher:
            await publisher.live()
            await play_with_ffmpeg(server.rtsp(name), played, SECONDS + LIMIT_SECONDS)
            await asyncio.wait_for(publisher.process.wait(), LIMIT_SECONDS)
        return f"{name} over UDP both ways", played

    async def by_srtp() -> None:
        """GStreamer's keys are told in ANNOUNCE, over TLS."""
        command = [PYTHON, str(HERE / "gst_rtsp_publish.py"), server.rtsp("srtp", secure=True), "udp", "VP8", "savp"]
        async with Program(server, "srtp", command) as publisher:
            await publisher.live()
            path = tmp_path / "srtp.mkv"
            await run("ffmpeg", "-v", "error", "-y", "-rtsp_transport", "tcp", "-i", server.rtsp("srtp"), "-t", "3", "-c",
                      "copy", "-copyinkf", str(path), limit=LIMIT_SECONDS)
            said = await run("ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,nb_read_frames",
                             "-of", "json", str(path), limit=LIMIT_SECONDS)
        frames = {one["codec_name"]: int(one["nb_read_frames"]) for one in json.loads(said)["streams"]}
        assert frames["vp8"] >= 60 and frames["opus"] >= 100, frames
        assert server.metrics()["weir_rtsp_srtp_tracks_total"] == 2

    *published, _, _ = await asyncio.gather(*map(one, cases), reports_to_publishers(server), by_srtp())
    for title, path in published:
        measured = await asyncio.to_thread(judge_published, path, SECONDS, title)
        record_property(title, measured)
        print(measured)
