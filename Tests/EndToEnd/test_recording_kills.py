"""A server that is killed while it records, again and again: what it had written is whole after the next start."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from aiortc_peer import AiortcPeer
from media_file import decodes, probe, times
from rest_api import done, found
from test_recording import FILE_LIMIT_SECONDS, complete, folder, publish, recording
from weir_bench import SMALL, Bench

KILLS, FULL_KILLS = 4, 50
SEED = 5
# Recorded before a kill, in seconds.
SHORTEST, LONGEST = 0.3, 3.5
MOST_LOST_SECONDS = 1.0
# Of a recording's begin: its part is named after the first frame came.
CLOCK_SLACK = 0.1
CODECS = ("h264", "vp8")


async def begun(server, count: int) -> dict[str, float]:
    """Waits for so many unfinished recordings with something in them; when each began, by the number it is named by."""
    parts: list[Path] = []
    async with asyncio.timeout(FILE_LIMIT_SECONDS):
        while len(parts) < count:
            await asyncio.sleep(0.01)
            parts = [path for path in (folder(server) / "unfinished").glob("*.part") if path.stat().st_size > 0]
    return {path.suffixes[-2]: int(path.name.split("-")[0]) / 1000 for path in parts}


def kill(server) -> float:
    """When it was killed."""
    at = time.time()
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    return at


async def test_at_most_a_second_is_lost_by_a_kill(start_server, tmp_path, name, full, record_property):
    server = start_server({"recording": {"all": True, "template": "{streamName}-{startTimeMillis}"}})
    dice = random.Random(SEED)
    lost: list[float] = []
    for round_ in range(FULL_KILLS if full else KILLS):
        prefixes = {codec: f"{name}-{round_}-{codec}" for codec in CODECS}
        benches = [
            await Bench(tmp_path, "--url", server.http_url, "--prefix", prefix, *SMALL, "--codec", codec,
                        "--players", "1", "--duration", "600").start()
            for codec, prefix in prefixes.items()
        ]
        try:
            starts = await begun(server, len(CODECS))
            await asyncio.sleep(dice.uniform(SHORTEST, LONGEST))
            killed = kill(server)
        finally:
            for bench in benches:
                bench.kill()
                await bench.process.wait()
        server.start()
        async with asyncio.timeout(FILE_LIMIT_SECONDS):
            while any((folder(server) / "unfinished").glob("*.part")):
                await asyncio.sleep(0.02)
        files = list(folder(server).glob(f"{name}-{round_}-*"))
        # Killed before the first fragment was whole: all of it is lost, which is not much either.
        lost += [killed - starts[suffix] for suffix in starts.keys() - {file.suffix for file in files}]
        for file in files:
            facts = probe(file)
            decodes(file)
            shown = times(facts["packets"]["video"])
            assert shown == sorted(shown) and facts["packets"]["video"][0]["flags"].startswith("K"), file
            lost.append(killed - starts[file.suffix] - shown[-1])
    said = server.log_path.read_text().count("an unfinished recording of an earlier run was found")
    assert said == len(lost)
    print(f"{len(lost) // len(CODECS)} kills of {len(lost)} recordings: at most {max(lost) * 1000:.0f} ms lost, median "
          f"{sorted(lost)[len(lost) // 2] * 1000:.0f} ms")
    record_property("lost", max(lost))
    assert max(lost) < MOST_LOST_SECONDS - CLOCK_SLACK, lost


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
async def test_a_read_only_disk_is_said_to_be_one_and_streams_go_on(start_server, name):
    server = start_server({"recording": {"template": "{streamName}"}})
    peer = AiortcPeer()
    await publish(peer, server, name)
    which = {"mediaSessionId": (await found(server, "stream/find", {"name": name}))[0]["mediaSessionId"]}
    parts = folder(server) / "unfinished"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(parts)]).returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        await done(server, "stream/startRecording", which)
        async with asyncio.timeout(FILE_LIMIT_SECONDS):
            while "recording failed" not in server.log_path.read_text():
                await asyncio.sleep(0.05)
        line = next(line for line in server.log_path.read_text().splitlines() if "recording failed" in line)
        assert "read-only" in line and "remedy=" in line and str(folder(server)) in line, line
        assert server.metrics()['weir_recording_failures_total{reason="read_only"}'] == 1
        stream = (await found(server, "stream/find", which))[0]
        assert stream["record"] is False and stream["status"] == "PUBLISHING"
    finally:
        subprocess.run(["umount", "-l", str(parts)])
    # It can be begun again once the disk is well.
    await done(server, "stream/startRecording", which)
    await recording(server)
    await peer.close()
    decodes(await complete(server, f"{name}.webm"))
