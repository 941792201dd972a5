"""HLS output: going back beyond what memory holds, G.711 as AAC, publishers with long groups of pictures."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp
import av
import numpy
import pytest

from hls_client import HLSClient
from hls_readers import LowLatencyReader
from media_file import decodes, probe
from numbered_clip import FRAME_RATE, Clip, Unit
from rest_api import found
from rtp_publisher import RtpPublisher
from rtp_session import Section

MIB = 1 << 20
# The least that memory may be limited to, and a clip that soon takes more.
MEMORY_LIMIT = 4 * MIB
BIG, BIG_RATE, BIG_SECONDS, BIG_ROUNDS = (960, 720), "8M", 3, 5
SPILL_LIMIT_SECONDS = 25
SEGMENT_SECONDS = 1
# Segments whose parts may still be asked for stay in memory: twice three target durations; and what is being made and on
# its way to disk.
LIVE_SECONDS = 6 * SEGMENT_SECONDS + 2.5
PCMU_TYPE, PCMU_RATE, PCMU_SECONDS = 0, 8_000, 0.02
TONE_HZ = 440.0
LONG_GROUP_SECONDS = 8


def address(server, name: str) -> str:
    return f"{server.hls_url}/{name}/{name}.m3u8"


async def until(what: str, holds, limit: float = 20):
    end = asyncio.get_running_loop().time() + limit
    while not (result := await holds()):
        assert asyncio.get_running_loop().time() < end, f"no {what}"
        await asyncio.sleep(0.1)
    return result


def spilled(server, directory: Path) -> list[int]:
    """Sizes of the open files of the server that are in the directory and have no name any more."""
    sizes = []
    for number in os.listdir(f"/proc/{server.process.pid}/fd"):
        path = f"/proc/{server.process.pid}/fd/{number}"
        try:
            target = os.readlink(path)
            if target.startswith(str(directory)) and target.endswith("(deleted)"):
                sizes.append(os.stat(path).st_size)
        except OSError:
            continue  # closed meanwhile
    return sizes


@pytest.mark.limit(60)
async def test_what_memory_has_no_room_for_is_served_from_disk(start_server, clips, name, tmp_path, record_property):
    """Segments that were loaded when they were new are the same when they come from a file without a name."""
    directory = tmp_path / "dvr"
    directory.mkdir()
    server = start_server({
        "hls": {"auto_start": True, "dvr_window": "10m", "dvr_directory": str(directory), "memory_limit": "4MiB",
                "segment_duration": f"{SEGMENT_SECONDS}s", "publisher_patience": "0s"},
        "media": {"overload_delay": "1m"}})
    clip = clips("H264", BIG_SECONDS, width=BIG[0], height=BIG[1], bit_rate=BIG_RATE)
    publisher = RtpPublisher("H264")
    await publisher.post(server.whip(name))
    sending = asyncio.create_task(publisher.send([clip] * BIG_ROUNDS))
    most = 0.0
    async with aiohttp.ClientSession() as session:
        client = await HLSClient(session, address(server, name)).open()
        reader = LowLatencyReader(client, client.uri())
        reading = asyncio.create_task(reader.read())
        while not sending.done():
            most = max(most, server.metrics()["weir_hls_memory_bytes"])
            await asyncio.sleep(0.2)
        await sending
        first: dict[int, bytes] = {}
        for piece in reader.pieces:
            first[piece.number] = first.get(piece.number, b"") + piece.data
        # Of the newest there may be more to come.
        first.popitem()

        async def is_on_disk():
            metrics = server.metrics()
            return metrics["weir_hls_disk_bytes"] if metrics["weir_hls_memory_bytes"] <= MEMORY_LIMIT else 0
        on_disk = await until("spilled segments", is_on_disk, SPILL_LIMIT_SECONDS)
        _, playlist = await client.playlist(client.uri())
        total = sum(len(data) for data in first.values())
        assert on_disk + server.metrics()["weir_hls_memory_bytes"] >= total * 0.9, (on_disk, total)
        whole = [row for row in playlist.segments if row.number in first]
        assert playlist.sequence == 0 and len(whole) == len(first)
        sizes = spilled(server, directory)
        assert sizes and sum(sizes) >= on_disk and not list(directory.iterdir()), (sizes, on_disk)
        base = client.uri().rsplit("/", 1)[0]
        for row in whole:
            assert await client.get(f"{base}/{row.uri}") == first[row.number], row.number
        # A range of a segment in a file.
        async with session.get(f"{base}/{whole[0].uri}", headers={"Range": "bytes=1000-1999"}) as got:
            assert got.status == 206 and await got.read() == first[whole[0].number][1000:2000]
        await publisher.close()
        await reading
    (path, _), *more = reader.write(tmp_path, "dvr")
    assert not more
    decodes(path)
    assert most <= total * LIVE_SECONDS / (BIG_SECONDS * BIG_ROUNDS), (most, total)
    record_property("dvr", on_disk)
    print(f"{total / MIB:.1f} MiB of segments: {on_disk / MIB:.1f} MiB in {len(sizes)} files without names, memory at most "
          f"{most / MIB:.1f} MiB (limit 4 MiB)")


class TelephonePublisher(RtpPublisher):
    """Sound in PCMU, and no other."""

    def sections(self) -> list[Section]:
        audio, video = super().sections()
        self.audio.payload_type, self.audio.rate = PCMU_TYPE, PCMU_RATE
        own = Section("audio", [PCMU_TYPE], [f"rtpmap:{PCMU_TYPE} PCMU/{PCMU_RATE}"])
        own.attributes += [line for line in audio.attributes if line == "sendonly" or line.startswith("ssrc:")]
        return [own, video]


def ulaw(samples: numpy.ndarray) -> bytes:
    """PCM of 16 bits to mu-law (ITU-T G.711)."""
    codec = av.CodecContext.create("pcm_mulaw", "w")
    codec.format, codec.layout, codec.sample_rate = "s16", "mono", PCMU_RATE
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = PCMU_RATE
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


async def test_telephone_sound_becomes_aac(start_server, clips, name, tmp_path):
    server = start_server({"hls": {"auto_start": True, "publisher_patience": "0s"}})
    clip = clips("H264", 6)
    count = round(PCMU_SECONDS * PCMU_RATE)
    wave = numpy.sin(2 * numpy.pi * TONE_HZ * numpy.arange(round(clip.seconds * PCMU_RATE)) / PCMU_RATE) * 0.3 * 32767
    data = ulaw(wave.astype(numpy.int16))
    sound = [Unit(at / PCMU_RATE, data[at:at + count], True) for at in range(0, len(data), count)]
    publisher = TelephonePublisher("H264")
    await publisher.post(server.whip(name))
    sending = asyncio.create_task(publisher.send([Clip(clip.codec, clip.path, clip.video, sound)]))
    async with aiohttp.ClientSession() as session:
        client = await HLSClient(session, address(server, name)).open()
        assert "mp4a.40.2" in client.attributes["CODECS"], client.attributes
        reader = LowLatencyReader(client, client.uri())
        reading = asyncio.create_task(reader.read())
        await sending
        await publisher.close()
        await reading
    (path, _), *more = reader.write(tmp_path, "pcmu")
    assert not more
    decodes(path)
    assert probe(path)["streams"]["audio"]["codec_name"] == "aac"
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        heard = numpy.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    middle = heard[rate:4 * rate]
    spectrum = numpy.abs(numpy.fft.rfft(middle * numpy.hanning(len(middle))))
    loudest = spectrum.argmax() * rate / len(middle)
    assert abs(loudest - TONE_HZ) < 2, loudest
    assert abs(numpy.sqrt((middle ** 2).mean()) - 0.3 / 2 ** 0.5) < 0.05, numpy.sqrt((middle ** 2).mean())


async def test_publisher_with_long_groups_is_named(start_server, clips, name):
    """Its key frames but the first are taken away: they are too far apart, and asking for more does not help."""
    server = start_server({"hls": {"auto_start": True}})
    short, plain = f"{name}-short", clips("VP9", 2 * LONG_GROUP_SECONDS)
    long_one, short_one = RtpPublisher("VP9"), RtpPublisher("VP9")
    await long_one.post(server.whip(name))
    await short_one.post(server.whip(short))
    groups = clips("VP9", 2 * LONG_GROUP_SECONDS, key_interval=LONG_GROUP_SECONDS * FRAME_RATE)
    sending = [asyncio.create_task(long_one.send([groups])), asyncio.create_task(short_one.send([plain]))]

    async def named():
        rows = {row["streamName"]: row for row in await found(server, "hls/find_all")}
        return rows if name in rows and rows[name]["logs"] else None
    rows = await until("log of long groups", named, LONG_GROUP_SECONDS * 2)
    assert "key-frame interval" in rows[name]["logs"][0] and rows[short]["logs"] == [], rows
    assert server.metrics()["weir_hls_long_groups"] == 1
    assert long_one.key_requests > 0
    assert any(name in line and "key frames" in line for line in server.log_tail().splitlines()), server.log_tail()
    async with aiohttp.ClientSession() as session:
        client = await HLSClient(session, address(server, name)).open()
        _, playlist = await client.playlist(client.uri())
        assert all(row.duration < playlist.target + 0.5 for row in playlist.segments)
    for task in sending:
        task.cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    for publisher in (long_one, short_one):
        await publisher.close()
