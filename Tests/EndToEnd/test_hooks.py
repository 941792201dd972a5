"""Every hook that a client's actions cause, in order and with its fields: WCS sessions (reference part 1.8)."""

import asyncio
import hashlib
import hmac

import pytest

from aiortc_peer import wcs_play, wcs_publish
from hook_backend import DECIDES, HookBackend, decides
from offers import make_offer
from wcs_client import WcsClient

CUSTOM = {"user": "ann", "n": 1.50}
CONNECTED = ["connect", "ConnectionStatusEvent ESTABLISHED"]
PUBLISHED = ["publishStream", "StreamStatusEvent PENDING", "StreamStatusEvent PUBLISHING"]
PLAYED = ["playStream", "StreamStatusEvent PENDING", "StreamStatusEvent PLAYING"]
STREAM_FIELDS = {"name", "mediaSessionId", "published", "hasVideo", "hasAudio", "status", "sdp", "record", "width",
                 "height", "bitrate", "quality", "mediaProvider"}
CONTEXT = {"nodeId", "sessionId", "appKey"}


async def test_every_action_of_a_session_in_order(start_server, name):
    async with HookBackend() as backend:
        server = start_server(backend.application())
        expected = list(CONNECTED)
        async with WcsClient(server.ws_url) as client:
            user = await client.connect(custom=CUSTOM, sipLogin="1000", sipPassword="hidden")
            publisher, published = await wcs_publish(client, name)
            await backend.sequence(expected := expected + PUBLISHED)
            player, played = await wcs_play(client, name)
            await backend.sequence(expected := expected + PLAYED)

            await client.send("pauseStream", {"mediaSessionId": played, "name": name})
            await client.status(played, "PAUSED")
            await backend.sequence(expected := expected + ["pauseStream", "StreamStatusEvent PAUSED"])
            await client.play(name, "", media_session_id=played)
            await client.status(played, "PLAYING")
            await backend.sequence(expected := expected + ["playStream", "StreamStatusEvent PLAYING"])

            await client.send("sendStreamEvent", {"mediaSessionId": published, "type": "data", "payload": {"a": [1]}})
            await client.expect("notifyStreamEvent", lambda d: d[0]["type"] == "data")
            await backend.sequence(expected := expected + ["sendStreamEvent", "StreamEvent"])

            await client.send("sendData", {"operationId": "op-1", "payload": {"text": "hello"}})
            assert (await client.expect("DataStatusEvent"))[0] == {"operationId": "op-1", "status": "ACCEPTED"}
            await backend.sequence(expected := expected + ["OnDataEvent", "DataStatusEvent ACCEPTED"])

            await client.send("snapshot", {"name": name, "mediaSessionId": "shot"})
            await client.expect("notifyStreamEvent", lambda d: d[0]["mediaSessionId"] == "shot")
            await client.send("sessionDebug", {"command": "start"})
            await client.expect("notifySessionDebugEvent")
            await client.send("pushLogs", {"logs": "line\n"})
            await client.send("submitBugReport", {"text": "no picture", "type": "no_media"})
            file_name = (await client.expect("notifyBugReport"))[0]
            await backend.sequence(expected := expected + [
                "snapshot", "StreamEvent", "sessionDebug", "SessionDebugStatusEvent STARTED", "pushLogs", "sendBugReport",
                "BugReportStatusEvent"])

            await client.stop(played, name, published=False)
            await client.status(played, "STOPPED")
            await backend.sequence(expected := expected + ["stopStream", "StreamStatusEvent STOPPED"])
            await client.stop(published, name, published=True)
            await client.status(published, "UNPUBLISHED")
            await backend.sequence(expected := expected + ["unPublishStream", "StreamStatusEvent UNPUBLISHED"])
            await player.close()
            await publisher.close()
        hooks = await backend.sequence(expected + ["ConnectionStatusEvent DISCONNECTED"])

    first = {key: hooks[0].body[key] for key in CONTEXT}
    assert first["appKey"] == "defaultApp" and first["nodeId"].count("@") == 1
    # /CLIENT:PORT/SERVER:PORT-…, which backends of the original take apart.
    assert first["sessionId"].startswith("/127.0.0.1:") and f"/127.0.0.1:{server.ws_port}-" in first["sessionId"]
    for hook in hooks:
        assert {key: hook.body[key] for key in CONTEXT} == first, hook
        assert hook.headers["Content-Type"] == "application/json"
        assert None not in hook.body.values(), hook
    assert hooks[0].body["mediaProviders"] == ["WebRTC", "WSPlayer"] and hooks[0].body["custom"] == CUSTOM
    assert b'"n": 1.5' in hooks[0].raw or b'"n":1.5' in hooks[0].raw, "numbers are handed on as they came"
    assert hooks[0].body["sipPassword"] == "hidden" and "sipPassword" not in user
    established, disconnected = hooks[1].body, hooks[-1].body
    assert established["authToken"] == user["authToken"] and established["custom"] == CUSTOM
    assert established["sipLogin"] == "1000" and "sipPassword" not in established
    assert disconnected["custom"] == CUSTOM and disconnected["info"] == "closed by client"
    for hook in hooks:
        if hook.method in ("publishStream", "playStream", "StreamStatusEvent", "unPublishStream", "stopStream"):
            assert STREAM_FIELDS <= hook.body.keys(), (hook, STREAM_FIELDS - hook.body.keys())
            mine = hook.body["mediaSessionId"] == published
            assert hook.body["published"] == mine and hook.body["name"] == name
    by_method = {hook.method: hook.body for hook in reversed(hooks)}
    assert by_method["publishStream"]["status"] == "NEW" and by_method["publishStream"]["sdp"].startswith("v=0")
    assert by_method["sendStreamEvent"] == {**first, "mediaSessionId": published, "type": "data", "payload": {"a": [1]}}
    assert by_method["StreamEvent"] == {**first, "mediaSessionId": played, "type": "data", "payload": {"a": [1]}}
    assert by_method["OnDataEvent"] == {**first, "operationId": "op-1", "payload": {"text": "hello"}}
    assert by_method["pushLogs"]["logs"] == "line\n"
    assert by_method["BugReportStatusEvent"]["filename"] == file_name
    stopped = [h.body for h in hooks if h.short == "StreamStatusEvent UNPUBLISHED"]
    assert stopped[0]["info"] == "Stopped by user"


async def test_a_lost_session_ends_its_streams_then_itself(start_server, name):
    async with HookBackend() as backend:
        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            publisher, _ = await wcs_publish(client, name, None)
            player, _ = await wcs_play(client, name)
            client.socket.transport.abort()
        hooks = await backend.sequence(CONNECTED + PUBLISHED + PLAYED + [
            "StreamStatusEvent STOPPED", "StreamStatusEvent UNPUBLISHED", "ConnectionStatusEvent DISCONNECTED"])
        assert {h.body["info"] for h in hooks[-3:-1]} == {"Stopped by session disconnect"}
        assert hooks[-1].body["info"] == "connection lost"
        await player.close()
        await publisher.close()


async def test_a_publishers_end_comes_before_its_players_in_other_sessions(start_server, name):
    async with HookBackend() as backend:
        async def slow(hook, request):
            await asyncio.sleep(0.5)

        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as one, WcsClient(server.ws_url) as two:
            await one.connect()
            await two.connect()
            publisher, published = await wcs_publish(one, name)
            player, played = await wcs_play(two, name)
            await backend.wait(lambda hooks: "StreamStatusEvent PLAYING" in [h.short for h in hooks])
            backend.answers["unPublishStream"] = slow
            before = len(backend.hooks)
            await one.stop(published, name, published=True)
            assert await two.failure(played) == "Stopped by publisher stop"
            await backend.wait(lambda hooks: len(hooks) >= before + 3)
            got = backend.hooks[before:]
            assert [h.short for h in got] == [
                "unPublishStream", "StreamStatusEvent UNPUBLISHED", "StreamStatusEvent FAILED"]
            assert got[2].body["info"] == "Stopped by publisher stop" and got[2].body["mediaSessionId"] == played
            await player.close()
            await publisher.close()


async def test_failures_are_told_as_the_client_sees_them(start_server, name):
    async with HookBackend() as backend:
        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            assert await client.failure(await client.play(name, make_offer(False))) == "Stream not found"
            assert await client.failure(await client.publish("a/b", make_offer(True))) != ""
        hooks = await backend.sequence(CONNECTED + [
            "playStream", "StreamStatusEvent FAILED", "publishStream", "StreamStatusEvent FAILED",
            "ConnectionStatusEvent DISCONNECTED"])
        assert hooks[3].body["info"] == "Stream not found"


async def test_the_backend_gives_another_name_and_custom(start_server, name):
    """Alias to real name: what the client asked for is not what is served, and it need not know."""
    rewrite = {"restPolicy": "OVERWRITE", "restOverwrite": "name,custom"}
    answers = {
        "connect": {**decides(publishStream=rewrite, playStream=rewrite, StreamStatusEvent={"clientExclude": "name"}),
                    "custom": {"user": "known"}},
        "publishStream": {"name": f"{name}-real", "custom": {"id": 7}, "record": True},
        "playStream": {"name": f"{name}-real"},
    }
    async with HookBackend(answers) as backend:
        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as client:
            assert (await client.connect(custom={"token": "t"}))["custom"] == {"user": "known"}
            publisher, published = await wcs_publish(client, "alias")
            assert server.streams() == [f"{name}-real"]
            player, played = await wcs_play(client, "other-alias")
            await client.stop(played, "x", published=False)
            assert "name" not in await client.status(played, "STOPPED")
            await player.close()
            await publisher.close()
        await backend.wait(lambda hooks: hooks[-1].short == "ConnectionStatusEvent DISCONNECTED")
        status = next(h.body for h in backend.hooks if h.short == "StreamStatusEvent PUBLISHING")
        assert status["name"] == f"{name}-real" and status["custom"] == {"id": 7}
        assert status["record"] is False, "not in restOverwrite"
        assert backend.of("ConnectionStatusEvent")[0].body["custom"] == {"user": "known"}


@pytest.mark.parametrize("published", [True, False])
async def test_a_keep_alive_ends_a_stream(start_server, name, published):
    async with HookBackend({"connect": decides()}) as backend:
        async def keep(hook, request):
            return 403 if hook.body["published"] == published else None

        backend.answers["StreamKeepAliveEvent"] = keep
        server = start_server({**backend.application(), "hooks": {"keep_alive": True, "keep_alive_interval": "1s"}})
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            publisher, publishing = await wcs_publish(client, name)
            player, playing = await wcs_play(client, name)
            ended = publishing if published else playing
            assert await client.failure(ended) == "Terminated by keep-alive"
            if published:
                assert await client.failure(playing) == "Stopped by publisher stop"
            else:
                assert server.streams() == [name]
            await player.close()
            await publisher.close()
        body = next(h.body for h in backend.of("StreamKeepAliveEvent") if h.body["published"] == published)
        assert body["status"] == ("PUBLISHING" if published else "PLAYING") and body["name"] == name


async def test_hooks_are_signed_over_the_bytes_that_are_sent(start_server):
    async with HookBackend() as backend:
        server = start_server(backend.application(secret_key="top secret"))
        async with WcsClient(server.ws_url) as client:
            await client.connect(custom={"name": "Jürgen \"x\"", "emoji": "🎥"})
        await backend.wait(lambda hooks: len(hooks) == 3)
        for hook in backend.hooks:
            digest = hmac.new(b"top secret", hook.raw, hashlib.md5).hexdigest()
            assert hook.headers["Authorization"] == f"WCS {digest}"
        assert "top secret" not in server.log_path.read_text()


async def test_a_session_comes_back_under_its_id(start_server):
    async with HookBackend() as backend:
        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as client:
            token = (await client.connect(keepAlive=True, custom=CUSTOM))["authToken"]
        await backend.wait(lambda hooks: hooks and hooks[-1].short == "ConnectionStatusEvent DISCONNECTED")
        async with WcsClient(server.ws_url) as client:
            assert (await client.connect(keepAlive=True, authToken=token))["custom"] == CUSTOM
            hooks = await backend.sequence(CONNECTED + ["ConnectionStatusEvent DISCONNECTED"] + CONNECTED)
        assert len({h.body["sessionId"] for h in hooks}) == 1
        assert "authToken" not in hooks[3].body and hooks[3].body["custom"] == CUSTOM


async def test_only_attached_methods_are_sent_and_the_echo_backend_allows(start_server, name):
    async with HookBackend() as backend:
        settings = backend.application(methods=["connect", "sendData"])
        server = start_server(settings)
        # The built-in backend by its whole URL: the way over HTTP.
        echo = f"{server.http_url}/apps/EchoApp"
        other = start_server({"applications": {"defaultApp": {"url": echo}}})
        async with WcsClient(server.ws_url) as client, WcsClient(other.ws_url) as echoed:
            await client.connect()
            await client.send("sendData", {"operationId": "o", "payload": 7})
            assert (await client.expect("DataStatusEvent"))[0]["status"] == "ACCEPTED"
            await client.answer(await client.publish(name, make_offer(True)))
            assert (await echoed.connect(custom=CUSTOM))["custom"] == CUSTOM
            await echoed.answer(await echoed.publish(name, make_offer(True)))
        assert [h.method for h in backend.hooks] == ["connect", "sendData"]
        assert other.metrics()['weir_hooks_requests_total{app="defaultApp",method="publishStream",result="ok"}'] == 1


async def test_every_method_that_can_be_refused_is_in_the_example(start_server):
    """`DECIDES` of these tests and the table of docs/hooks.md stay together."""
    from weir_server import REPOSITORY
    text = (REPOSITORY / "docs/hooks.md").read_text()
    assert all(f"`{method}`" in text for method in DECIDES)
