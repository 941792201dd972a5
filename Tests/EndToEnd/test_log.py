"""The log of the running server: JSON lines with fixed fields, level changed at run time, loud places held back."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request

import pytest

from offers import make_offer
from wcs_client import WcsClient

LEVELS = {"trace", "debug", "info", "notice", "warning", "error", "critical"}
RATE, BURST = 1, 5


def lines_of(server) -> list[dict]:
    """Every line of the log, each of which must be one JSON object."""
    return [json.loads(line) for line in server.log_path.read_text().splitlines()]


async def test_json_lines_have_the_fixed_fields(start_server, new_page, name):
    server = start_server({"log": {"format": "json", "level": "debug"}})
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "VP8")
    await player.whep_play(server, name)
    await player.wait_frames("play")
    # What clients choose must not break a line or forge a field.
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        await client.failure(await client.play('x","session":"forged\n', make_offer(False)))
    async with WcsClient(server.ws_url) as client:
        await client.send("connection", {"appKey": 'a"b\n{"level":"critical"}'})
        await client.expect("fail")
    await player.call("stop", "play")
    await publisher.call("stop", "pub")
    assert server.stop() == 0
    lines = lines_of(server)
    for line in lines:
        assert {"time", "level", "message"} <= line.keys(), line
        assert line["level"] in LEVELS
        assert time.strptime(line["time"][:19], "%Y-%m-%dT%H:%M:%S") and line["time"].endswith("Z")
    live = [line for line in lines if line["message"] == "stream live"]
    assert [line["stream"] for line in live] == [name, name]
    assert all({"session", "stream", "app", "peer"} <= line.keys() for line in live), live
    ended = [line for line in lines if line["message"] == "stream ended" and line["stream"] == name]
    assert {line["session"] for line in ended} == {line["session"] for line in live}
    assert any(line.get("app") == 'a"b\n{"level":"critical"}' for line in lines)
    assert not any(line.get("session") == "forged" for line in lines)
    first, last = lines[0], lines[-1]
    assert first["message"] == "Weir starts" and {"version", "commit"} <= first.keys()
    assert last["message"] == "Weir ended"


def level_of(server, change: str | None = None) -> dict:
    request = urllib.request.Request(f"{server.http_url}/api/log-level")
    if change is not None:
        request.method = "PUT"
        request.data = json.dumps({"level": change}).encode()
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


async def open_and_close(server, count: int = 1) -> None:
    for _ in range(count):
        async with WcsClient(server.ws_url) as client:
            await client.connect()


async def wait_message(server, text: str, times: int) -> None:
    end = time.monotonic() + 5
    while server.log_path.read_text().count(text) < times:
        assert time.monotonic() < end, f"{text!r} is not there {times} times\n{server.log_tail()}"
        await asyncio.sleep(0.05)


async def test_level_changes_at_run_time(start_server):
    server = start_server({"log": {"level": "warning"}})
    assert level_of(server) == {"level": "warning"}
    await open_and_close(server)
    assert level_of(server, "info") == {"level": "info"}
    await open_and_close(server)
    await wait_message(server, "session closed", 1)
    assert level_of(server, "error") == {"level": "error"}
    await open_and_close(server)
    assert server.log_path.read_text().count("session opened") == 1, server.log_tail()
    with pytest.raises(urllib.error.HTTPError) as refused:
        level_of(server, "loud")
    problem = json.load(refused.value)
    assert refused.value.code == 400 and all(level in json.dumps(problem) for level in LEVELS), problem
    assert level_of(server) == {"level": "error"}


async def test_loud_place_is_held_back_and_the_count_is_told(start_server):
    sessions = 40
    server = start_server({"log": {"format": "json", "rate": RATE, "burst": BURST}})
    begin = time.monotonic()
    await open_and_close(server, sessions)
    seconds = time.monotonic() - begin
    assert server.stop() == 0
    lines = lines_of(server)
    written = [line for line in lines if line["message"] == "session opened"]
    assert BURST <= len(written) <= BURST + RATE * (seconds + 1), len(written)
    told = sum(line.get("suppressed", 0) for line in written)
    told += sum(line["suppressed"] for line in lines if line.get("of") == "session opened")
    assert len(written) + told == sessions
    # Another place is not held back for it.
    assert any(line["message"] == "Weir ended" for line in lines)
