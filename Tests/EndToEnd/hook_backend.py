"""A backend web server for hooks: records every POST, answers as the test says."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from aiohttp import web

FAIL = {"restOnError": "FAIL"}
# What a backend answers to `connect` to decide about streams.
DECIDES = {"publishStream": FAIL, "playStream": FAIL, "StreamKeepAliveEvent": FAIL, "OnDataEvent": FAIL}
WAIT_LIMIT_SECONDS = 15.0


@dataclass
class Hook:
    """One POST."""

    method: str
    body: dict
    raw: bytes
    headers: dict = field(repr=False)

    @property
    def short(self) -> str:
        """Method with status and, for events of streams, nothing else: sequences are compared by this."""
        status = self.body.get("status")
        return f"{self.method} {status}" if self.method.endswith("Event") and status else self.method


class HookBackend:
    """Listens on a port of its own as long as it is entered. `answers` holds, by method, a status, an object, a
    `web.Response`, or an async function of the hook that gives one of these; the default is 200 and an empty body."""

    def __init__(self, answers: dict | None = None):
        self.answers = answers or {}
        self.hooks: list[Hook] = []
        self.arrived = asyncio.Condition()
        self.held = 0

    async def __aenter__(self) -> "HookBackend":
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/{path:.*}", self._serve)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        self.site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await self.site.start()
        self.port = self.site._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_) -> None:
        await self.runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    def application(self, **more) -> dict:
        """The setting that makes this the backend of `defaultApp`."""
        return {"applications": {"defaultApp": {"url": self.url, **more}}}

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        hook = Hook(request.path.rsplit("/", 1)[-1], json.loads(raw), raw, dict(request.headers))
        async with self.arrived:
            self.hooks.append(hook)
            self.arrived.notify_all()
        answer = self.answers.get(hook.method)
        if callable(answer):
            answer = await answer(hook, request)
        if isinstance(answer, web.StreamResponse):
            return answer
        if isinstance(answer, int):
            return web.Response(status=answer)
        return web.json_response(answer) if answer is not None else web.Response()

    async def wait(self, fits, limit: float = WAIT_LIMIT_SECONDS) -> None:
        """Until `fits(hooks)`."""
        async with self.arrived:
            try:
                await asyncio.wait_for(self.arrived.wait_for(lambda: fits(self.hooks)), limit)
            except asyncio.TimeoutError:
                raise AssertionError(f"not within {limit} s; heard {[h.short for h in self.hooks]}") from None

    async def sequence(self, expected: list[str], session: str | None = None) -> list[Hook]:
        """Waits for as many hooks (of that session) as are expected and compares them."""
        def chosen():
            return [h for h in self.hooks if session is None or h.body["sessionId"] == session]
        await self.wait(lambda _: len(chosen()) >= len(expected))
        got = chosen()
        assert [h.short for h in got] == expected
        return got

    def of(self, method: str) -> list[Hook]:
        return [hook for hook in self.hooks if hook.method == method]


def decides(**more) -> dict:
    """An answer to `connect` under which refusals count."""
    return {"restClientConfig": {**DECIDES, **more}}


async def hang(hook, request):
    """Never answers."""
    await asyncio.sleep(3600)


async def reset(hook, request):
    """Closes the connection without an answer."""
    request.transport.abort()
    return web.Response()


async def ten_megabytes(hook, request):
    return web.Response(text='{"a":"' + "x" * (10 << 20) + '"}', content_type="application/json")


async def no_json(hook, request):
    return web.Response(text="<html>It works!</html>", content_type="text/html")


async def redirect(hook, request):
    return web.Response(status=307, headers={"Location": "/elsewhere/" + hook.method})
