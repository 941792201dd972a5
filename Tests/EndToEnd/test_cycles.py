"""Connect, publish, play, stop, over and over: memory, file descriptors and names return to the start."""

import asyncio
import time

from aiortc_peer import wcs_play, wcs_publish
from offers import make_offer
from wcs_client import WcsClient

SHORT_MEDIA_CYCLES = 16
SHORT_SIGNALLING_CYCLES = 50
FULL_MEDIA_CYCLES = 10_000
FULL_SIGNALLING_CYCLES = 10_000
WARM_UP_SHARE = 4
PARALLEL = 4
# Allocators keep pages, so the bound is per run and not zero; a leak of one peer per cycle is far above it.
GROWTH_LIMIT_KIB = 16 * 1024
FILES_TOLERANCE = 2
# What counts what is there now, and must be back at zero.
GAUGES = ("weir_media_peers", "weir_control_sessions", "weir_control_streams", "weir_control_players")
SETTLE_SECONDS = 20.0


async def _media_cycle(server, name: str) -> None:
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        publisher, published = await wcs_publish(client, name)
        player, played = await wcs_play(client, name, decode=False)
        await client.stop(played, name, published=False)
        await client.status(played, "STOPPED")
        await client.stop(published, name, published=True)
        await client.status(published, "UNPUBLISHED")
        await asyncio.gather(player.close(), publisher.close())


async def _signalling_cycle(server, name: str) -> None:
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        identifier = await client.publish(name, make_offer(True))
        await client.answer(identifier)
        await client.failure(await client.play(name, make_offer(False)))
        if hash(name) % 2:  # the other half leaves without a word
            await client.stop(identifier, name, published=True)
            await client.status(identifier, "UNPUBLISHED")


def _is_idle(server) -> bool:
    metrics = server.metrics()
    return all(sum(value for key, value in metrics.items() if key.split("{")[0] == name) == 0 for name in GAUGES)


async def _run(server, name: str, cycle, count: int) -> dict:
    gate = asyncio.Semaphore(PARALLEL)

    async def one(index: int) -> None:
        async with gate:
            await cycle(server, f"{name}-{index}")

    warm_up = max(4, count // WARM_UP_SHARE)
    await asyncio.gather(*(one(index) for index in range(warm_up)))
    await asyncio.sleep(1)
    memory, files, begin = server.resident_kib(), server.open_files(), time.monotonic()
    await asyncio.gather(*(one(warm_up + index) for index in range(count)))
    seconds = time.monotonic() - begin
    end = time.monotonic() + SETTLE_SECONDS
    while not (idle := _is_idle(server)) or server.open_files() > files + FILES_TOLERANCE:
        if time.monotonic() > end:
            break
        await asyncio.sleep(0.1)
    assert idle, {name: server.metrics().get(name) for name in GAUGES}
    facts = {"cycles": count, "seconds": round(seconds, 1), "kib_before": memory, "kib_after": server.resident_kib(),
             "files_before": files, "files_after": server.open_files()}
    print(f"\n{cycle.__name__}: {facts}")
    assert facts["kib_after"] - memory < GROWTH_LIMIT_KIB, facts
    assert facts["files_after"] <= files + FILES_TOLERANCE, facts
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        for index in (0, count // 2, count - 1):
            await client.answer(await client.publish(f"{name}-{index}", make_offer(True)))
    return facts


async def test_cycles_of_signalling_alone(start_server, name, full, pytestconfig, record_property):
    count = pytestconfig.getoption("--cycles") or (FULL_SIGNALLING_CYCLES if full else SHORT_SIGNALLING_CYCLES)
    record_property("facts", await _run(start_server(), name, _signalling_cycle, count))


async def test_cycles_with_media(start_server, name, full, pytestconfig, record_property):
    count = pytestconfig.getoption("--cycles") or (FULL_MEDIA_CYCLES if full else SHORT_MEDIA_CYCLES)
    record_property("facts", await _run(start_server(), name, _media_cycle, count))
