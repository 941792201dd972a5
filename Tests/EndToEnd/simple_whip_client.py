"""Debian's simple-whip-client as a publisher, with a way around a fault of its packaging (no_upnp.c tells of it)."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path

PROGRAM = "/usr/bin/whip-client"
SHIM_SOURCE = Path(__file__).resolve().parent / "no_upnp.c"
SHIM_NAME = "libgupnp-igd-1.0.so.4"
END_LIMIT_SECONDS = 10
PICTURE = ("videotestsrc is-live=true pattern=ball background-color=0xff406080 "
           "! video/x-raw,width=320,height=240,framerate=15/1 ! videoconvert ! queue ")
VIDEO = {
    "VP8": PICTURE + "! vp8enc deadline=1 cpu-used=8 keyframe-max-dist=3000 ! rtpvp8pay pt=96 ssrc=2 ! queue "
                     "! application/x-rtp,media=video,encoding-name=VP8,payload=96",
    "H264": PICTURE + "! openh264enc complexity=low gop-size=3000 ! h264parse config-interval=-1 "
                      "! rtph264pay pt=96 ssrc=2 aggregate-mode=zero-latency ! queue "
                      "! application/x-rtp,media=video,encoding-name=H264,payload=96",
}
AUDIO = ("audiotestsrc is-live=true freq=440 volume=0.3 ! audioconvert ! audioresample ! queue ! opusenc "
         "! rtpopuspay pt=100 ssrc=1 ! queue ! application/x-rtp,media=audio,encoding-name=OPUS,payload=100")


def build_shim(directory: Path) -> Path:
    """Compiles no_upnp.c and returns the directory to look for libraries in first."""
    compiler = shutil.which("cc") or shutil.which("clang")
    assert compiler, "no C compiler (Swift brings clang)"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(directory / SHIM_NAME), str(SHIM_SOURCE)], check=True)
    return directory


class SimpleWhipClient:
    """One process. `async with` starts it; leaving ends it as Ctrl+C does, and checks that it ended by itself."""

    def __init__(self, url: str, codec: str, libraries: Path, *flags: str, token: str | None = None):
        self.command = [PROGRAM, "-o", "-l", "6", "-u", url, "-A", AUDIO, "-V", VIDEO[codec], *flags]
        if token:
            self.command += ["-t", token]
        self.libraries = libraries
        self.output = ""

    async def __aenter__(self) -> "SimpleWhipClient":
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "LD_LIBRARY_PATH": str(self.libraries)})
        self.reader = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(self, kind, *_) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(asyncio.gather(self.reader, self.process.wait()), END_LIMIT_SECONDS)
        except asyncio.TimeoutError:
            self.process.kill()
            await self.process.wait()
        if kind is None:
            assert self.process.returncode == 0, (self.process.returncode, self.output[-2000:])

    async def _read(self) -> None:
        async for line in self.process.stdout:
            self.output += line.decode(errors="replace")

    async def wait_for(self, text: str, limit: float = 15.0) -> None:
        """Waits until the program has written that text."""
        end = asyncio.get_running_loop().time() + limit
        while text not in self.output:
            late = asyncio.get_running_loop().time() > end
            assert self.process.returncode is None and not late, f"{text!r} not seen\n{self.output[-4000:]}"
            await asyncio.sleep(0.05)
