"""Runs `weir bench`, the load generator, against a server of the end-to-end tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import AsyncIterator

from weir_server import BINARY, WeirServer

# Of one run; the loads of the tests take a few seconds.
RUN_LIMIT_SECONDS = 120.0
# From SIGINT to the end: all sessions are ended in order.
LEAVE_LIMIT_SECONDS = 40.0
OK, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 64, 128 + signal.SIGINT
FRAME_RATE = 30
BITRATE = 1_000_000
# What every load has unless it says otherwise: small pictures are encoded quickly, and the media settle at once.
SMALL = ["--bitrate", str(BITRATE), "--size", "640x360", "--fps", str(FRAME_RATE), "--warm-up", "0.5"]


class Standstill:
    """How long the machine stood still, as far as a thread notices that wants to run all the time."""

    BEAT_SECONDS = 0.02
    # What any scheduler may do.
    NOTICED_SECONDS = 0.1

    def __init__(self):
        self.seconds = 0.0
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while True:
            before = time.monotonic()
            if self._ended.wait(self.BEAT_SECONDS):
                return
            late = time.monotonic() - before - self.BEAT_SECONDS
            if late > self.NOTICED_SECONDS:
                self.seconds += late

    def end(self) -> None:
        self._ended.set()


@dataclass
class Done:
    """A run that has ended."""

    status: int
    output: str
    errors: str
    report: dict | None
    # Seconds that the machine stood still while it ran: nothing was sent then.
    standstill: float

    @property
    def step(self) -> dict:
        """The only load of the report."""
        one, = self.report["steps"]
        return one

    @property
    def window(self) -> dict:
        return self.step["window"]

    @property
    def figures(self) -> dict:
        one, = self.report["medians"]
        return one


class Bench:
    """One process `weir bench` whose report goes to a file in `directory`."""

    def __init__(self, directory: Path, *arguments: str, wrapper: tuple[str, ...] = ()):
        """`wrapper`: a program and its arguments that runs the program given to it."""
        self.json = directory / f"bench-{uuid.uuid4().hex[:8]}.json"
        self.arguments = [*wrapper, str(BINARY), "bench", *arguments, "--json", str(self.json)]
        self.errors: list[str] = []

    async def start(self) -> "Bench":
        # Settings of the machine do not leak in.
        clean = {key: value for key, value in os.environ.items() if not key.startswith("WEIR_")}
        self.process = await asyncio.create_subprocess_exec(
            *self.arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=clean)
        self.standstill = Standstill()
        self.said = asyncio.Condition()
        self.reader = asyncio.create_task(self._read())
        self.output = asyncio.create_task(self.process.stdout.read())
        return self

    async def _read(self) -> None:
        async for line in self.process.stderr:
            async with self.said:
                self.errors.append(line.decode())
                self.said.notify_all()

    async def wait_line(self, text: str, limit: float = RUN_LIMIT_SECONDS) -> None:
        """Waits until the program has said how far it is in a line with that text."""
        async def wait() -> None:
            async with self.said:
                await self.said.wait_for(lambda: any(text in line for line in self.errors))
        await asyncio.wait_for(wait(), limit)

    async def end(self, limit: float = RUN_LIMIT_SECONDS) -> Done:
        """Waits for the end of the program, and kills it when the limit passes."""
        try:
            await asyncio.wait_for(self.process.wait(), limit)
        except asyncio.TimeoutError:
            raise AssertionError(f"weir bench did not end in {limit} s: {''.join(self.errors)}") from None
        finally:
            self.kill()
        await self.reader
        text = self.json.read_text() if self.json.exists() else ""
        return Done(self.process.returncode, (await self.output).decode(), "".join(self.errors),
                    json.loads(text) if text else None, self.standstill.seconds)

    async def interrupt(self) -> Done:
        self.process.send_signal(signal.SIGINT)
        return await self.end(LEAVE_LIMIT_SECONDS)

    def kill(self) -> None:
        self.standstill.end()
        if self.process.returncode is None:
            self.process.kill()


async def run_bench(directory: Path, *arguments: str) -> Done:
    """Runs the program to its end."""
    return await (await Bench(directory, *arguments).start()).end()


async def run_load(server: WeirServer, directory: Path, prefix: str, *arguments: str) -> Done:
    """Runs a small load by WHIP and WHEP to its end. Arguments that come twice: the last counts."""
    return await run_bench(directory, "--url", server.http_url, "--prefix", prefix, *SMALL, *arguments)


@contextlib.asynccontextmanager
async def publishing(server: WeirServer, directory: Path, prefix: str, *arguments: str) -> AsyncIterator[Bench]:
    """`weir bench` publishes PREFIX-0 for as long as the body runs; then it must end in order."""
    bench = await Bench(
        directory, "--url", server.http_url, "--prefix", prefix, *SMALL, "--duration", "600", *arguments).start()
    try:
        await bench.wait_line("Measuring")
        await server.wait_live(f"{prefix}-0")
        yield bench
        done = await bench.interrupt()
        assert done.status == INTERRUPTED, (done.status, done.output, done.errors)
    finally:
        bench.kill()
