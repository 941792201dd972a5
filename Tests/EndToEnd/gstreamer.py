"""Starts gst_peer.py with the python3 of Debian and reads what it says."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent / "gst_peer.py"
PYTHON = "/usr/bin/python3"
END_LIMIT_SECONDS = 8


class GstPeer:
    """One process with one webrtcbin. `async with` starts it; leaving ends it, and checks that it ended well."""

    def __init__(self, role: str, url: str, codec: str, *flags: str):
        self.command = [PYTHON, str(PROGRAM), role, url, "--codec", codec, *flags]
        self.facts: dict = {}
        self.offer = self.answer = ""
        self.states: list[str] = []
        self.errors: list[str] = []
        self.deleted: int | None = None

    async def __aenter__(self) -> "GstPeer":
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, limit=1 << 20)
        self.stderr = asyncio.ensure_future(self.process.stderr.read())
        self.reader = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(self, kind, *_) -> None:
        if self.process.returncode is None:
            self.process.terminate()
        try:
            await asyncio.wait_for(asyncio.gather(self.reader, self.process.wait()), END_LIMIT_SECONDS)
        except asyncio.TimeoutError:
            self.process.kill()
            self.errors.append("did not end on SIGTERM")
        if kind is None:
            assert not self.errors, self.errors
            assert self.deleted in (200, 204), (self.deleted, (await self.stderr).decode()[-2000:])

    async def _read(self) -> None:
        async for line in self.process.stdout:
            said = json.loads(line)
            event = said.pop("event")
            if event == "facts":
                self.facts = said
            elif event == "offer":
                self.offer = said["sdp"]
            elif event == "answer":
                self.answer = said["sdp"]
            elif event == "connection":
                self.states.append(said["state"])
            elif event == "deleted":
                self.deleted = said["status"]
            else:
                self.errors.append(said["text"])

    async def _wait(self, what: str, reached, limit: float) -> None:
        end = asyncio.get_running_loop().time() + limit
        while not reached():
            running = self.process.returncode is None
            if not running or self.errors or asyncio.get_running_loop().time() > end:
                if running:
                    self.process.kill()
                text = (await self.stderr).decode()[-2000:]
                raise AssertionError(f"{what} not reached: {self.facts} {self.states} {self.errors}\n{text}")
            await asyncio.sleep(0.05)

    async def connected(self, limit: float = 15.0) -> None:
        await self._wait("connection", lambda: "connected" in self.states, limit)

    async def wait_frames(self, count: int, limit: float = 10.0) -> None:
        await self._wait(f"{count} frames", lambda: self.facts.get("frames", 0) >= count, limit)

    async def wait_sent(self, count: int, limit: float = 15.0) -> None:
        """Waits until so many pictures were given to webrtcbin."""
        await self._wait(f"{count} sent", lambda: self.facts.get("sent", 0) >= count, limit)
