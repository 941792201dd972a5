"""`weir bench` against a server of another make by its URLs: aiortc_sfu.py."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import AsyncIterator

import aiohttp
import pytest

from test_bench import check_lossless
from weir_bench import FAILED, OK, SMALL, run_bench

# Python's imports on a busy machine.
START_SECONDS = 30.0
STOP_SECONDS = 15.0
PLAYERS = 3


class Sfu:
    """The server of aiortc_sfu.py."""

    def __init__(self, port: int, pid: int):
        self.url, self.pid = f"http://127.0.0.1:{port}", pid

    async def load(self, directory, name: str, *arguments: str, egress: str = "egress"):
        """One publisher and three players, to the end; then nothing of them may be left."""
        done = await run_bench(
            directory, "--url", self.url, "--publish-url", f"{self.url}/rooms/{{name}}/ingest",
            "--play-url", f"{self.url}/rooms/{{name}}/{egress}", "--prefix", name, *SMALL, "--players", str(PLAYERS),
            "--duration", "2", "--server-pid", str(self.pid), *arguments)
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/sessions") as answer:
            counts = await answer.json()
        clients = 1 + PLAYERS
        assert counts == {"open": 0, "made": clients, "deleted": clients}, (done.output, done.errors)
        return done


@contextlib.asynccontextmanager
async def other_server(directory) -> AsyncIterator[Sfu]:
    """It must run until SIGTERM and then end in order."""
    with (directory / "sfu.log").open("w+") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("aiortc_sfu.py")), stdout=asyncio.subprocess.PIPE, stderr=log)
        try:
            port = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
            yield Sfu(int(port), process.pid)
            process.terminate()
            assert await asyncio.wait_for(process.wait(), STOP_SECONDS) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            log.seek(0)
            print(log.read()[-4000:])


@pytest.mark.parametrize("arguments", [[], ["--codec", "vp8", "--srtp", "gcm"]], ids=["h264", "vp8 gcm"])
async def test_server_of_another_make_is_measured(tmp_path, name, arguments):
    """Its paths are its own, it is a full ICE agent and the DTLS client; the report says what it calls itself."""
    async with other_server(tmp_path) as sfu:
        done = await sfu.load(tmp_path, name, *arguments)
    check_lossless(done, players=PLAYERS)
    assert done.step["joins"]["succeeded"] == PLAYERS
    # The stages of a join follow each other.
    ice, dtls, media = (done.step["joins"][stage]["max"] for stage in ("ice", "dtls", "media"))
    assert 0 < ice <= dtls <= media, done.step["joins"]
    assert "aiohttp" in done.report["server"]["version"] and "python" in done.report["server"]["processName"]
    assert 0 < done.step["serverUsage"]["cpuSeconds"] and 0 < done.figures["cpuMicrosecondsPerPacket"]


async def test_losses_are_recovered_by_the_retransmissions_of_another_make(tmp_path, name):
    async with other_server(tmp_path) as sfu:
        done = await sfu.load(tmp_path, name, "--no-audio", "--loss", "5%")
    assert done.status == OK, (done.output, done.errors)
    window = done.window
    assert window["injectedLosses"] > 10 and window["recovered"] > 0.8 * window["injectedLosses"], window
    assert window["packetsLost"] < 0.2 * window["injectedLosses"], window


async def test_media_that_a_server_encodes_anew_are_not_measured_but_named(tmp_path, name):
    """What comes then cannot be told from foreign media: neither loss nor delay is known."""
    async with other_server(tmp_path) as sfu:
        done = await sfu.load(tmp_path, name, "--duration", "1", egress="egress?reencoded=1")
    assert done.status == FAILED
    problem, = done.report["problems"]
    assert problem.startswith(f"{PLAYERS} players: {PLAYERS} got media that were changed on the way"), problem
    assert done.window["packetsDelivered"] == done.window["videoDelay"]["count"] == 0, done.window
