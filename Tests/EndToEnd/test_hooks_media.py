"""Media beside a backend that hangs: the same load on two servers at the same time, one of which has such a backend."""

import asyncio
import contextlib

import pytest

from hook_backend import HookBackend, hang
from wcs_client import WcsClient
from weir_bench import SMALL, Bench

PLAYERS = 20
SECONDS = 6
CLIENTS = 20
# Messages of one client.
INTERVAL_SECONDS = 0.05
# Both servers share a machine that other programs use too: what differs by less says nothing.
SLACK_MS = {"p50": 5, "p99": 50}
FACTOR = 3
LOSS_SLACK = 0.002


async def chat(client: WcsClient) -> None:
    """Sends data without waiting for what becomes of it."""
    count = 0
    while True:
        count += 1
        await client.send("sendData", {"operationId": f"o{count}", "payload": count})
        client.inbox.clear()
        await asyncio.sleep(INTERVAL_SECONDS)


async def measure(server, directory, prefix: str, begun) -> dict:
    bench = await Bench(
        directory, "--url", server.http_url, "--prefix", prefix, *SMALL, "--players", str(PLAYERS),
        "--duration", str(SECONDS)).start()
    try:
        await bench.wait_line("Measuring")
        begun()
        done = await bench.end()
    finally:
        bench.kill()
    assert done.status == 0 and done.step["joins"]["failed"] == 0, (done.output, done.errors)
    assert done.window["players"] == PLAYERS
    return done.window


@pytest.mark.limit(120)
async def test_media_do_not_wait_for_a_backend(start_server, tmp_path, name, record_property):
    async with HookBackend() as backend, contextlib.AsyncExitStack() as stack:
        alone = start_server()
        hooked = start_server({
            **backend.application(),
            "hooks": {"timeout": "1s", "concurrency": 8, "keep_alive": True, "keep_alive_interval": "1s"}})
        chats = []
        for server in (alone, hooked):
            for _ in range(CLIENTS):
                client = await stack.enter_async_context(WcsClient(server.ws_url))
                await client.connect()
                chats.append(client)

        def hang_up():
            backend.answers = {method: hang for method in (
                "connect", "OnDataEvent", "DataStatusEvent", "StreamKeepAliveEvent", "StreamStatusEvent")}

        tasks = [asyncio.create_task(chat(client)) for client in chats]
        try:
            quiet, hanging = await asyncio.gather(
                measure(alone, tmp_path, f"{name}-a", lambda: None),
                measure(hooked, tmp_path, f"{name}-b", hang_up))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            heard = len(backend.of("OnDataEvent"))
            metrics = hooked.metrics()
            backend.answers = {}
    hung = [value for key, value in metrics.items()
            if key.startswith("weir_hooks_requests_total") and 'result="timeout"' in key]
    assert heard > 0 and sum(hung) > 0, "the backend did not hang"
    lines = []
    for kind in ("audioDelay", "videoDelay"):
        for quantile, slack in SLACK_MS.items():
            one, other = quiet[kind][quantile], hanging[kind][quantile]
            lines.append(f"{kind} {quantile} {one:.1f} ms without, {other:.1f} ms with")
            assert other <= FACTOR * one + slack, lines
    losses = [window["packetsLost"] / window["packetsExpected"] for window in (quiet, hanging)]
    assert losses[1] <= losses[0] + LOSS_SLACK, losses
    print(f"media beside a hanging backend: {'; '.join(lines)}; loss {losses[0]:.5f} and {losses[1]:.5f}; "
          f"{sum(hung):.0f} hooks timed out")
    record_property("media beside a hanging backend", hanging["audioDelay"]["p99"])
