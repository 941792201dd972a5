"""Backends that refuse, hang, break or talk nonsense: what clients see of it under FAIL and LOG."""

import asyncio
import time

import pytest
from aiohttp import web

from hook_backend import HookBackend, decides, hang, no_json, redirect, reset, ten_megabytes
from offers import make_offer
from wcs_client import WcsClient

TIMEOUT_SECONDS = 1
HOOKS = {"hooks": {"timeout": f"{TIMEOUT_SECONDS}s"}}
FAULTS = {
    "hang": (hang, "Backend did not answer in time"),
    "reset": (reset, "Backend is not available"),
    "ten_megabytes": (ten_megabytes, "Backend gave no valid answer"),
    "no_json": (no_json, "Backend gave no valid answer"),
    "redirect": (redirect, "Temporary Redirect"),
    "forbidden": (403, "Forbidden"),
    "error": (500, "Internal Server Error"),
}


async def refused_connection(client: WcsClient, **options) -> dict:
    await client.send("connection", {"appKey": "defaultApp", "mediaProviders": ["WebRTC"], **options})
    fail = (await client.expect("fail"))[0]
    await asyncio.wait_for(client.reader, 5)
    return fail


@pytest.mark.parametrize("fault", FAULTS)
async def test_connect_declines(start_server, fault):
    answer, info = FAULTS[fault]
    async with HookBackend({"connect": answer}) as backend:
        server = start_server({**backend.application(), **HOOKS})
        async with WcsClient(server.ws_url) as client:
            assert await refused_connection(client) == {
                "status": "FAILED", "info": info, "apiMethod": "ConnectionStatusEvent"}
        hooks = await backend.sequence(
            ["connect", "ConnectionStatusEvent FAILED", "ConnectionStatusEvent DISCONNECTED"])
        assert hooks[1].body.keys() == {"nodeId", "sessionId", "appKey", "status", "info"}
        assert hooks[1].body["info"] == info


@pytest.mark.parametrize("method", ["publishStream", "playStream"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_under_FAIL_a_stream_is_refused(start_server, name, fault, method):
    answer, info = FAULTS[fault]
    async with HookBackend({"connect": decides(), method: answer}) as backend:
        server = start_server({**backend.application(), **HOOKS})
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            begun = time.monotonic()
            if method == "publishStream":
                identifier = await client.publish(name, make_offer(True))
            else:
                identifier = await client.play(name, make_offer(False))
            assert await client.failure(identifier) == info
            assert time.monotonic() - begun < TIMEOUT_SECONDS + 5
        hooks = await backend.sequence([
            "connect", "ConnectionStatusEvent ESTABLISHED", method, "StreamStatusEvent FAILED",
            "ConnectionStatusEvent DISCONNECTED"])
        assert hooks[3].body["info"] == info
        assert server.streams() == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_under_LOG_a_stream_goes_on(start_server, name, fault):
    """The default of the original: a backend that says nothing about errors cannot stop anybody."""
    answer, _ = FAULTS[fault]
    async with HookBackend({"publishStream": answer, "OnDataEvent": answer}) as backend:
        server = start_server({**backend.application(), **HOOKS})
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            await client.answer(await client.publish(name, make_offer(True)))
            for index in range(2):
                await client.send("sendData", {"operationId": f"o{index}", "payload": 1})
                assert (await client.expect("DataStatusEvent"))[0]["status"] == "ACCEPTED"
        await backend.wait(lambda hooks: hooks[-1].short == "ConnectionStatusEvent DISCONNECTED")
        if fault in ("forbidden", "error", "redirect"):
            assert server.log_path.read_text().count("restOnError is LOG") == 1, "told once per session"


async def test_refused_data_and_events_that_fail(start_server):
    """Data can be refused; an event's failure goes to the client as a warning and to the backend as one ErrorEvent."""
    answers = {"connect": decides(ConnectionStatusEvent={"restOnError": "FAIL"}), "OnDataEvent": 403,
               "ConnectionStatusEvent": 500, "ErrorEvent": 500}
    async with HookBackend(answers) as backend:
        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            fail = (await client.expect("fail"))[0]
            assert fail == {"status": "FAILED", "info": "ConnectionStatusEvent: Internal Server Error"}
            await client.send("sendData", {"operationId": "o", "payload": 1})
            assert (await client.expect("DataStatusEvent"))[0] == {
                "operationId": "o", "status": "FAILED", "info": "Forbidden"}
        await backend.wait(lambda hooks: hooks[-1].short == "ConnectionStatusEvent DISCONNECTED")
        assert len(backend.of("ErrorEvent")) == 1
        assert backend.of("ErrorEvent")[0].body["info"] == fail["info"]


async def test_words_of_the_backend_reach_the_client(start_server, name):
    async def no_money(hook, request):
        return web.json_response({"status": 402, "reason": "Pay first"}, status=402)

    async with HookBackend({"connect": decides(), "publishStream": no_money}) as backend:
        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            assert await client.failure(await client.publish(name, make_offer(True))) == "Pay first"


async def test_an_unknown_application_is_refused(server):
    async with WcsClient(server.ws_url) as client:
        fail = await refused_connection(client, appKey="nobody")
        assert fail["info"] == "Unknown application"


async def test_built_in_applications_can_be_switched_off(start_server):
    server = start_server({"hooks": {"built_in": []}})
    for key in ("defaultApp", "roomApp"):
        async with WcsClient(server.ws_url) as client:
            assert (await refused_connection(client, appKey=key))["info"] == "Unknown application"


@pytest.mark.limit(120)
async def test_a_hanging_backend_harms_nobody_else(start_server, name, full, record_property):
    """Many sessions of an application whose backend hangs; another application goes on, and all recover."""
    sessions = 2000 if full else 200
    async with HookBackend() as hanging, HookBackend({"connect": decides()}) as healthy:
        server = start_server({
            "applications": {"defaultApp": {"url": hanging.url}, "other": {"url": healthy.url}},
            "hooks": {"timeout": "3s", "concurrency": 32},
            "limits": {"connections_per_address": 2 * sessions},
        })
        clients = [WcsClient(server.ws_url) for _ in range(sessions)]
        try:
            for client in clients:
                await client.__aenter__()
                await client.connect()
            await hanging.wait(lambda hooks: len(hooks) >= 2 * sessions, 60)
            memory = server.resident_kib()
            hanging.answers = {method: hang for method in ("publishStream", "OnDataEvent")}
            for client in clients:
                await client.send("sendData", {"operationId": "o", "payload": 1})
            async with WcsClient(server.ws_url) as other:
                begun = time.monotonic()
                await other.connect(appKey="other")
                await other.answer(await other.publish(name, make_offer(True)))
                unaffected = time.monotonic() - begun
            # Under LOG each is settled by the timeout, though most were never sent.
            for client in clients:
                assert (await client.expect("DataStatusEvent", limit=30))[0]["status"] == "ACCEPTED"
            growth = server.resident_kib() - memory
            hanging.answers = {}
            begun = time.monotonic()
            before = len(hanging.of("OnDataEvent"))
            while len(hanging.of("OnDataEvent")) == before:
                await clients[0].send("sendData", {"operationId": "again", "payload": 1})
                await clients[0].expect("DataStatusEvent")
                await asyncio.sleep(0.1)
                assert time.monotonic() - begun < 15
            recovered = time.monotonic() - begun
        finally:
            for client in clients:
                await client.__aexit__()
    log = server.log_path.read_text()
    assert "the backend seems to be down" in log and "the backend is back" in log
    print(f"hanging backend: {sessions} sessions; another application connects and publishes in {unaffected:.2f} s; "
          f"memory +{growth} KiB; recovery {recovered:.1f} s")
    record_property("hanging backend", recovered)
    assert unaffected < 3
    assert growth < 100_000
