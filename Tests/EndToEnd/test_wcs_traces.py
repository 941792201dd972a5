"""The recorded messages of the unmodified Web SDK, replayed: each is answered as the SDK needs it.

Media peers of the recordings are gone, so replayed streams end before they are live; that our script client of the
browser tests sends the same messages, with live media, is shown here too."""

import base64
import json
from pathlib import Path

import pytest

from wcs_client import WcsClient

TRACES = Path(__file__).resolve().parent / "traces"
RECORDED_NAME = "stream1"
CODEC_OF = {"play-h264-only": "H264"}


def rows(trace: str) -> list[dict]:
    return json.loads((TRACES / f"{trace}.json").read_text())


def replayed(trace: str, name: str, token: str) -> list[tuple[str, dict]]:
    """The recorded messages with the test's own stream name, and a token that this server gave."""
    messages = []
    for row in rows(trace):
        if "send" in row:
            text = json.dumps(row["send"]).replace(f'"{RECORDED_NAME}"', f'"{name}"').replace('"token-1"', f'"{token}"')
            messages.append((row["page"], json.loads(text)))
    return messages


async def check_answer(client: WcsClient, request: dict) -> None:
    """Waits for what the SDK waits for after this request."""
    message, data = request["message"], request["data"][0] or {}
    identifier = data.get("mediaSessionId")
    if message == "connection":
        got = (await client.expect("getUserData"))[0]
        assert got["status"] == "ESTABLISHED" and got["authToken"]
        for member in ("appKey", "mediaProviders", "custom", "sipLogin"):
            assert got.get(member) == data.get(member), member
        assert "sipPassword" not in got
    elif message in ("publishStream", "playStream"):
        answer = await client.answer(identifier)
        offered = [line.split(" ")[0] for line in data["sdp"].split("\r\n") if line.startswith("m=")]
        assert [line.split(" ")[0] for line in answer.split("\r\n") if line.startswith("m=")] == offered
        direction = "a=recvonly" if message == "publishStream" else "a=sendonly"
        assert direction in answer
    elif message == "unPublishStream":
        assert (await client.status(identifier, "UNPUBLISHED"))["info"] == "Stopped by user"
    elif message == "stopStream":
        assert (await client.status(identifier, "STOPPED"))["info"] == "Stopped by user"
    elif message == "availableStream":
        got = (await client.expect("availableStream", lambda d: d[0]["id"] == identifier))[0]
        assert got["status"] in ("true", "false")
    elif message == "snapshot":
        event = (await client.expect("notifyStreamEvent", lambda d: d[0]["mediaSessionId"] == identifier))[0]
        assert event["type"] == "snapshotCompleted", event
        assert base64.b64decode(event["payload"]["snapshot"]).startswith(b"\x89PNG")
    elif message == "sendData":
        got = (await client.expect("DataStatusEvent"))[0]
        assert got["operationId"] == data["operationId"] and got["status"] in ("ACCEPTED", "FAILED")
    elif message == "submitBugReport":
        assert isinstance((await client.expect("notifyBugReport"))[0], str)
    elif message == "sessionDebug":
        wanted = "STARTED" if data["command"] == "start" else "STOPPED"
        assert (await client.expect("notifySessionDebugEvent"))[0]["status"] == wanted
    elif message in ("call", "answer"):
        assert (await client.expect("fail"))[0]["apiMethod"] == "CallStatusEvent"
        finish = (await client.expect("finish"))[0]
        assert (finish["callId"], finish["status"]) == (data["callId"], "FAILED")
    elif message == "hangup":
        assert (await client.expect("finish"))[0]["callId"] == data["callId"]


@pytest.mark.parametrize("trace", sorted(path.stem for path in TRACES.glob("*.json")))
async def test_every_recorded_message_is_answered(server, new_page, name, trace):
    sdk_plays = any("send" in row and row["send"]["message"] == "playStream" for row in rows(trace))
    sdk_publishes = any("send" in row and row["send"]["message"] == "publishStream" for row in rows(trace))
    if sdk_plays:
        publisher = await new_page()
        await publisher.wcs_publish(server, name, CODEC_OF.get(trace, "VP8"))
    # The session that a recorded connection comes back to.
    custom = next((row["send"]["data"][0].get("custom") for row in rows(trace) if "send" in row), None)
    async with WcsClient(server.ws_url) as earlier:
        token = (await earlier.connect(keepAlive=True, custom=custom))["authToken"]
    clients: dict[str, WcsClient] = {}
    try:
        for page, request in replayed(trace, name, token):
            if page not in clients:
                clients[page] = await WcsClient(server.ws_url).__aenter__()
                if request["message"] != "connection":
                    await clients[page].connect()
            client = clients[page]
            if sdk_plays and sdk_publishes and request["message"] == "publishStream":
                # The recorded publisher cannot become live here: the page's stream takes its place.
                await client.socket.send(json.dumps(request))
                identifier = request["data"][0]["mediaSessionId"]
                assert await client.failure(identifier) == "Stream name is already in use"
                continue
            await client.socket.send(json.dumps(request))
            await check_answer(client, request)
        for client in clients.values():
            await client.send("availableStream", {"mediaSessionId": "last", "name": name})
            await client.expect("availableStream", lambda d: d[0]["id"] == "last")
    finally:
        for client in clients.values():
            await client.__aexit__()


def shape(message: dict) -> tuple[str, list[tuple[str, type]]]:
    """Name, and members in their order with their types."""
    first = message["data"][0]
    return message["message"], [(key, type(value)) for key, value in first.items()] if first else []


def recorded(*traces: str) -> list[tuple[str, list[tuple[str, type]]]]:
    return [shape(row["send"]) for trace in traces for row in rows(trace)
            if "send" in row and row["send"]["message"] != "pong"]


def sdp_shape(sdp: str) -> list[str]:
    """What is the same in every offer of the SDK: media, directions, bundling, and that there is no candidate."""
    wanted = ("m=", "a=mid:", "a=group:", "a=sendonly", "a=recvonly", "a=rtcp-mux", "a=setup:", "a=candidate", "c=")
    return [line.split(" UDP/TLS")[0] for line in sdp.split("\r\n") if line.startswith(wanted)]


async def test_our_script_client_sends_what_the_sdk_sends(server, new_page, name):
    page = await new_page()
    await page.wcs_publish(server, name)
    await page.wcs_play(server, name)
    await page.call("stopAsSDK", "play")
    await page.call("waitStatus", "play", ["STOPPED"], 3000)
    await page.call("stopAsSDK", "pub")
    await page.call("waitStatus", "pub", ["UNPUBLISHED"], 3000)
    published = (await page.call("wcsSession", "pub"))["sent"]
    played = (await page.call("wcsSession", "play"))["sent"]
    ours = {"pub": [m for m in published if m["message"] != "pong"], "play": [m for m in played if m["message"] != "pong"]}
    assert [shape(m) for m in ours["pub"]] == recorded("publish-no-constraints")
    assert [shape(m) for m in ours["play"]] == recorded("connect", "play-default")
    for key, trace, message in (("pub", "publish-no-constraints", "publishStream"), ("play", "play-default", "playStream")):
        mine = next(m for m in ours[key] if m["message"] == message)["data"][0]
        theirs = next(r["send"] for r in rows(trace) if r.get("send", {}).get("message") == message)["data"][0]
        assert sdp_shape(mine["sdp"]) == sdp_shape(theirs["sdp"])
        same = set(mine) - {"sdp", "mediaSessionId", "name"}
        assert {k: mine[k] for k in same} == {k: theirs[k] for k in same}
    for key, trace in (("pub", "publish-no-constraints"), ("play", "play-default")):
        stop, theirs = ours[key][-1]["data"][0], rows(trace)
        theirs = [r["send"] for r in theirs if "send" in r][-1]["data"][0]
        assert {**stop, "mediaSessionId": "", "name": ""} == {**theirs, "mediaSessionId": "", "name": ""}
