"""Recordings: what browsers and other clients publish is in files that play, whoever asked for it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import urllib.parse
from pathlib import Path

import aiohttp
import pytest

from aiortc_peer import AiortcPeer, wcs_publish
from hook_backend import HookBackend, decides
from media_file import decodes, probe, times
from rest_api import call, done, found
from wcs_client import WcsClient

RECORD_SECONDS = 3.0
FILE_LIMIT_SECONDS = 15.0
# Frames that the browser has encoded when its statistics were read, and that were sent after it.
FRAME_SLACK = 3
DURATION_SLACK = 0.4
FILE_CODECS = {"VP8": ("vp8", "webm"), "VP9": ("vp9", "webm"), "H264": ("h264", "mp4"), "AV1": ("av1", "mp4")}
# A fragment of half a second, and what had not been read from sockets.
MOST_LOST_SECONDS = 1.0

PLAYED = """async url => {
    const video = document.createElement("video");
    video.muted = true;
    video.src = url;
    document.body.append(video);
    const until = (name, limit = 10000) => new Promise((resolve, reject) => {
        video.addEventListener(name, resolve, { once: true });
        video.addEventListener("error", () => reject(new Error(video.error.message)), { once: true });
        setTimeout(() => reject(new Error(`no ${name}`)), limit);
    });
    await until("loadeddata");
    const facts = { duration: video.duration, width: video.videoWidth };
    const sought = until("seeked");
    video.currentTime = video.duration / 2;
    await sought;
    facts.sought = video.currentTime;
    await video.play();
    await until("ended");
    facts.end = video.currentTime;
    facts.frames = video.getVideoPlaybackQuality().totalVideoFrames;
    video.remove();
    return facts;
}"""


def folder(server) -> Path:
    return server.directory / "state" / "records"


async def recording(server, limit: float = FILE_LIMIT_SECONDS) -> None:
    """Waits until something is being written."""
    async with asyncio.timeout(limit):
        while not any(path.stat().st_size > 0 for path in (folder(server) / "unfinished").glob("*.part")):
            await asyncio.sleep(0.05)


async def complete(server, name: str) -> Path:
    """Waits until the file of that name is in its place."""
    path = folder(server) / name
    async with asyncio.timeout(FILE_LIMIT_SECONDS):
        while not path.exists():
            await asyncio.sleep(0.05)
    return path


async def publish(peer: AiortcPeer, server, name: str) -> None:
    """By WHIP, until it can be played."""
    peer.send("VP8")
    await peer.post(server.whip(name))
    await server.wait_live(name)


async def wcs_stop(page, key: str = "pub") -> dict:
    """Ends a publisher of the page; its terminal status."""
    await page.call("stop", key)
    await page.call("waitStatus", key, ["UNPUBLISHED", "FAILED"], 10000)
    return (await page.call("describe", key))["lastStatus"]


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264", "AV1"])
async def test_what_chromium_publishes_is_in_the_file(server, new_page, name, codec, record_property):
    page = await new_page()
    await page.wcs_publish(server, name, codec, {"width": 320, "height": 240}, record=True)
    assert (await page.call("describe", "pub"))["lastStatus"]["record"] is True
    await page.wait_frames("pub", 10)
    await asyncio.sleep(RECORD_SECONDS)
    sent = (await page.call("stats", "pub"))["video"]["frames"]
    end = await wcs_stop(page)
    assert end["status"] == "UNPUBLISHED" and end["info"] == "Stopped by user", end
    path = await complete(server, end["recordName"])
    facts = probe(path)
    codec_name, extension = FILE_CODECS[codec]
    assert path.suffix == f".{extension}"
    assert facts["streams"]["video"]["codec_name"] == codec_name and facts["streams"]["audio"]["codec_name"] == "opus"
    frames = len(facts["packets"]["video"])
    print(f"recording of {codec}: {frames} frames in the file, {sent} encoded when the browser was asked")
    record_property("frames", frames)
    # The statistics are read before the stop, so the file may have some more.
    assert sent - FRAME_SLACK <= frames <= sent + 30, (frames, sent)
    shown = times(facts["packets"]["video"])
    assert shown == sorted(shown) and len(set(shown)) == len(shown), "pictures are not in order"
    heard = times(facts["packets"]["audio"])
    assert all(0 < b - a < 0.045 for a, b in zip(heard, heard[1:])), "sound has holes"
    assert facts["duration"] >= RECORD_SECONDS
    assert abs(facts["duration"] - max(shown[-1], heard[-1])) < DURATION_SLACK, facts["duration"]
    decodes(path)
    viewer = await server_page(new_page, server)
    played = await viewer.page.evaluate(PLAYED, f"{server.http_url}/client/records/{end['recordName']}")
    assert played["width"] > 0 and played["frames"] > 5, played
    assert abs(played["duration"] - facts["duration"]) < 0.1 and abs(played["end"] - facts["duration"]) < 0.2, played
    assert abs(played["sought"] - played["duration"] / 2) < 0.05, played


async def server_page(new_page, server):
    """A page of the server's own origin."""
    viewer = await new_page()
    await viewer.page.goto(server.http_url)
    return viewer


async def test_sound_alone_is_an_mp4(server, new_page, name):
    page = await new_page()
    await page.wcs_publish(server, name, media={"video": False}, record=True)
    await recording(server)
    await asyncio.sleep(1)
    path = await complete(server, (await wcs_stop(page))["recordName"])
    facts = probe(path)
    assert path.suffix == ".mp4" and set(facts["streams"]) == {"audio"} and facts["duration"] > 0.9
    decodes(path)


async def test_the_operator_records_and_ends_and_lists_and_deletes(server, name):
    peer = AiortcPeer()
    await publish(peer, server, name)
    stream = (await found(server, "stream/find", {"name": name, "published": True}))[0]
    which = {"mediaSessionId": stream["mediaSessionId"]}
    assert stream["record"] is False
    assert (await call(server, "stream/startRecording", {"mediaSessionId": "nobody"}))[0] == 404
    assert (await call(server, "stream/stopRecording", which))[0] == 404
    hostile = "../../etc/" + name + "$(id).mp4"
    await done(server, "stream/startRecording", {**which, "fileName": hostile})
    assert (await found(server, "stream/find", which))[0]["record"] is True
    assert (await call(server, "stream/startRecording", which))[0] == 409
    await recording(server)
    await asyncio.sleep(1)
    await done(server, "stream/startRecording", {**which, "force": True})
    await recording(server)
    await asyncio.sleep(1)
    status, answer = await call(server, "stream/stopRecording", which)
    assert status == 200 and answer["recordName"].startswith("stream-")
    # A leading dot and all that is no letter or digit for shells and URLs; inner dots stay.
    first = f"~2E.~2F..~2Fetc~2F{name}~24~28id~29.webm"
    for file in (first, answer["recordName"]):
        decodes(await complete(server, file))
        status, entry = await call(server, "recording/find", {"name": file})
        assert status == 200 and entry["videoCodec"] == "vp8" and entry["audioCodec"] == "opus", entry
        assert entry["duration"] > 500 and (entry["width"], entry["height"]) == (320, 240), entry
    listed = [entry["name"] for entry in await found(server, "recording/find_all")]
    assert listed.index(answer["recordName"]) < listed.index(first)
    await done(server, "recording/delete", {"name": first})
    assert not (folder(server) / first).exists()
    for gone in (first, "../weir.yaml", "unfinished", ""):
        assert (await call(server, "recording/delete", {"name": gone}))[0] in (400, 404), gone
    assert not (await found(server, "stream/find", which))[0]["record"]
    assert list(Path("/etc").glob(f"*{name}*")) == []
    await peer.close()


async def fetch(url: str, headers: dict | None = None, method: str = "GET"):
    """(status, headers by any spelling of their names, body)."""
    async with aiohttp.ClientSession() as session:
        async with session.request(method, url, headers=headers or {}) as got:
            return got.status, got.headers, await got.read()


async def recorded(server, name: str, seconds: float = 1.0) -> Path:
    """A recording that the configuration or nobody but the operator asked for, by WHIP."""
    peer = AiortcPeer()
    await publish(peer, server, name)
    stream = (await found(server, "stream/find", {"name": name, "published": True}))[0]
    if not stream["record"]:
        await done(server, "stream/startRecording", {"mediaSessionId": stream["mediaSessionId"]})
    before = set(folder(server).glob("*.*"))
    await recording(server)
    await asyncio.sleep(seconds)
    await peer.close()
    async with asyncio.timeout(FILE_LIMIT_SECONDS):
        while not (new := set(folder(server).glob("*.*")) - before):
            await asyncio.sleep(0.05)
    return new.pop()


async def test_files_are_fetched_whole_and_in_parts(server, name):
    path = await recorded(server, name)
    url = f"{server.http_url}/client/records/{urllib.parse.quote(path.name)}"
    data = path.read_bytes()
    status, headers, body = await fetch(url)
    assert status == 200 and body == data and headers["Accept-Ranges"] == "bytes"
    assert headers["Content-Type"] == "video/webm" and headers["X-Content-Type-Options"] == "nosniff"
    for wanted, part in {"bytes=0-9": data[:10], "bytes=5-": data[5:], "bytes=-7": data[-7:],
                         f"bytes=3-{len(data) * 2}": data[3:]}.items():
        status, answered, body = await fetch(url, {"Range": wanted})
        assert status == 206 and body == part, wanted
        assert answered["Content-Range"].endswith(f"/{len(data)}"), answered
    status, answered, _ = await fetch(url, {"Range": f"bytes={len(data)}-"})
    assert status == 416 and answered["Content-Range"] == f"bytes */{len(data)}"
    assert (await fetch(url, {"Range": "bytes=0-1,4-5"}))[0] == 200
    assert (await fetch(url, {"Range": "bytes=0-1", "If-Range": '"another"'}))[0] == 200
    assert (await fetch(url, {"Range": "bytes=0-1", "If-Range": headers["ETag"]}))[0] == 206
    assert (await fetch(url, {"If-None-Match": headers["ETag"]}))[0] == 304
    status, answered, body = await fetch(url, method="HEAD")
    assert status == 200 and body == b"" and answered["Content-Length"] == str(len(data))
    assert "attachment" in (await fetch(f"{url}?download"))[1]["Content-Disposition"]
    for hostile in ("..%2F..%2Fweir.yaml", "unfinished", "unfinished%2F.lock", "%00", "x" * 300, ".lock"):
        assert (await fetch(f"{server.http_url}/client/records/{hostile}"))[0] in (400, 404), hostile
    status, answered, png = await fetch(f"{server.http_url}/api/recordings/{urllib.parse.quote(path.name)}/thumbnail")
    assert status == 200 and png.startswith(b"\x89PNG") and answered["Content-Type"] == "image/png"


@pytest.mark.parametrize("access, outside, inside", [("link", 200, 200), ("operator", 403, 200), ("off", 404, 404)])
async def test_who_may_fetch_files(start_server, name, access, outside, inside):
    server = start_server({"recording": {"download": access, "all": True}})
    path = await recorded(server, name, 0.3)
    url = f"{server.http_url}/client/records/{path.name}"
    assert (await fetch(url))[0] == inside
    # As a proxy sends on what somebody else has asked.
    assert (await fetch(url, {"X-Forwarded-For": "192.0.2.1"}))[0] == outside
    for path_of_operator in ("/api/recordings", f"/api/recordings/{path.name}/thumbnail"):
        assert (await fetch(server.http_url + path_of_operator, {"X-Forwarded-For": "192.0.2.1"}))[0] == 403


async def test_streams_are_recorded_by_their_names_and_cut_by_time(start_server, name):
    hooked = {"recording": {
        "names": ["room-*"], "template": "{streamName}", "rotation": "2s", "hook": "/bin/echo"}}
    server = start_server(hooked)
    other, peer = AiortcPeer(), AiortcPeer()
    await publish(other, server, name)
    await publish(peer, server, f"room-{name}")
    await recording(server)
    await asyncio.sleep(5)
    await peer.close()
    await other.close()
    last = await complete(server, f"room-{name}.webm")
    files = sorted(folder(server).glob(f"room-{name}_*.webm")) + [last]
    assert len(files) >= 3, files
    assert list(folder(server).glob(f"{name}*")) == []
    for file in files:
        facts = probe(file)
        assert facts["packets"]["video"][0]["flags"].startswith("K"), file
        decodes(file)
    assert all(1.9 < probe(file)["duration"] < 4 for file in files[:-1])
    async with asyncio.timeout(FILE_LIMIT_SECONDS):
        while f"room-{name} {last}" not in server.log_path.read_text():
            await asyncio.sleep(0.05)


async def test_the_backend_decides_and_is_told(start_server, name):
    answers = {
        "connect": decides(publishStream={"restPolicy": "OVERWRITE", "restOverwrite": "record"}),
        "publishStream": {"record": True},
    }
    async with HookBackend(answers) as backend:
        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            publisher, published = await wcs_publish(client, name)
            await backend.wait(lambda hooks: any(h.body.get("type") == "recordingStarted" for h in hooks))
            await asyncio.sleep(1)
            await client.stop(published, name, published=True)
            end = await client.status(published, "UNPUBLISHED")
            await publisher.close()
        await backend.wait(lambda hooks: hooks[-1].short == "ConnectionStatusEvent DISCONNECTED")
        told = [h.body for h in backend.of("StreamEvent")]
        assert [body["type"] for body in told] == ["recordingStarted", "recordingStopped"], told
        assert {body["payload"]["recordName"] for body in told} == {end["recordName"]}, told
        statuses = {h.body["status"]: h.body for h in backend.of("StreamStatusEvent")}
        assert statuses["PUBLISHING"]["record"] is True
        assert statuses["UNPUBLISHED"]["recordName"] == end["recordName"]
        decodes(await complete(server, end["recordName"]))


async def test_a_killed_server_finds_its_recordings(start_server, name):
    server = start_server({"recording": {"all": True}})
    peer = AiortcPeer()
    await publish(peer, server, name)
    await recording(server)
    await asyncio.sleep(4)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    peer.resource = None  # nobody is there to delete it
    await peer.close()
    server.start()
    async with asyncio.timeout(FILE_LIMIT_SECONDS):
        while not (files := list(folder(server).glob("stream-*.webm"))):
            await asyncio.sleep(0.05)
    facts = probe(files[0])
    assert facts["duration"] > 4 - MOST_LOST_SECONDS, facts["duration"]
    decodes(files[0])
    assert "an unfinished recording of an earlier run was found" in server.log_path.read_text()
    assert server.metrics()["weir_recording_repaired_total"] == 1
    assert list((folder(server) / "unfinished").glob("*.part")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
async def test_a_full_disk_ends_the_recording_and_not_the_stream(start_server, new_page, name, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]).returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        server = start_server({"recording": {"folder": str(disk), "free_space": 0}})
        page = await new_page()
        await page.wcs_publish(server, name, "VP8", {"width": 640, "height": 480}, record=True)
        async with asyncio.timeout(40):
            while "recording failed" not in server.log_path.read_text():
                await asyncio.sleep(0.1)
        assert "no space left on the disk" in server.log_path.read_text()
        assert server.metrics()['weir_recording_failures_total{reason="disk_full"}'] == 1
        assert name in server.streams()
        stream = (await found(server, "stream/find", {"name": name}))[0]
        assert stream["record"] is False and stream["status"] == "PUBLISHING"
        end = await wcs_stop(page)
        # There was no room for a copy with an index and a duration.
        assert times(probe(disk / end["recordName"])["packets"]["video"])[-1] > 1
        decodes(disk / end["recordName"])
        server.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)])


async def test_the_end_of_the_server_completes_its_recordings(start_server, name):
    server = start_server({"recording": {"all": True, "template": "{streamName}"}})
    peer = AiortcPeer()
    await publish(peer, server, name)
    await recording(server)
    await asyncio.sleep(1)
    assert server.stop() == 0
    path = folder(server) / f"{name}.webm"
    assert path.exists() and probe(path)["duration"] > 0.8
    decodes(path)
    peer.resource = None  # nobody is there to delete it
    await peer.close()


async def test_the_page_records_lists_plays_and_deletes(chromium, start_server, name):
    server = start_server({"recording": {"template": "{streamName}"}})
    context = await chromium.browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    try:
        await page.goto(server.http_url)
        await page.select_option("#publish-codec", "video/VP8")
        await page.select_option("#publish-resolution", "640x360")
        await page.fill("#publish-name", name)
        await page.click("#publish-start")
        await page.wait_for_selector("#publish-state:text-is('Live')", timeout=15_000)
        await page.click("#publish-record")
        await page.wait_for_selector("#publish-record[aria-pressed=true]")
        await recording(server)
        await asyncio.sleep(2)
        await page.click("#publish-record")
        await page.wait_for_selector("#publish-record[aria-pressed=false]")
        row = page.locator(f"#recording-list li[data-recording='{name}.webm']")
        await row.wait_for(timeout=10_000)
        assert "VP8 + Opus" in await row.inner_text()
        async with asyncio.timeout(10):
            while not await row.locator("img").evaluate("image => image.naturalWidth > 0"):
                await asyncio.sleep(0.1)
        await row.get_by_role("button", name=f"Play {name}.webm").click()
        async with asyncio.timeout(15):
            while not await page.locator("#record-player").evaluate("video => video.ended && video.videoWidth > 0"):
                await asyncio.sleep(0.1)
        await row.get_by_role("button", name=f"Delete {name}.webm").click()
        await row.wait_for(state="detached", timeout=10_000)
        assert not (folder(server) / f"{name}.webm").exists()
        assert await page.locator("#record-stage").is_hidden()
    finally:
        await context.close()
