"""Several streams recorded into one file (multipleRecorder), and `weir mix`."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

from aiortc_peer import AiortcPeer
from hook_backend import HookBackend
from media_file import decodes, probe, times
from rest_api import call, done, found
from test_recording import complete, folder, publish
from weir_server import BINARY

URI = "multi-recorder://"
MIX_LIMIT_SECONDS = 60
USAGE, BAD_INPUT, NO_INPUT, CANNOT_CREATE, STOPPED = 64, 65, 66, 73, 130
SMALL = ["--width", "320", "--height", "180", "--fps", "15"]


async def mix(*arguments: str | Path) -> tuple[int, str, str]:
    """(status, standard output, standard error)."""
    process = await asyncio.create_subprocess_exec(
        str(BINARY), "mix", *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(MIX_LIMIT_SECONDS):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


def tracks(path: Path) -> list[tuple[str, str, float, float]]:
    """(name, kind, first, last time) of every track."""
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", str(path)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    result = []
    for stream in told["streams"]:
        at = [float(p["pts_time"]) for p in told["packets"] if p["stream_index"] == stream["index"]]
        result.append((stream["tags"]["title"], stream["codec_type"], min(at), max(at)))
    return result


async def parts(server, count: int) -> None:
    """Waits until so many parts have media."""
    async with asyncio.timeout(15):
        while sum(path.stat().st_size > 2_000 for path in (folder(server) / "unfinished").glob("*.part")) < count:
            await asyncio.sleep(0.05)


async def session(server, name: str) -> str:
    return (await found(server, "stream/find", {"name": name, "published": True}))[0]["mediaSessionId"]


def tone(path: Path, seconds: float) -> float:
    """Loudness in dB of what is at 440 Hz, from that second on."""
    command = ["ffmpeg", "-v", "info", "-ss", str(seconds), "-t", "0.5", "-i", str(path), "-vn",
               "-af", "bandpass=f=440:width_type=h:w=60,volumedetect", "-f", "null", "-"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60).stderr
    return float(re.search(r"mean_volume: (-?[\d.]+|-inf) dB", told).group(1))


async def test_several_streams_are_recorded_into_one_file_and_mixed(start_server, name, tmp_path):
    async with HookBackend() as backend:
        server = start_server(backend.application())
        uri = {"uri": f"{URI}{name}"}
        status, begun = await call(server, "multipleRecorder/startup", uri)
        assert status == 200 and begun == {**uri, "fileName": f"multi-recorder___{name}.mkv", "mediaSessionsId": []}
        one, two = AiortcPeer(), AiortcPeer()
        await publish(one, server, f"{name}-one")
        await publish(two, server, f"{name}-two")
        ids = [await session(server, f"{name}-{who}") for who in ("one", "two")]
        await done(server, "multipleRecorder/add", {**uri, "mediaSessionId": ids[0]})
        await parts(server, 1)
        await asyncio.sleep(1.5)
        await done(server, "multipleRecorder/add", {**uri, "mediaSessionId": ids[1]})
        assert (await call(server, "multipleRecorder/add", {**uri, "mediaSessionId": ids[1]}))[0] == 409
        assert (await found(server, "multipleRecorder/find_all"))[0]["mediaSessionsId"] == sorted(ids)
        await parts(server, 2)
        await asyncio.sleep(1.5)
        # One leaves; the other is taken out and comes back.
        await one.close()
        async with asyncio.timeout(10):
            while (await found(server, "multipleRecorder/find_all"))[0]["mediaSessionsId"] != [ids[1]]:
                await asyncio.sleep(0.05)
        await done(server, "multipleRecorder/remove", {**uri, "mediaSessionId": ids[1]})
        # At once, and once more after a second.
        await done(server, "multipleRecorder/add", {**uri, "mediaSessionId": ids[1]})
        await done(server, "multipleRecorder/remove", {**uri, "mediaSessionId": ids[1]})
        await asyncio.sleep(1)
        await done(server, "multipleRecorder/add", {**uri, "mediaSessionId": ids[1]})
        await parts(server, 3)
        await asyncio.sleep(1)
        status, ended = await call(server, "multipleRecorder/terminate", uri)
        assert status == 200 and ended == {"fileName": begun["fileName"]}
        assert (await call(server, "multipleRecorder/terminate", uri))[0] == 404
        path = await complete(server, begun["fileName"])
        await two.close()
        told = [hook.body["type"] for hook in backend.of("StreamEvent")]
        # The one that was taken out at once may have got a picture.
        assert told.count("recordingStarted") == told.count("recordingStopped") in (3, 4), told
        assert {hook.body["payload"]["recordName"] for hook in backend.of("StreamEvent")} == {path.name}
    decodes(path)
    assert list((folder(server) / "unfinished").glob("*.part")) == []
    found_tracks = tracks(path)
    names = [(title, kind) for title, kind, _, _ in found_tracks]
    assert set(names) == {(f"{name}-{who}", kind) for who in ("one", "two") for kind in ("audio", "video")}
    spans = [(first, last) for title, kind, first, last in found_tracks if kind == "video" and last - first > 0.5]
    assert len(spans) == 3, found_tracks
    assert min(first for _, _, first, _ in found_tracks) < 0.1
    # Comes later, ends at about the same time, comes back after a second.
    assert spans[1][0] > spans[0][0] + 1.4 and abs(spans[1][1] - spans[0][1]) < 1.5, spans
    assert spans[2][0] > spans[1][1] + 0.9, spans
    output = tmp_path / "mixed $(id) 🎥.mp4"
    status, said, errors = await mix("-o", output, path, "--names", *SMALL)
    assert status == 0, errors
    assert "100 %" in errors and str(output) in said, (said, errors)
    decodes(output)
    facts = probe(output)
    assert facts["streams"]["video"]["codec_name"] == "h264" and facts["streams"]["audio"]["codec_name"] == "aac"
    assert (facts["streams"]["video"]["width"], facts["streams"]["video"]["height"]) == (320, 180)
    assert abs(facts["duration"] - max(last for _, _, _, last in found_tracks)) < 0.3, facts["duration"]
    shown = times(facts["packets"]["video"])
    assert all(abs(b - a - 1 / 15) < 0.002 for a, b in zip(shown, shown[1:])), "pictures are not steady"
    assert tone(output, spans[1][0] + 0.5) > -40
    # Nobody is on between the two.
    assert tone(output, (spans[1][1] + spans[2][0]) / 2 - 0.25) < -60
    assert not [entry for entry in os.listdir(tmp_path) if entry.startswith(".weir-mix")]


async def test_a_killed_server_joins_what_it_had_and_it_can_be_mixed(start_server, name, tmp_path):
    server = start_server({})
    uri = {"uri": f"{URI}{name}"}
    await call(server, "multipleRecorder/startup", uri)
    peers = [AiortcPeer(), AiortcPeer()]
    for index, peer in enumerate(peers):
        await publish(peer, server, f"{name}-{index}")
        await done(server, "multipleRecorder/add", {**uri, "mediaSessionId": await session(server, f"{name}-{index}")})
    await parts(server, 2)
    await asyncio.sleep(2.5)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    for peer in peers:
        peer.resource = None  # nobody is there to delete it
        await peer.close()
    server.start()
    path = await complete(server, f"multi-recorder___{name}.mkv")
    decodes(path)
    assert server.metrics()["weir_recording_repaired_total"] == 2
    assert [entry.name for entry in (folder(server) / "unfinished").iterdir()] == [".lock"]
    videos = [(first, last) for _, kind, first, last in tracks(path) if kind == "video"]
    assert len(videos) == 2 and all(last - first > 1.5 for first, last in videos), videos
    status, _, errors = await mix("-o", tmp_path / "out.webm", path, *SMALL)
    assert status == 0, errors
    decodes(tmp_path / "out.webm")
    assert probe(tmp_path / "out.webm")["streams"]["video"]["codec_name"] == "vp8"


async def test_the_end_of_the_server_joins_what_there_is(start_server, name):
    server = start_server({})
    uri = {"uri": f"{URI}{name}"}
    assert (await call(server, "multipleRecorder/startup", uri))[0] == 200
    peer = AiortcPeer()
    await publish(peer, server, name)
    await done(server, "multipleRecorder/add", {**uri, "mediaSessionId": await session(server, name)})
    await parts(server, 1)
    assert await asyncio.get_running_loop().run_in_executor(None, server.stop) == 0
    peer.resource = None  # nobody is there to delete it
    await peer.close()
    assert [title for title, *_ in tracks(folder(server) / f"multi-recorder___{name}.mkv")] == [name, name]
    assert [entry.name for entry in (folder(server) / "unfinished").iterdir()] == [".lock"]


async def test_calls_that_cannot_be_done_say_so(server, start_server, name):
    uri = {"uri": f"{URI}{name}"}
    for path in ("startup", "terminate", "add", "remove"):
        body = {"mediaSessionId": "x"} if path in ("add", "remove") else {}
        for bad in ("", "room", URI, f"http://{name}", URI + "x" * 300):
            assert (await call(server, f"multipleRecorder/{path}", {**body, "uri": bad}))[0] == 400, (path, bad)
        assert (await call(server, f"multipleRecorder/{path}", body))[0] == 400, path
        if path != "startup":
            assert (await call(server, f"multipleRecorder/{path}", {**body, **uri}))[0] == 404, path
    assert (await call(server, "multipleRecorder/startup", uri))[0] == 200
    assert (await call(server, "multipleRecorder/startup", uri))[0] == 409
    for path in ("add", "remove"):
        assert (await call(server, f"multipleRecorder/{path}", {**uri, "mediaSessionId": "nobody"}))[0] == 404
    hostile = {"uri": f"{URI}../../etc/{name}$(id) 🎥"}
    status, begun = await call(server, "multipleRecorder/startup", hostile)
    assert status == 200 and re.fullmatch(r"multi-recorder___[\w.~-]+\.mkv", begun["fileName"]), begun
    assert "/" not in begun["fileName"]
    for one in (uri, hostile):
        assert (await call(server, "multipleRecorder/terminate", one))[0] == 200
    assert list((folder(server) / "unfinished").glob("*.json")) == [], "nothing was recorded"
    off = start_server({"recording": {"enabled": False}})
    assert (await call(off, "multipleRecorder/startup", uri))[0] == 501
    assert (await call(off, "multipleRecorder/find_all"))[0] == 501


def synthetic(path: Path, colour: str, frequency: int, seconds: float, *more: str) -> Path:
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"color={colour}:size=160x90:rate=15",
               "-f", "lavfi", "-i", f"sine=frequency={frequency}", "-t", str(seconds), "-c:v", "libx264", "-preset",
               "ultrafast", "-c:a", "aac", *more, str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


def colours(path: Path, seconds: float, width: int, height: int) -> bytes:
    """The picture at that time as RGB, one byte per value."""
    command = ["ffmpeg", "-v", "error", "-ss", str(seconds), "-i", str(path), "-frames:v", "1", "-f", "rawvideo",
               "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    assert len(data) == width * height * 3
    return data


def near(data: bytes, width: int, x: int, y: int) -> str:
    red, green, blue = data[(y * width + x) * 3:(y * width + x) * 3 + 3]
    if max(red, green, blue) < 60:
        return "black"
    return max((red, "red"), (green, "green"), (blue, "blue"))[1]


async def test_the_command_tells_how_far_it_is_and_what_is_wrong(tmp_path):
    red = synthetic(tmp_path / "red=1.mp4", "red", 300, 2)
    blue = synthetic(tmp_path / "blue.mkv", "blue", 900, 1)
    out = tmp_path / "out.mp4"
    # Files of others without a time must be given one.
    status, _, errors = await mix("-o", out, red, blue)
    assert status == BAD_INPUT and "red=1.mp4" in errors and "--offset" in errors, errors
    offsets = ["--offset", f"{red}=0", "--offset", f"{blue}=0.5"]
    status, said, errors = await mix("-o", out, red, blue, *offsets, *SMALL)
    assert status == 0, errors
    shares = [int(line.split()[0]) for line in errors.splitlines()]
    assert shares == sorted(shares) and shares[-1] == 100 and len(shares) <= 12, errors
    assert "00:02, 2 video and 2 audio tracks" in said, said
    for second, wanted in ((0.2, ("red", "red")), (1.0, ("red", "blue")), (1.8, ("red", "red"))):
        picture = colours(out, second, 320, 180)
        assert (near(picture, 320, 80, 90), near(picture, 320, 240, 90)) == wanted, second
    status, _, errors = await mix("-o", out, red, *SMALL)
    assert status == CANNOT_CREATE and "out.mp4" in errors and "--force" in errors
    assert (await mix("-o", out, red, "--force", *SMALL))[0] == 0
    (tmp_path / "bad.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 50)
    for arguments, wanted, word in [
            (["-o", tmp_path / "x.mp4", tmp_path / "none.mp4"], NO_INPUT, "none.mp4"),
            (["-o", tmp_path / "x.mp4", tmp_path / "bad.mp4"], BAD_INPUT, "bad.mp4"),
            (["-o", tmp_path / "x.avi", red], USAGE, ".mp4"),
            (["-o", tmp_path / "x.mp4", red, "--width", "11"], USAGE, "even"),
            (["-o", tmp_path / "x.mp4", red, "--offset", "red"], USAGE, "FILE=SECONDS"),
            (["-o", tmp_path / "x.mp4", red, "--layout", "pile"], USAGE, "grid"),
            (["-o", tmp_path / "x.mp4"], USAGE, "input"), ([red], USAGE, "output"),
            (["-o", red, red, "--force"], USAGE, "one of the inputs")]:
        status, _, errors = await mix(*arguments)
        assert status == wanted and word in errors, (arguments, status, errors)
    assert not [entry for entry in os.listdir(tmp_path) if entry.startswith((".weir-mix", "x."))]


def on_a_terminal(arguments: list[str], stop_at: int | None = None) -> tuple[int, str]:
    """Status and what a person sees; SIGINT when that percentage is shown."""
    leader, follower = pty.openpty()
    process = subprocess.Popen([str(BINARY), "mix", *arguments], stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    seen, stopped, until = b"", False, time.monotonic() + MIX_LIMIT_SECONDS
    while time.monotonic() < until:
        if select.select([leader], [], [], 0.5)[0]:
            try:
                data = os.read(leader, 65_536)
            except OSError:
                break  # The other end is closed.
            if not data:
                break
            seen += data
        shown = re.findall(rb"\] (\d+) %", seen)
        if stop_at is not None and not stopped and shown and int(shown[-1]) >= stop_at:
            process.send_signal(signal.SIGINT)
            stopped = True
    os.close(leader)
    return process.wait(timeout=10), seen.decode()


async def test_a_terminal_gets_a_bar_and_ctrl_c_leaves_nothing(tmp_path):
    source = str(synthetic(tmp_path / "in.mp4", "green", 300, 60, "-metadata", "creation_time=2026-01-01T00:00:00Z"))
    loop = asyncio.get_running_loop()
    large = ["-o", str(tmp_path / "out.mp4"), source, "--width", "1920", "--height", "1080"]
    status, seen = await loop.run_in_executor(None, on_a_terminal, large, 5)
    assert status == STOPPED, (status, seen[-300:])
    assert os.listdir(tmp_path) == ["in.mp4"]
    small = ["-o", str(tmp_path / "out.mp4"), source, "--width", "64", "--height", "64", "--fps", "2"]
    status, seen = await loop.run_in_executor(None, on_a_terminal, small, None)
    assert status == 0
    bars = re.findall(r"\r\[(#*)(-*)\] (\d+) % ([^\r\n]*)", seen)
    assert bars and all(len(full) + len(rest) == 30 for full, rest, _, _ in bars)
    shares = [int(share) for _, _, share, _ in bars]
    assert shares == sorted(shares) and shares[-1] == 100, shares


async def test_memory_does_not_grow_with_the_length(tmp_path):
    short = synthetic(tmp_path / "short.mp4", "red", 300, 5)
    long = synthetic(tmp_path / "long.mp4", "red", 300, 120)
    peaks = []
    for index, path in enumerate((short, long)):
        command = [str(BINARY), "mix", "-o", str(tmp_path / f"{index}.mp4"), str(path), "--width", "128", "--height", "72",
                   "--fps", "5"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = await asyncio.get_running_loop().run_in_executor(None, os.wait4, process.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        process.returncode = 0
        peaks.append(usage.ru_maxrss)
    assert peaks[1] < peaks[0] + 8 * 1_024, f"{peaks} KiB"
