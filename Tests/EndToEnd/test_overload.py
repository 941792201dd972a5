"""A server that cannot keep pace: sound goes on, video becomes key frames, who comes is sent away until it can again.

The server is made slow from outside: it is stopped for a while, again and again, so packets wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import threading
import time

import aiohttp

from offers import make_offer
from wcs_client import WcsClient
from weir_bench import publishing

SDP_TYPE = {"Content-Type": "application/sdp"}
# Packets that come while the server is stopped wait longer than media.overload_delay …
OVERLOAD_DELAY = "40ms"
STOPPED_SECONDS = 0.08
# … and between two stops there is less time than between two looks of the media thread (100 ms).
RUNNING_SECONDS = 0.03
OVERLOAD_LIMIT_SECONDS = 60.0
# 1 s of calm brings back a sixteenth of the players at least, and then it takes one more.
RELIEF_LIMIT_SECONDS = 120.0
AUDIO_PACKETS_PER_SECOND = 50
FRAME_RATE = 30
THINNED_SECONDS = 1.0
ALLOWED_SECONDS = 2.0


@contextlib.contextmanager
def slowed(server):
    """The server runs only a part of the time while the body runs. A thread does it: the body may wait for answers."""
    end = threading.Event()
    pid = server.process.pid

    def press() -> None:
        while not end.wait(RUNNING_SECONDS):
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(STOPPED_SECONDS)
            finally:
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


async def wait_metrics(server, fits, limit: float) -> dict[str, float]:
    end = asyncio.get_running_loop().time() + limit
    while not fits(metrics := server.metrics()):
        shown = {key: value for key, value in metrics.items() if "overloaded" in key or "thinned" in key}
        assert asyncio.get_running_loop().time() < end, shown
        await asyncio.sleep(0.05)
    return metrics


async def post(url: str, offer: str) -> tuple[int, dict, str]:
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=offer, headers=SDP_TYPE) as response:
            return response.status, response.headers, await response.text()


def check_refusal(status: int, headers, body: str) -> None:
    assert status == 503, (status, body)
    assert int(headers["Retry-After"]) >= 1
    assert headers["Content-Type"].split(";")[0] == "application/problem+json"
    assert json.loads(body)["status"] == 503, body


async def test_overloaded_server_keeps_sound_refuses_newcomers_and_recovers(start_server, new_page, tmp_path, name):
    server = start_server({"media": {"overload_delay": OVERLOAD_DELAY}})
    stream, page = f"{name}-0", await new_page()
    # A key frame comes only when it is asked for: what the player sees of video is what it is given.
    async with publishing(
            server, tmp_path, name, "--players", "0", "--codec", "vp8", "--key-interval", "30") as bench:
        await page.whep_play(server, stream)
        await page.wait_frames("play", 10)
        before, stood = await page.wait_audio("play"), bench.standstill.seconds
        assert server.metrics()["weir_media_overloaded_workers"] == 0

        with slowed(server):
            metrics = await wait_metrics(
                server, lambda m: m["weir_media_players_thinned"] == 1, OVERLOAD_LIMIT_SECONDS)
            assert metrics["weir_media_overloaded_workers"] >= 1
            # The operator is told who, how many and what to do.
            said = [line for line in server.log_tail().splitlines() if "Overloaded" in line]
            assert any(re.search(r" warning .* players=1 remedy=.*media\.workers.* thinned=1 worker=\d", line)
                       for line in said), said
            check_refusal(*await post(server.whep(stream), make_offer(False)))
            check_refusal(*await post(server.whip(f"{name}-new"), make_offer(True)))
            async with WcsClient(server.ws_url) as client:
                await client.connect()
                await client.failure(await client.play(stream, make_offer(False)))
        # Calm again, but it takes a while until it is believed.
        thinned = await page.call("stats", "play")
        await asyncio.sleep(THINNED_SECONDS)
        after, metrics = await page.call("stats", "play"), server.metrics()
        assert metrics["weir_media_players_thinned"] == 1
        assert metrics["weir_media_peers_refused_total"] == 3
        frames = after["video"]["frames"] - thinned["video"]["frames"]
        assert frames < 0.3 * FRAME_RATE * THINNED_SECONDS, f"{frames} pictures of a thinned video"
        # Sound all the time: while the server was slow and since.
        packets = after["audio"]["packets"] - before["audio"]["packets"]
        seconds = (after["at"] - before["at"]) / 1000 - (bench.standstill.seconds - stood)
        assert packets > 0.9 * AUDIO_PACKETS_PER_SECOND * seconds, (packets, seconds)
        assert after["audio"]["lost"] == 0 and after["audio"]["energy"] > thinned["audio"]["energy"], after["audio"]

        await wait_metrics(
            server, lambda m: m["weir_media_players_thinned"] == 0 and m["weir_media_overloaded_workers"] == 0,
            RELIEF_LIMIT_SECONDS)
        status, headers, body = await post(server.whep(stream), make_offer(False))
        assert status == 201, body
        # Whoever stayed sees moving pictures again.
        relieved = await page.call("stats", "play")
        await page.wait_frames("play", relieved["video"]["frames"] + 2 * FRAME_RATE, limit=30.0)


async def test_delay_that_is_allowed_is_no_overload(start_server, tmp_path, name):
    """The same pauses, and a server that may be so slow."""
    server = start_server({"media": {"overload_delay": "10s"}})
    async with publishing(server, tmp_path, name, "--players", "2", "--codec", "vp8"):
        with slowed(server):
            end = asyncio.get_running_loop().time() + ALLOWED_SECONDS
            while asyncio.get_running_loop().time() < end:
                metrics = server.metrics()
                assert metrics["weir_media_overloaded_workers"] == metrics["weir_media_players_thinned"] == 0
                await asyncio.sleep(0.1)
            status, _, body = await post(server.whep(f"{name}-0"), make_offer(False))
            assert status == 201, body
