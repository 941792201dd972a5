"""The REST API against real clients: what operators and backends of the original do with it."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import aiohttp
import pytest

from aiortc_peer import AiortcPeer, wcs_play, wcs_publish
from hook_backend import HookBackend
from offers import make_offer
from rest_api import call, done, found, get
from wcs_client import WcsClient


async def test_streams_are_found_and_terminated(server, name):
    async with WcsClient(server.ws_url) as publisher, WcsClient(server.ws_url) as viewer:
        await publisher.connect()
        await viewer.connect()
        source, published = await wcs_publish(publisher, name)
        player, played = await wcs_play(viewer, name)
        streams = await found(server, "stream/find", {"name": name, "display": ["metrics"]})
        assert {stream["mediaSessionId"] for stream in streams} == {published, played}
        one = next(stream for stream in streams if stream["published"])
        assert one["status"] == "PUBLISHING" and one["mediaType"] == "publish" and one["videoCodec"] == "VP8"
        assert one["metrics"]["PACKETS_RECEIVED"] > 0
        await done(server, "stream/event/send", {"streamName": name, "payload": {"count": 23}})
        event = (await viewer.expect("notifyStreamEvent", lambda data: data[0]["type"] == "data"))[0]
        assert event["mediaSessionId"] == played and event["payload"] == {"count": 23}
        await done(server, "stream/terminate", {"mediaSessionId": played})
        assert (await viewer.status(played, "STOPPED"))["info"] == "Stopped by rest /terminate"
        await done(server, "stream/terminate", {"name": name})
        assert (await publisher.status(published, "UNPUBLISHED"))["info"] == "Stopped by rest /terminate"
        assert (await call(server, "stream/find", {"name": name}))[0] == 404
        await source.close()
        await player.close()


async def test_the_backend_hears_of_a_terminated_stream(start_server, name):
    async with HookBackend() as backend:
        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as publisher, WcsClient(server.ws_url) as viewer:
            await publisher.connect()
            await viewer.connect()
            source, published = await wcs_publish(publisher, name)
            player, played = await wcs_play(viewer, name)
            await done(server, "stream/terminate", {"name": name})
            await publisher.status(published, "UNPUBLISHED")
            assert await viewer.failure(played) == "Stopped by publisher stop"

            def ends(hooks):
                return [hook for hook in hooks if hook.body.get("status") in ("UNPUBLISHED", "FAILED", "STOPPED")]

            await backend.wait(lambda hooks: len(ends(hooks)) == 2)
            assert [(hook.body["mediaSessionId"], hook.body["info"]) for hook in ends(backend.hooks)] == [
                (published, "Stopped by rest /terminate"), (played, "Stopped by publisher stop")]
            # A backend finds the stream of a hook by what the hook said.
            assert backend.of("publishStream")[0].body["nodeId"].count("@") == 1
            await source.close()
            await player.close()


async def test_sessions_get_data_and_are_terminated(server, name):
    async with WcsClient(server.ws_url) as one, WcsClient(server.ws_url) as other:
        await one.connect(custom={"user": name + "-1"})
        await other.connect(custom={"user": name + "-2"})
        sessions = {c["custom"]["user"]: c for c in await found(server, "connection/find", {"clientVersion": "2.0"})
                    if isinstance(c.get("custom"), dict) and name in c["custom"].get("user", "")}
        assert len(sessions) == 2
        first, second = sessions[name + "-1"], sessions[name + "-2"]
        assert first["appKey"] == "defaultApp" and "authToken" not in first
        ids = [first["sessionId"], second["sessionId"]]
        payload = {"text": "Füße \u2603", "list": [1, 2.5, None]}
        await done(server, "data/send", {
            "nodeId": first["nodeId"], "operationId": "op-1", "sessionIds": ids, "payload": payload})
        for client in (one, other):
            assert (await client.expect("OnDataEvent"))[0] == {"operationId": "op-1", "payload": payload}
        await done(server, "connection/set_log_level", {"sessionId": ids[0], "logLevel": "DEBUG"})
        await done(server, "connection/terminate", {"sessionId": ids[0]})
        async with one.arrived:
            await asyncio.wait_for(one.arrived.wait_for(lambda: one.closed), 8)
        assert [s["sessionId"] for s in await found(server, "connection/find", {"sessionId": ids[0]})] == []
        assert not other.closed


async def test_one_session_is_logged_at_its_own_level(start_server, name):
    server = start_server({"log": {"format": "json"}})
    async with WcsClient(server.ws_url) as loud, WcsClient(server.ws_url) as quiet:
        ids = []
        for client in (loud, quiet):
            before = {c["sessionId"] for c in await found(server, "connection/find_all")}
            await client.connect()
            ids += {c["sessionId"] for c in await found(server, "connection/find_all")} - before
        await done(server, "connection/set_log_level", {"sessionId": ids[0], "logLevel": "debug"})
        for client in (loud, quiet):
            # Logged at level debug: an event of a stream that there is not.
            await client.send("sendStreamEvent", {"mediaSessionId": name, "type": "audioMuted"})
            await client.send("getVersion", None)
        lines = []
        while not lines:
            await asyncio.sleep(0.05)
            lines = [line for line in map(json.loads, server.log_path.read_text().splitlines())
                     if line["message"] == "stream event ignored"]
        # The quiet one has been heard when it is answered.
        await quiet.failure(await quiet.play(name, make_offer(False)))
        lines = [line for line in map(json.loads, server.log_path.read_text().splitlines())
                 if line["level"] == "debug"]
        assert {line.get("session") for line in lines} == {ids[0]}, lines


async def test_an_application_made_by_rest_outlives_a_restart(start_server, name):
    async with HookBackend() as backend:
        server = start_server()
        await done(server, "app/add", {
            "appKey": "made", "url": backend.url, "methods": ["connect", "ConnectionStatusEvent"],
            "restUsername": "weir", "restPassword": "a-secret"})
        assert (await call(server, "app/add", {"appKey": "made", "url": backend.url}))[0] == 409
        assert (await call(server, "app/remove", {"appKey": "defaultApp"}))[0] == 409
        stored = Path(server.settings["state"]["dir"]) / "applications.json"
        assert stat.S_IMODE(stored.stat().st_mode) == 0o600
        server.stop()
        server.start()
        shown = await found(server, "app/find", {"appKey": "made"})
        assert shown[0]["url"] == backend.url and not shown[0]["isReadOnly"] and "a-secret" not in json.dumps(shown)
        async with WcsClient(server.ws_url) as client:
            await client.connect(appKey="made")
            await backend.wait(lambda hooks: len(hooks) == 2)
        assert backend.of("connect")[0].headers["Authorization"].startswith("Basic ")
        assert "a-secret" not in server.log_tail(1000)
        await done(server, "app/remove", {"appKey": "made"})
        async with WcsClient(server.ws_url) as client:
            await client.send("connection", {"appKey": "made"})
            assert (await client.expect("fail"))[0]["apiMethod"] == "ConnectionStatusEvent"


async def test_drain(start_server, name):
    server = start_server()
    async with WcsClient(server.ws_url) as publisher, WcsClient(server.ws_url) as late:
        await publisher.connect()
        source, _ = await wcs_publish(publisher, name)
        await done(server, "drain")
        assert (await get(server, "/health/ready"))[0] == 503
        assert (await get(server, "/health/live"))[0] == 200
        assert json.loads((await get(server, "/capacity"))[2])["verdict"] == "draining"
        await late.send("connection", {"appKey": "defaultApp"})
        assert (await late.expect("fail"))[0]["info"] == "Server is draining"
        player = AiortcPeer()
        player.receive()
        with pytest.raises(AssertionError, match="503"):
            await player.post(server.whep(name))
        await player.close()
        assert server.streams() == [name], "what is live goes on"
        await done(server, "resume")
        assert (await get(server, "/health/ready"))[0] == 200
        async with WcsClient(server.ws_url) as viewer:
            await viewer.connect()
            player, _ = await wcs_play(viewer, name)
            await player.wait_frames(5)
            await player.close()
        await source.close()


async def test_packets_beyond_the_limit_refuse_new_players(start_server, name):
    server = start_server({"limits": {"packet_rate": 20}})
    async with WcsClient(server.ws_url) as publisher, WcsClient(server.ws_url) as viewer:
        await publisher.connect()
        await viewer.connect()
        source, _ = await wcs_publish(publisher, name)
        first, _ = await wcs_play(viewer, name)
        await first.wait_frames(5)
        while (capacity := json.loads((await get(server, "/capacity"))[2]))["verdict"] != "full":
            await asyncio.sleep(0.1)
        assert capacity["load"]["packetRate"] >= 20 and capacity["load"]["players"] == 1
        assert capacity["reason"] == "Limit of packets per second is reached"
        info = await viewer.failure(await viewer.play(name, make_offer(False)))
        assert info == "Limit of packets per second is reached"
        frames = first.frames
        await first.wait_frames(frames + 10)
        await first.close()
        await source.close()


async def test_statistics_come_before_the_page(server, name):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        await client.answer(await client.publish(name, make_offer(True)))
        status, kind, text = await get(server, "/?action=stat")
        assert (status, kind) == (200, "text/plain")
        keys = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("-"))
        assert int(keys["connections_websocket"]) >= 1 and int(keys["streams_webrtc_in"]) >= 1
        assert f"{name}/0" in keys["streams_viewers"].split(";")
        assert int(keys["core_threads"]) > 1 and int(keys["core_resident_memory"]) > 1 << 20
        status, kind, text = await get(server, "/?action=stat&format=json&groups=streams_stats")
        assert (status, kind) == (200, "application/json")
        assert list(json.loads(text)) == ["streams_stats"]
    status, kind, text = await get(server, "/")
    assert (status, kind) == (200, "text/html") and "<html" in text.lower()


async def test_histograms_of_join_hooks_and_turns(start_server, name):
    async with HookBackend() as backend:
        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            source, _ = await wcs_publish(client, name)
            player, _ = await wcs_play(client, name)
            await player.wait_frames(5)
            metrics = server.metrics()
            assert metrics['weir_control_setup_seconds_count{kind="play"}'] == 1
            assert metrics['weir_hooks_request_seconds_count{app="defaultApp"}'] >= 3
            turns = metrics["weir_media_fan_out_turn_seconds_count"]
            assert turns >= 5 and metrics['weir_media_fan_out_turn_seconds_bucket{le="+Inf"}'] == turns
            assert 0 < metrics["weir_media_fan_out_turn_seconds_sum"] < turns
            await player.close()
            await source.close()


async def test_the_backend_hears_what_became_of_data(start_server, name):
    """Data of the operator are settled for the backend: written to one client; a WHEP viewer takes none."""
    async with HookBackend() as backend:
        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            publisher, _ = await wcs_publish(client, name)
            await server.wait_live(name)
            viewer = AiortcPeer()
            viewer.receive()
            async with aiohttp.ClientSession() as http:
                headers = {"Content-Type": "application/sdp"}
                async with http.post(server.whep(name), data=await viewer.offer(), headers=headers) as answer:
                    assert answer.status == 201
            ids = {c["protocol"]: c["sessionId"] for c in await found(server, "connection/find_all")}
            await done(server, "data/send", {"operationId": "op", "sessionIds": list(ids.values()), "payload": 1})
            assert (await client.expect("OnDataEvent"))[0] == {"operationId": "op", "payload": 1}
            await backend.wait(lambda _: len(backend.of("DataStatusEvent")) == 2)
            settled = {h.body["sessionId"]: (h.body["operationId"], h.body["status"]) for h in backend.of("DataStatusEvent")}
            assert settled == {ids["websocket"]: ("op", "ACCEPTED"), ids["whep"]: ("op", "FAILED")}
            await viewer.close()
            await publisher.close()
