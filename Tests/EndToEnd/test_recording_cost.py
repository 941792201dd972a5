"""What recordings cost: the players' delay beside fifty of them, and the processor against ffmpeg that only copies."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from media_file import decodes
from rest_api import done, found
from test_recording import FILE_LIMIT_SECONDS, folder
from weir_bench import SMALL, Bench, run_load

STREAMS = 50
# Both kinds of run share a machine that other programs use too: what differs by less says nothing.
SLACK_MS = {"p50": 3, "p99": 50}
FACTOR = 2
LOSS_SLACK = 0.002

COPIES = 8
BITRATE = "2M"
# Many short windows, with and without by turns: what other programs do to the machine comes and goes.
WINDOW_SECONDS, FULL_WINDOW_SECONDS = 2.0, 5.0
WINDOWS, FULL_WINDOWS = 3, 15
MOST_COST = 1.2
# As large as the packets that Weir was sent.
PACKET_BYTES = 1_200


@pytest.mark.limit(240)
async def test_players_do_not_notice_fifty_recordings(start_server, tmp_path, name, full, record_property):
    server = start_server({
        "recording": {"names": ["rec-*"], "template": "{streamName}"}})
    rounds = 5 if full else 1
    windows: dict[bool, list[dict]] = {False: [], True: []}
    for round_ in range(rounds):
        for records in (False, True):
            prefix = f"{'rec' if records else 'free'}-{name}-{round_}"
            load = await run_load(
                server, tmp_path, prefix, "--publishers", str(STREAMS), "--players", str(STREAMS),
                "--bitrate", "200k", "--duration", "10" if full else "5")
            assert load.status == 0 and load.step["joins"]["failed"] == 0, (load.output, load.errors)
            windows[records].append(load.window)
        async with asyncio.timeout(FILE_LIMIT_SECONDS):
            while len(files := list(folder(server).glob(f"rec-{name}-{round_}-*"))) < STREAMS:
                await asyncio.sleep(0.1)
        decodes(files[0])
    assert list(folder(server).glob(f"free-{name}*")) == []
    assert server.metrics()["weir_recording_frames_dropped_total"] == 0
    lines = []
    for kind in ("audioDelay", "videoDelay"):
        for quantile, slack in SLACK_MS.items():
            free, beside = (statistics.median(w[kind][quantile] for w in windows[records]) for records in (False, True))
            lines.append(f"{kind} {quantile} {free:.1f} ms without, {beside:.1f} ms with")
            assert beside <= FACTOR * free + slack, lines
    for records in (False, True):
        loss = sum(w["packetsLost"] for w in windows[records]) / sum(w["packetsExpected"] for w in windows[records])
        assert loss <= LOSS_SLACK, (records, loss)
    print(f"beside {STREAMS} recordings: {'; '.join(lines)}")
    record_property("delay beside recordings", beside)


def processor_seconds(pid: int) -> float:
    """What all threads of the process that are there have had, to the nanosecond."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


async def spent(pids: list[int], seconds: float) -> float:
    """Share of one processor that the processes take together."""
    began, before = time.monotonic(), sum(map(processor_seconds, pids))
    await asyncio.sleep(seconds)
    return (sum(map(processor_seconds, pids)) - before) / (time.monotonic() - began)


def free_block(count: int) -> int:
    """The first of so many free UDP ports in a row, an even one: ffmpeg takes the next one for RTCP."""
    for first in range(20_000, 30_000, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first
    raise RuntimeError("no free ports")


@contextlib.asynccontextmanager
async def copying(source: Path, directory: Path):
    """As many ffmpeg record the plain RTP that as many others send from the file."""
    ports = free_block(4 * COPIES)
    senders, receivers, outputs = [], [], []
    try:
        for index in range(COPIES):
            video, audio = ports + 4 * index, ports + 4 * index + 2
            sdp, out = directory / f"copy{index}.sdp", directory / f"copy{index}.mp4"
            address = f"rtp://127.0.0.1:%d?pkt_size={PACKET_BYTES}"
            senders.append(subprocess.Popen(
                ["ffmpeg", "-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", source,
                 "-map", "0:v", "-c", "copy", "-f", "rtp", address % video,
                 "-map", "0:a", "-c", "copy", "-f", "rtp", address % audio, "-sdp_file", sdp],
                stderr=(directory / f"send{index}.log").open("wb")))
            async with asyncio.timeout(FILE_LIMIT_SECONDS):
                while not sdp.exists() or "opus" not in sdp.read_text():
                    await asyncio.sleep(0.05)
            receivers.append(subprocess.Popen(
                ["ffmpeg", "-v", "error", "-nostdin", "-protocol_whitelist", "file,udp,rtp", "-i", sdp,
                 "-c", "copy", "-movflags", "frag_keyframe+empty_moov", out],
                stderr=(directory / f"copy{index}.log").open("wb")))
            outputs.append(out)
        async with asyncio.timeout(FILE_LIMIT_SECONDS):
            while not all(out.exists() and out.stat().st_size > 500_000 for out in outputs):
                await asyncio.sleep(0.05)
        yield [receiver.pid for receiver in receivers]
        assert all(receiver.poll() is None for receiver in receivers), "a copy ended early"
    finally:
        for process in senders + receivers:
            process.kill()
            process.wait()


@pytest.mark.limit(240)
async def test_recording_costs_what_ffmpeg_takes_for_copying(start_server, tmp_path, name, full, record_property):
    server = start_server({"recording": {"template": "{streamName}"}})
    bench = await Bench(
        tmp_path, "--url", server.http_url, "--prefix", name, *SMALL, "--size", "1280x720", "--bitrate", BITRATE,
        "--publishers", str(COPIES), "--players", "1", "--duration", "600").start()
    window, windows = (FULL_WINDOW_SECONDS, FULL_WINDOWS) if full else (WINDOW_SECONDS, WINDOWS)
    try:
        await bench.wait_line("Measuring")
        streams = [s["mediaSessionId"] for s in await found(server, "stream/find_all") if s["published"]]
        assert len(streams) == COPIES

        async def record(call: str) -> None:
            await asyncio.gather(*(found(server, f"stream/{call}", {"mediaSessionId": stream}) for stream in streams))

        async def complete(count: int) -> None:
            async with asyncio.timeout(FILE_LIMIT_SECONDS):
                while len(list(folder(server).glob(f"{name}-*"))) < count:
                    await asyncio.sleep(0.05)

        # A file to copy from, and everything has been paged in.
        await record("startRecording")
        await asyncio.sleep(3)
        await record("stopRecording")
        await complete(COPIES)
        weir: list[float] = []
        for index in range(windows):
            without = await spent([server.process.pid], window)
            await record("startRecording")
            await asyncio.sleep(0.5)
            weir.append(await spent([server.process.pid], window) - without)
            await record("stopRecording")
            await complete((index + 2) * COPIES)
    finally:
        await bench.interrupt()
    source = sorted(folder(server).glob(f"{name}-0*.mp4"))[-1]
    decodes(source)
    async with copying(source, tmp_path) as pids:
        copied = [await spent(pids, window) for _ in range(windows)]
    mine, theirs = statistics.median(weir) / COPIES, statistics.median(copied) / COPIES
    print(f"recording: {mine * 1000:.2f} ms of processor per second of a stream of {BITRATE}bit/s, "
          f"ffmpeg that copies {theirs * 1000:.2f} ms: {mine / theirs:.2f} times")
    record_property("cost of recording", mine / theirs)
    assert mine <= MOST_COST * theirs, (weir, copied)
