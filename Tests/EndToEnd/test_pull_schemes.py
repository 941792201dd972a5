"""Sources that are not RTSP's: each is read by a process of its own, which can hurt nobody."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import urllib.parse
from pathlib import Path

import pytest

from aiortc_peer import AiortcPeer
from rest_api import call, done, found
from test_rtsp_pull import refusal, until
from web_source import WebSource
from weir_server import free_ports

LIMIT_SECONDS = 25.0
LOUD = 1000
# The one address of this machine that may be pulled; all others of it must not be reached.
ALLOWED = "127.0.0.2"
SCHEMES = ["rtsp", "rtmp", "http", "srt", "udp", "file"]


def ffmpeg(*arguments) -> list[str]:
    return ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    """A clip of half a minute as MP4 and as HLS, and one whose codec nobody here knows."""
    folder = tmp_path_factory.mktemp("media")
    pictures = "testsrc2=size=160x120:rate=15"
    subprocess.run(ffmpeg(
        "-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", 30,
        "-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "baseline", "-g", 15, "-pix_fmt", "yuv420p",
        "-c:a", "aac", "-movflags", "+faststart", folder / "clip.mp4"), check=True, timeout=60)
    subprocess.run(ffmpeg(
        "-i", folder / "clip.mp4", "-c", "copy", "-f", "hls", "-hls_time", 2, "-hls_list_size", 0,
        folder / "clip.m3u8"), check=True, timeout=60)
    subprocess.run(ffmpeg(
        "-f", "lavfi", "-i", pictures, "-t", 2, "-c:v", "mpeg4", "-movflags", "+faststart", folder / "old.mp4"),
        check=True, timeout=60)
    subprocess.run(ffmpeg("-i", folder / "clip.mp4", "-t", 0.5, "-c", "copy", folder / "short.mp4"), check=True, timeout=60)
    return folder


class Sender:
    """ffmpeg that sends the clip in real time, again and again, until it is killed."""

    def __init__(self, clip: Path, *output):
        self.command = ffmpeg("-re", "-stream_loop", -1, "-i", clip, "-c", "copy", *output)

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> "Sender":
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.kill()


def children(server_pid: int) -> list[int]:
    """Processes that read sources for a server, those that nobody has waited for included."""
    out = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if parent == server_pid:
            out.append(int(entry.name))
    return out


def ended(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


async def watch(server, name: str) -> AiortcPeer:
    peer = AiortcPeer()
    peer.receive()
    await peer.post(server.whep(urllib.parse.quote(name, safe="")))
    await peer.wait_frames(20, LIMIT_SECONDS)
    await peer.wait_audio(LOUD, LIMIT_SECONDS)
    assert peer.luma_variance > 100, peer.luma_variance
    return peer


async def status(server, url: str) -> str | None:
    listed = await found(server, "rtsp/find", {"uri": url})
    return listed[0]["status"] if listed else None


async def test_sources_of_all_schemes(start_server, media):
    """Played with sound, lost and back, killed and back; a process each, and none is left in the end."""
    rtmp, srt, udp = free_ports(3)
    clip = media / "clip.mp4"
    with (WebSource(media) as web, Sender(clip, "-f", "flv", "-listen", 1, f"rtmp://{ALLOWED}:{rtmp}/live/one") as flash,
          Sender(clip, "-f", "mpegts", f"srt://{ALLOWED}:{srt}?mode=listener") as encoder,
          Sender(clip, "-f", "mpegts", f"udp://127.0.0.1:{udp}?pkt_size=1316")):
        urls = {
            "rtmp": f"rtmp://{ALLOWED}:{rtmp}/live/one", "srt": f"srt://{ALLOWED}:{srt}?latency=200",
            "udp": f"udp://@:{udp}", "http": web.url("/clip.mp4", ALLOWED), "hls": web.url("/clip.m3u8", ALLOWED),
            "file": f"file://{clip}",
        }
        server = start_server({"rtsp": {"pull": {
            "allow_networks": [f"{ALLOWED}/32"], "schemes": SCHEMES, "file_folder": str(media), "retry_first": "200ms",
            "retry_longest": "500ms", "linger": "1s", "media_timeout": "2s",
            "sources": [{"name": "yard", "url": urls["rtmp"]}]}}})
        peers = dict(zip(urls, await asyncio.gather(*(watch(server, url) for url in urls.values()))))
        assert len(children(server.process.pid)) == len(urls)
        assert {s["uri"] for s in await found(server, "rtsp/find_all")} >= {urls["http"], urls["srt"]}
        # Of the source that is killed, and of the process that is, viewers stay.
        flash.kill()
        await until("the loss is noticed", lambda: lost(server, urls["rtmp"]))
        flash.start()
        reader = await until("a process that reads from the web", lambda: reading(server, web.port))
        os.kill(reader, signal.SIGKILL)
        await until("its end is noticed", lambda: "signal 9" in server.log_path.read_text())
        # A crash is one at once: no handler holds it up.
        os.kill(children(server.process.pid)[0], signal.SIGSEGV)
        await until("the crash is noticed", lambda: "signal 11" in server.log_path.read_text())
        # One that sends nothing any more is found out, and heard again.
        encoder.process.send_signal(signal.SIGSTOP)
        await until("the silence is noticed", lambda: lost(server, urls["srt"]))
        encoder.process.send_signal(signal.SIGCONT)
        encoder.kill()
        encoder.start()
        victims = {name: peers[name].frames for name in urls}
        for name, frames in victims.items():
            await peers[name].wait_frames(frames + 20, LIMIT_SECONDS)
        assert await status(server, urls["rtmp"]) == "PLAYING"
        # The operator ends one: its process goes at once.
        before = len(children(server.process.pid))
        await done(server, "rtsp/terminate", {"uri": urls["udp"]})
        await until("its process is gone", lambda: len(children(server.process.pid)) == before - 1)
        left = children(server.process.pid)
        assert len(left) == len(urls) - 1
        for peer in peers.values():
            await peer.close()
        server.stop()
        await until("no process is left", lambda: all(ended(pid) for pid in left))


async def lost(server, url: str) -> bool:
    return await status(server, url) == "PENDING"


def reading(server, port: int) -> int | None:
    """A process that is connected to a port."""
    wanted = f":{port:04X} "
    for pid in children(server.process.pid):
        try:
            sockets = {os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir()}
            lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[2].endswith(wanted.strip()) and f"socket:[{fields[9]}]" in sockets:
                return pid
    return None


async def test_nothing_inside_is_reached(start_server, media, tmp_path):
    """Neither by a redirect nor by a playlist, a name, or a file elsewhere; what hangs and what is unknown is told."""
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{}\n#EXT-X-ENDLIST\n"
    with WebSource(media) as web:
        inside = web.url("/clip.mp4", "127.0.0.1")
        link = tmp_path / "link.mp4"
        link.symlink_to(media / "clip.mp4")
        web.answers = {
            "/redirect": (302, {"Location": inside}, ""),
            "/port": (302, {"Location": f"http://{ALLOWED}:25/"}, ""),
            "/inside.m3u8": (200, {}, playlist.format(web.url("/clip0.ts", "127.0.0.1"))),
            "/cloud.m3u8": (200, {}, playlist.format("http://169.254.169.254/latest/meta-data/")),
            "/disk.m3u8": (200, {}, playlist.format(f"file://{media}/clip0.ts")),
            "/secret": (401, {"WWW-Authenticate": 'Basic realm="x"'}, ""),
            "/hang": None,
        }
        refused = "Failed to connect to rtsp stream"
        expected = {
            inside: refused, web.url("/redirect", ALLOWED): refused, web.url("/port", ALLOWED): refused,
            web.url("/inside.m3u8", ALLOWED): refused, web.url("/cloud.m3u8", ALLOWED): refused,
            web.url("/clip.mp4", "localhost"): refused, f"http://{ALLOWED}:22/": refused,
            web.url("/hang", ALLOWED): refused, web.url("/secret", ALLOWED): refused,
            web.url("/disk.m3u8", ALLOWED): refused,
            web.url("/missing.mp4", ALLOWED): "Rtsp stream not found",
            web.url("/old.mp4", ALLOWED): "No common codecs",
            "file:///etc/passwd": "Rtsp stream not found", f"file://{media}/../x.mp4": "Rtsp stream not found",
            f"file://{link}": "Rtsp stream not found", f"file://{tmp_path}/none.mp4": "Rtsp stream not found",
            "srt://127.0.0.2:9000?mode=caller&linger=1": "Rtsp has wrong format",
            f"https://{ALLOWED}/": "Failed to get agent storage", "ftp://example.com/x": "Failed to get agent storage",
        }
        server = start_server({"rtsp": {"pull": {
            "allow_networks": [f"{ALLOWED}/32"], "schemes": SCHEMES, "file_folder": str(tmp_path),
            "response_timeout": "1s"}}})
        told = dict(zip(expected, await asyncio.gather(*(refusal(server, url) for url in expected))))
        assert told == expected, {url: text for url, text in told.items() if text != expected[url]}
        # Not only refused in the end: nobody has been asked.
        assert {address for address, _ in web.seen} == {ALLOWED}, web.seen
        assert server.metrics()['weir_rtsp_pull_failures_total{reason="refusedHost"}'] >= 6
        assert (await call(server, "rtsp/startup", {"uri": f"https://{ALLOWED}/"}))[0] == 400
        assert (await call(server, "rtsp/startup", {"uri": f"http://{ALLOWED}:22/"}))[0] == 400
        await until("every process is gone", lambda: children(server.process.pid) == [])


async def test_sources_of_the_configuration_need_no_scheme(start_server, media):
    """What the operator names is allowed to be named; viewers may not name it. A file begins anew at its end, and ends with
    a server that is killed."""
    def start(clip: str, **more):
        return start_server({"rtsp": {"pull": {
            "file_folder": str(media), "retry_first": "100ms", **more,
            "sources": [{"name": "clip", "url": f"file://{media}/{clip}", "mode": "always"}]}}})
    looping = start("short.mp4", schemes=["http"], hosts=[ALLOWED], allow_networks=["127.0.0.0/8"])
    server = start("clip.mp4", schemes=["http"], max_processes=1)
    await server.wait_live("clip", LIMIT_SECONDS)
    assert await refusal(server, f"file://{media}/clip.mp4") == "Failed to get agent storage"
    assert await refusal(server, "http://198.51.100.1/x.mp4") == "Limit of streams on demand is reached"
    # Whose address is allowed, and whose name is not.
    with WebSource(media) as web:
        web.answers = {"/redirect": (302, {"Location": web.url("/clip.mp4", "localhost")}, "")}
        assert await refusal(looping, web.url("/redirect", ALLOWED)) == "Failed to connect to rtsp stream"
        assert web.seen == [(ALLOWED, "/redirect")]
    # Nothing outlives a server that is killed.
    left = children(server.process.pid)
    server.process.kill()
    server.process.wait()
    server.expected_status = -signal.SIGKILL
    assert len(left) == 1
    await until("its process is gone", lambda: ended(left[0]))
    await until("it has begun anew", lambda: looping.metrics()['weir_rtsp_pull_failures_total{reason="finished"}'] >= 1)
    await looping.wait_live("clip", LIMIT_SECONDS)
