"""Files as streams: vod:// for one player, vod-live:// for all, by WCS and WHEP, and what becomes of those that cannot."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.parse
import urllib.request
from pathlib import Path

import aiohttp
import pytest

from aiortc_peer import AiortcPeer, wcs_play
from clips import make_clip, step_of
from offers import make_offer
from wcs_client import WcsClient

SECONDS = 5.0
# What the jitter buffer, the reading of a picture and a busy machine may cost, in steps of half a second.
LAG_STEPS = 2
LEAST_ENERGY = 1e-4
# Of a file's pictures, the rest being what was shown after the last look.
LEAST_SHOWN = 0.9
PLAYER_OFFER = make_offer(False, video=("VP8", "H264"))


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """Made once: clip.mp4, short.mp4 (2 s), b.mp4 (B frames, 4 s)."""
    folder = tmp_path_factory.mktemp("clips")
    make_clip(folder / "clip.mp4", seconds=SECONDS)
    make_clip(folder / "short.mp4", seconds=2.0)
    make_clip(folder / "b.mp4", "H264 with B frames", seconds=4.0)
    return folder


@pytest.fixture
def vod(start_server, clips):
    """Starts a server that plays the clips."""
    return lambda **settings: start_server({"vod": {"folder": str(clips), **settings}})


def whep(server, name: str) -> str:
    return server.whep(urllib.parse.quote(name, safe=""))


async def step(page, key: str) -> int:
    return step_of((await page.call("picture", key))["mean"])


async def reach_step(page, key: str, wanted: int, limit: float = 10.0) -> int:
    end = time.monotonic() + limit
    while (shown := await step(page, key)) < wanted:
        assert time.monotonic() < end, f"step {shown} of {wanted}; {await page.call('describe', key)}"
        await asyncio.sleep(0.02)
    return shown


def listed(server) -> list[dict]:
    with urllib.request.urlopen(f"{server.http_url}/api/streams", timeout=5) as response:
        return json.load(response)


async def all_gone(server, limit: float = 10.0) -> None:
    """Waits until no file is played and everything of it is let go."""
    end = time.monotonic() + limit
    while server.metrics()["weir_vod_sources"] or listed(server) or server.metrics()["weir_vod_transcodings"]:
        assert time.monotonic() < end, (listed(server), server.log_tail())
        await asyncio.sleep(0.05)


async def play_out(page, key: str, limit: float = 12.0) -> int:
    """Waits for the end, which is no failure; how many pictures were shown until just before it."""
    end, frames = time.monotonic() + limit, 0
    while True:
        status = (await page.call("describe", key))["lastStatus"]
        if status["status"] in ("STOPPED", "FAILED"):
            assert (status["status"], status["info"]) == ("STOPPED", "Stopped by publisher stop"), status
            return frames
        video = (await page.call("stats", key))["video"]
        frames = video["frames"] if video else frames
        assert time.monotonic() < end, status
        await asyncio.sleep(0.05)


async def check_sound(page, key: str) -> None:
    before = (await page.wait_audio(key))["audio"]
    await asyncio.sleep(0.7)
    after = (await page.call("stats", key))["audio"]
    assert after["codec"] == "audio/opus" and after["energy"] - before["energy"] > LEAST_ENERGY, (before, after)


async def test_each_player_of_a_private_file_sees_it_from_its_beginning(vod, new_page):
    server = vod()
    first, second = await new_page(), await new_page()
    await first.wcs_play(server, "vod://clip.mp4")
    await first.wait_frames("play", 3)
    assert await step(first, "play") <= LAG_STEPS, "it begins at its beginning"
    await check_sound(first, "play")
    ahead = await reach_step(first, "play", 4)
    await second.call("whepPlay", "play", whep(server, "vod://clip.mp4"), {})
    await second.wait_frames("play", 3)
    shown = await step(second, "play")
    assert shown <= LAG_STEPS < ahead, (shown, ahead)
    await check_sound(second, "play")
    streams = listed(server)
    assert len(streams) == 2 and all(s["kind"] == "on-demand" and s["players"] == 1 for s in streams), streams
    assert all(s["name"].startswith("vod://clip.mp4#") and s["videoCodec"] == "H264" for s in streams), streams
    assert (await first.call("stats", "play"))["video"]["codec"] == "video/H264"
    # The file ends, and with it the stream: nothing has gone wrong.
    assert await play_out(first, "play") >= LEAST_SHOWN * 30 * SECONDS
    await second.call("stop", "play")
    await all_gone(server)
    metrics = server.metrics()
    assert metrics['weir_vod_files_total{result="ok"}'] == 2
    assert metrics["weir_vod_dropped_packets_total"] == 0 and metrics["weir_vod_stalls_total"] == 0


async def test_players_of_a_shared_file_see_the_same_and_it_begins_anew(vod, new_page):
    server = vod(loop=True, linger="1s")
    name = "vod-live://short.mp4"
    first, second = await new_page(), await new_page()
    await first.wcs_play(server, name)
    await reach_step(first, "play", 2)
    await second.call("whepPlay", "play", whep(server, name), {})
    await second.wait_frames("play", 3)
    streams = listed(server)
    assert [(s["name"], s["kind"], s["players"]) for s in streams] == [(name, "on-demand", 2)], streams
    # Four steps to a pass: seen together, and more than one pass long.
    seen = []
    for _ in range(25):
        seen.append(await asyncio.gather(step(first, "play"), step(second, "play")))
        await asyncio.sleep(0.1)
    apart = [min((a - b) % 4, (b - a) % 4) for a, b in seen]
    assert sum(apart) <= len(seen) // 3, seen
    assert any(b < a for (a, _), (b, _) in zip(seen, seen[1:])), "it begins anew"
    facts = await second.call("stats", "play")
    assert facts["video"]["frames"] >= 60, facts["video"]
    await check_sound(second, "play")
    assert server.metrics()['weir_vod_files_total{result="ok"}'] == 1
    await first.call("stop", "play")
    await asyncio.sleep(1.5)
    assert [s["players"] for s in listed(server)] == [1], "it goes on for the other"
    left = time.monotonic()
    await second.call("stop", "play")
    await all_gone(server)
    assert time.monotonic() - left >= 0.9, "it lingers"


async def test_pictures_out_of_order_are_transcoded(vod, new_page):
    server = vod()
    page = await new_page()
    await page.wcs_play(server, "vod://b.mp4")
    await page.wait_frames("play", 3)
    assert server.metrics()["weir_vod_transcodings"] == 1
    seen = []
    while not seen or seen[-1] < 6:
        seen.append(await step(page, "play"))
        await asyncio.sleep(0.05)
    assert seen == sorted(seen), "pictures come in their order"
    frames = await play_out(page, "play")
    assert frames >= LEAST_SHOWN * 30 * 4, frames
    await all_gone(server)


@pytest.mark.parametrize("limit,info", [
    (0, "Transcoding required, but disabled"), (1, "No available transcoders"),
])
async def test_transcoding_is_bounded(vod, limit, info):
    server = vod(transcodings=limit)
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        for _ in range(limit):
            await client.answer(await client.play("vod://b.mp4", PLAYER_OFFER))
        assert await client.failure(await client.play("vod://b.mp4", PLAYER_OFFER)) == info


@pytest.mark.parametrize("codec", ["VP8", "VP9", "AV1"])
async def test_codecs_of_browsers_are_sent_as_they_are(vod, clips, new_page, codec):
    make_clip(clips / f"{codec}.webm", codec, "libopus", 2.0)
    page = await new_page()
    server = vod()
    await page.wcs_play(server, f"vod://{codec}.webm")
    await reach_step(page, "play", 2)
    stats = await page.call("stats", "play")
    assert stats["video"]["codec"] == f"video/{codec}" and stats["audio"]["codec"] == "audio/opus", stats


async def test_a_codec_that_the_player_lacks_is_told(vod, clips):
    make_clip(clips / "h265.mp4", "H265", None, 1.0)
    server = vod()
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        assert await client.failure(await client.play("vod://h265.mp4", PLAYER_OFFER)) == "No common codecs"
    await all_gone(server)


def spoil(folder: Path) -> None:
    """What is no file to play, and ways out of the folder."""
    whole = (folder / "clip.mp4").read_bytes()
    (folder / "text.mp4").write_text("This is no film.\n" * 1000)
    (folder / "empty.mp4").write_bytes(b"")
    # The index is at its end.
    (folder / "torn.mp4").write_bytes(whole[:len(whole) // 2])
    (folder / "folder.mp4").mkdir(exist_ok=True)
    for name, target in {"link.mp4": folder.parent / "secret.mp4", "way": folder.parent}.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(target)
    (folder.parent / "secret.mp4").write_bytes(whole)
    if not (folder / "pipe.mp4").exists():
        os.mkfifo(folder / "pipe.mp4")


NOT_FOUND, WRONG_FORMAT = "File not found", "File has wrong format"
FAILURES = {
    "missing.mp4": NOT_FOUND, "": NOT_FOUND, ".": NOT_FOUND, "folder.mp4": NOT_FOUND, "pipe.mp4": NOT_FOUND,
    "text.mp4": WRONG_FORMAT, "empty.mp4": WRONG_FORMAT, "torn.mp4": WRONG_FORMAT,
    "../secret.mp4": NOT_FOUND, "../../../../../../etc/passwd": NOT_FOUND, "/etc/passwd": NOT_FOUND,
    "..%2fsecret.mp4": NOT_FOUND, "folder.mp4/../clip.mp4": NOT_FOUND, "link.mp4": NOT_FOUND,
    "way/secret.mp4": NOT_FOUND, "clip.mp4\0.mp4": NOT_FOUND, "n" * 300: NOT_FOUND, "clip.mp4/": NOT_FOUND,
    "clip.mp4#1": NOT_FOUND, "\U0001F3A5": NOT_FOUND, "$(id)": NOT_FOUND,
}
STATUS = {NOT_FOUND: 404, WRONG_FORMAT: 415}


async def test_what_cannot_be_played_is_told_in_the_words_of_wcs(vod, clips):
    spoil(clips)
    server = vod()
    async with WcsClient(server.ws_url) as client, aiohttp.ClientSession() as http:
        await client.connect()
        for scheme in ("vod", "vod-live"):
            for file, info in FAILURES.items():
                name = f"{scheme}://{file}"
                assert await client.failure(await client.play(name, PLAYER_OFFER)) == info, name
                if "\0" in name:
                    continue
                async with http.post(
                        whep(server, name), data=PLAYER_OFFER, headers={"Content-Type": "application/sdp"}) as got:
                    problem = await got.json(content_type=None)
                    assert (got.status, problem["detail"]) == (STATUS[info], info), (name, problem)
        assert await client.failure(await client.publish("vod://clip.mp4", PLAYER_OFFER)) == \
            "Failed to get agent storage", "files are not published"
        if os.geteuid() != 0:
            (clips / "clip.mp4").chmod(0)
            assert await client.failure(await client.play("vod://clip.mp4", PLAYER_OFFER)) == "Failed to read file"
            (clips / "clip.mp4").chmod(0o644)
    await all_gone(server)
    metrics = server.metrics()
    wrong = sum(info == WRONG_FORMAT for info in FAILURES.values())
    assert metrics['weir_vod_files_total{result="wrongFormat"}'] == 4 * wrong
    assert metrics['weir_vod_files_total{result="notFound"}'] == 4 * (len(FAILURES) - wrong) - 2
    assert metrics['weir_control_failures_total{kind="play",reason="fileNotFound"}'] > 0


async def test_players_beyond_the_bound_are_refused_and_nobody_else(vod):
    server = vod(max=1)
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        shared = [await client.play("vod-live://clip.mp4", PLAYER_OFFER) for _ in range(2)]
        for one in shared:
            await client.answer(one)
        assert "on demand" in await client.failure(await client.play("vod://clip.mp4", PLAYER_OFFER))


async def test_a_paused_private_file_stands_still(vod):
    server = vod()
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        peer, identifier = await wcs_play(client, "vod://clip.mp4")
        await peer.wait_frames(20)
        await client.send("pauseStream", {"mediaSessionId": identifier, "name": "vod://clip.mp4"})
        await client.status(identifier, "PAUSED")
        await asyncio.sleep(0.5)
        before, luma = peer.frames, peer.luma_mean
        await asyncio.sleep(1.5)
        assert peer.frames <= before + 1, "no pictures come"
        await client.play("vod://clip.mp4", PLAYER_OFFER, identifier)
        await client.status(identifier, "PLAYING")
        await peer.wait_frames(before + 10)
        # It goes on where it stopped: the pause would be three steps or four.
        assert step_of_limited(peer.luma_mean) - step_of_limited(luma) <= 1
        # And it is as long as before.
        end = await client.status(identifier, "STOPPED", limit=12)
        assert end["info"] == "Stopped by publisher stop"
        assert peer.frames >= LEAST_SHOWN * 30 * SECONDS, peer.frames
        await peer.close()
    await all_gone(server)


def step_of_limited(mean: float) -> int:
    """As `step_of`, of brightness in the range that files have."""
    return step_of((mean - 16) * 255 / 219)


async def test_recordings_are_played_unless_they_are_kept(start_server, clips):
    for settings, info in (({}, None), ({"recording": {"download": "operator"}}, NOT_FOUND),
                           ({"vod": {"records": False}}, NOT_FOUND)):
        server = start_server(settings)
        records = server.directory / "state" / "records"
        (records / "one.mp4").write_bytes((clips / "clip.mp4").read_bytes())
        (records / "unfinished").mkdir(exist_ok=True)
        (records / "unfinished" / "two.mp4").write_bytes((clips / "clip.mp4").read_bytes())
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            played = await client.play("vod://records/one.mp4", PLAYER_OFFER)
            if info:
                assert await client.failure(played) == info
            else:
                await client.answer(played)
            assert await client.failure(
                await client.play("vod://records/unfinished/two.mp4", PLAYER_OFFER)) == NOT_FOUND


async def test_the_page_plays_a_file(vod, chromium):
    server = vod()
    context = await chromium.browser.new_context()
    page = await context.new_page()
    await page.goto(server.http_url)
    await page.fill("#play-name", "vod://clip.mp4")
    await page.click("#play-start")
    await page.wait_for_selector("#play-state:text-is('Playing')", timeout=15_000)
    await page.wait_for_function("() => document.querySelector('#player').videoWidth === 320", timeout=5_000)
    await context.close()
