"""Players of HLS that are programs of their own or Chromium's, and what each of them has decoded of a stream.

A static HLS made by ffmpeg is the reference for what a player can at all. VLC refuses root, so it runs as another user.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from numbered_clip import FRAME_RATE, Clip

GST_PROGRAM = Path(__file__).resolve().parent / "gst_hls.py"
PYTHON = "/usr/bin/python3"
USER = "nobody"
PLAY_SECONDS = 1.5
PLAY_LIMIT_SECONDS = 25.0
END_LIMIT_SECONDS = 5.0
MAKE_LIMIT_SECONDS = 60
POLL_SECONDS = 0.1
CODECS = {
    "H264": "avc1.42c01e", "H265": "hvc1.1.6.L93.B0", "VP9": "vp09.00.20.08", "AV1": "av01.0.04M.08", "Opus": "opus",
    "AAC": "mp4a.40.2",
}


@dataclass
class Played:
    """Pictures and seconds of sound that a player has decoded, and what it said."""

    pictures: int = 0
    sound: float = 0.0
    problem: str = ""

    @property
    def plays(self) -> bool:
        return self.pictures >= PLAY_SECONDS * FRAME_RATE * 0.8 and self.sound >= PLAY_SECONDS * 0.8


async def _run(*command: str, limit: float = PLAY_LIMIT_SECONDS, environment: dict | None = None) -> tuple[bytes, str]:
    """Output and complaints of a process, which ends in that time or is ended."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, limit=1 << 22,
        env={**os.environ, **(environment or {})})
    try:
        out, complaints = await asyncio.wait_for(process.communicate(), limit + END_LIMIT_SECONDS)
    except asyncio.TimeoutError:
        return b"", "time is over"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out, complaints.decode(errors="replace").strip()


async def ffmpeg(url: str) -> Played:
    """Every picture and every sample is decoded, and no decoder complains."""
    out, complaints = await _run(
        "ffmpeg", "-v", "error", "-i", url, "-map", "0:v:0", "-map", "0:a:0", "-t", str(PLAY_SECONDS), "-f", "framecrc", "-")
    played, base = Played(problem=complaints[-300:]), 1.0
    for line in out.decode().splitlines():
        if line.startswith("#tb 1:"):
            above, below = line.split(":")[1].split("/")
            base = int(above) / int(below)
        elif not line.startswith("#"):
            fields = [field.strip() for field in line.split(",")]
            if fields[0] == "0":
                played.pictures += 1
            else:
                played.sound += int(fields[3]) * base
    return played


async def _gstreamer(element: str, demuxer: str, url: str) -> Played:
    out, complaints = await _run(
        PYTHON, str(GST_PROGRAM), element, url, str(PLAY_SECONDS), str(PLAY_LIMIT_SECONDS))
    if not out:
        return Played(problem=complaints[-300:])
    facts = json.loads(out.decode().splitlines()[-1])
    # One that does not suit may be tried first.
    assert not facts["demuxers"] or facts["demuxers"][-1] == demuxer, facts
    return Played(facts["pictures"], facts["sound"], facts["problem"] or "")


async def gstreamer(url: str) -> Played:
    return await _gstreamer("uridecodebin", "hlsdemux", url)


async def gstreamer2(url: str) -> Played:
    return await _gstreamer("uridecodebin3", "hlsdemux2", url)


async def vlc(url: str) -> Played:
    """What its outputs have written: raw pictures of 320 x 240, and a WAV file."""
    folder = Path(tempfile.mkdtemp(prefix="weir-vlc-"))
    try:
        shutil.chown(folder, USER)
        pictures, sound = folder / "pictures.yuv", folder / "sound.wav"
        command = [
            "cvlc", "--no-color", "--verbose", "0", "--intf", "dummy", "--no-media-library", "--no-video-title-show",
            "--no-spu", "--vout", "yuv", f"--yuv-file={pictures}", "--aout", "afile", f"--audiofile-file={sound}",
            "--run-time", str(2 * PLAY_SECONDS), "--play-and-exit", url, "vlc://quit"]
        if os.geteuid() == 0:
            command = ["runuser", "-u", USER, "--", *command]
        _, complaints = await _run(*command, limit=PLAY_LIMIT_SECONDS, environment={"HOME": str(folder)})
        played = Played(problem=complaints[-300:])
        if pictures.exists():
            played.pictures = pictures.stat().st_size // (320 * 240 * 3 // 2)
        if sound.exists() and sound.stat().st_size > 44:
            with sound.open("rb") as file:
                # Its length in the header is not written where the player is ended.
                head = file.read(44)
            bytes_a_second = int.from_bytes(head[28:32], "little")
            played.sound = (sound.stat().st_size - 44) / max(1, bytes_a_second)
        return played
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class ChromiumPlayer:
    """A page (pages/hls.js) with the browser's own player, or with that of the server's page."""

    def __init__(self, page, native: bool):
        self.page, self.native, self.count = page, native, 0

    async def __call__(self, url: str) -> Played:
        self.count += 1
        key = f"{self.native}-{self.count}"
        await self.page.call("play", key, url, self.native)
        end = asyncio.get_running_loop().time() + PLAY_LIMIT_SECONDS
        while True:
            told = await self.page.call("told", key)
            # What it tells of sound is bytes: whether there is any.
            played = Played(len(told["numbers"]), told["time"] if told["sound"] else 0.0, told["problem"] or "")
            if played.plays or told["ended"] or asyncio.get_running_loop().time() > end:
                break
            await asyncio.sleep(POLL_SECONDS)
        if not played.plays and not played.problem:
            played.problem = f"time is over: {told['state']} at {told['time']:.2f} s"
        await self.page.call("stop", key)
        return played


@dataclass
class Pair:
    """Codecs of a stream, and how ffmpeg makes a static HLS of them."""

    video: str
    audio: str
    container: str

    @property
    def text(self) -> str:
        return f"{self.container} {self.video} + {self.audio}"

    @property
    def name(self) -> str:
        return f"{'ts' if self.container == 'MPEG-TS' else 'mp4'}-{self.video}-{self.audio}".lower()


def make_static(directory: Path, pair: Pair, clip: Clip) -> Path:
    """A finished HLS of the clip in a directory of its own; its multivariant playlist."""
    folder = directory / pair.name
    folder.mkdir()
    command = ["ffmpeg", "-v", "error", "-i", str(clip.path), "-c:v", "copy"]
    command += ["-c:a", "aac", "-b:a", "96k"] if pair.audio == "AAC" else ["-c:a", "copy"]
    if pair.video == "H265":
        command += ["-tag:v", "hvc1"]
    command += ["-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod"]
    command += ["-hls_segment_type", "mpegts" if pair.container == "MPEG-TS" else "fmp4", str(folder / "media.m3u8")]
    done = subprocess.run(command, capture_output=True, timeout=MAKE_LIMIT_SECONDS)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-800:]
    # FFmpeg 5.1 writes no multivariant playlist where it does not know the bit rate, and few of the codecs' names.
    playlist = folder / "index.m3u8"
    playlist.write_text(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-STREAM-INF:BANDWIDTH=1000000,RESOLUTION=320x240,FRAME-RATE=30.000,"
        f'CODECS="{CODECS[pair.video]},{CODECS[pair.audio]}"\nmedia.m3u8\n')
    return playlist


class FileServer:
    """A web server of a directory, open to pages of other origins."""

    def __init__(self, directory: Path):
        self.directory = directory

    async def __aenter__(self) -> str:
        application = web.Application()
        application.router.add_static("/", self.directory)

        async def allow(_request, response) -> None:
            response.headers["Access-Control-Allow-Origin"] = "*"
            if _request.path.endswith(".m3u8"):
                response.headers["Content-Type"] = "application/vnd.apple.mpegurl"
        application.on_response_prepare.append(allow)
        self.runner = web.AppRunner(application)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_) -> None:
        await self.runner.cleanup()
