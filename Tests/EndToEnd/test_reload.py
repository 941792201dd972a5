"""SIGHUP: the configuration is read again, all or nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import aiohttp
import yaml

from hook_backend import HookBackend, decides
from offers import make_offer
from rest_api import call, found, get
from tokens import SECRET, Issuer, hs256
from wcs_client import WcsClient
from weir_server import merge

READ, REFUSED = "The configuration was read again", "The configuration has errors"
RESTART = "Some keys have changed that need a restart"
TOKENS = ("first-token-0123456789", "second-token-0123456789")


def lines_of(server, message: str) -> list[dict]:
    lines = map(json.loads, server.log_path.read_text().splitlines())
    return [line for line in lines if line["message"].startswith(message)]


async def reload(server, settings: dict | str, message: str) -> dict:
    """Writes the file, sends SIGHUP, waits for the next line that begins so."""
    before = len(lines_of(server, message))
    text = settings if isinstance(settings, str) else yaml.safe_dump(merge(server.settings, settings))
    (server.directory / "weir.yaml").write_text(text)
    server.process.send_signal(signal.SIGHUP)
    for _ in range(200):
        if len(lines := lines_of(server, message)) > before:
            return lines[-1]
        await asyncio.sleep(0.05)
    raise AssertionError(f"no line {message}\n{server.log_tail()}")


async def test_applications_limits_keys_and_log_level(start_server, name):
    async with HookBackend({"connect": decides()}) as backend:
        server = start_server({"log": {"format": "json"}, "http": {"admin_token": TOKENS[0]}})
        async with WcsClient(server.ws_url) as open_session:
            await open_session.connect()
            line = await reload(server, {
                "applications": {"shop": {"url": backend.url, "username": "u", "password": "never-shown"}},
                "limits": {"streams": 1}, "http": {"admin_token": TOKENS[1]}, "log": {"level": "debug"}}, READ)
            assert set(line["changed"].split()) == {
                "applications", "limits.streams", "http.admin_token", "log.level"}
            assert lines_of(server, RESTART) == []
            assert (await get(server, "/capacity", TOKENS[0]))[0] == 401
            assert json.loads((await get(server, "/capacity", TOKENS[1]))[2])["limits"]["streams"] == 1
            async with WcsClient(server.ws_url) as client:
                await client.connect(appKey="shop")
                await client.answer(await client.publish(name, make_offer(True)))
                info = await client.failure(await client.publish(name + "-2", make_offer(True)))
                assert info == "Limit of published streams is reached"
            await backend.wait(lambda hooks: any(hook.method == "connect" for hook in hooks))
            assert '"level":"debug"' in (await get(server, "/api/log-level", TOKENS[1]))[2]
            assert (await call(server, "app/remove", {"appKey": "shop"}, token=TOKENS[1]))[0] == 409
            assert not open_session.closed
        log = server.log_path.read_text()
        assert "never-shown" not in log and TOKENS[1] not in log


async def test_a_mistake_changes_nothing(start_server, name):
    server = start_server({"log": {"format": "json"}})
    for settings, part in (
        ({"limits": {"streams": 0, "players": 1}}, "limits.streams"),
        ({"limits": {"players": 1}, "applications": {"a": {"url": "no url"}}}, "applications.a"),
        ("limits: {players: 1}\n  no yaml", "weir.yaml"),
    ):
        line = await reload(server, settings, REFUSED)
        assert part in line["error"], line
        assert json.loads((await get(server, "/capacity"))[2])["limits"]["players"] != 1
    # A key that was made at run time meanwhile.
    await call(server, "app/add", {"appKey": "made", "url": "http://192.0.2.1"})
    line = await reload(
        server, {"limits": {"players": 1}, "applications": {"made": {"url": "http://192.0.2.2"}}}, REFUSED)
    assert "made" in line["error"]
    assert json.loads((await get(server, "/capacity"))[2])["limits"]["players"] != 1
    assert (await found(server, "app/find", {"appKey": "made"}))[0]["url"] == "http://192.0.2.1"


async def test_keys_that_need_a_restart_are_named_each_time(start_server):
    server = start_server({"log": {"format": "json"}})
    for _ in range(2):
        line = await reload(server, {"websocket": {"ping_probes": 7}, "limits": {"players": 9}}, RESTART)
        assert line["keys"] == "websocket.ping_probes"
    assert json.loads((await get(server, "/capacity"))[2])["limits"]["players"] == 9
    await reload(server, {}, READ)
    assert len(lines_of(server, RESTART)) == 2


async def test_keys_of_tokens(start_server, name, tmp_path):
    issuer = Issuer()
    keys = tmp_path / "jwks.json"
    keys.write_text(issuer.jwks)
    server = start_server({"log": {"format": "json"}, "tokens": {"hs256_secrets": [SECRET]}})

    async def attempt(token: str | None) -> int:
        headers = {"Content-Type": "application/sdp"} | ({"Authorization": f"Bearer {token}"} if token else {})
        async with aiohttp.ClientSession() as session:
            async with session.post(
                server.whip(f"{name}-{time.monotonic_ns()}"), data=make_offer(True), headers=headers) as got:
                return got.status

    assert await attempt(hs256()) == 201 and await attempt(issuer.token("ES256")) == 401
    line = await reload(server, {"tokens": {"hs256_secrets": [], "jwks_file": str(keys)}}, READ)
    assert line["changed"].split() == ["tokens.hs256_secrets", "tokens.jwks_file"]
    assert await attempt(hs256()) == 401 and await attempt(issuer.token("ES256")) == 201
    # A file with an error: nothing is taken, neither keys nor anything else.
    keys.write_text('{"keys": []}')
    await reload(server, {"tokens": {"hs256_secrets": [], "jwks_file": str(keys)}, "log": {"level": "debug"}}, REFUSED)
    assert await attempt(issuer.token("ES256")) == 201
    assert '"level":"info"' in (await get(server, "/api/log-level"))[2]
    replacement = Issuer("new-")
    keys.write_text(replacement.jwks)
    line = await reload(server, {"tokens": {"hs256_secrets": [], "jwks_file": str(keys)}}, READ)
    assert line["changed"] == "nothing"
    assert await attempt(replacement.token("RS256")) == 201 and await attempt(issuer.token("ES256")) == 401
    line = await reload(server, {"tokens": {
        "hs256_secrets": [], "jwks_file": str(keys), "needed_for": ["play"], "check_interval": "5s"}}, READ)
    assert line["changed"] == "tokens.needed_for" and await attempt(None) == 201
    assert lines_of(server, RESTART)[-1]["keys"] == "tokens.check_interval"
    await reload(server, {"tokens": {"hs256_secrets": []}}, "Tokens decide no more")
    assert SECRET not in server.log_path.read_text()
