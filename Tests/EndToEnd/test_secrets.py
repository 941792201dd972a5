"""Nothing that must stay secret is in the log, whatever its level, nor in metrics."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid

import aiohttp

from hook_backend import HookBackend, decides
from offers import make_offer
from tokens import hs256
from wcs_client import WcsClient

SDP_TYPE = {"Content-Type": "application/sdp"}


def secret(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex}{uuid.uuid4().hex}"


async def test_secrets_are_not_in_the_log(start_server, name, tmp_path):
    password, key, shared, admin, signing = (secret(n) for n in ("password", "key", "shared", "admin", "signing"))
    bearer = secret("bearer")
    # What must not be found; values are found in any part of 24 characters or more.
    hidden = {"password": password, "key": key, "shared": shared, "admin": admin, "signing": signing,
              "bearer": bearer,
              "basic": base64.b64encode(f"weir:{password}".encode()).decode()}
    async with HookBackend({"connect": decides(), "playStream": 403}) as backend:
        server = start_server({
            "log": {"level": "trace", "rate": 0},
            "http": {"admin_token": admin},
            "hooks": {"secret_key": shared},
            "tokens": {"hs256_secrets": [signing]},
            "applications": {
                "basic": {"url": backend.url, "username": "weir", "password": password},
                "signed": {"url": backend.url, "secret_key": key},
                "shared": {"url": backend.url},
                "down": {"url": "http://127.0.0.1:9/x", "username": "weir", "password": password},
            }})
        good = hs256(secret=signing, sub="ann")
        expired = hs256(secret=signing, lifetime=-60)
        forged = hs256(secret=secret("other"))
        hidden |= {"good token": good, "expired token": expired, "forged token": forged}
        for application in ("basic", "signed", "shared", "down"):
            async with WcsClient(f"{server.ws_url}?token={good}") as client:
                await client.send("connection", {
                    "appKey": application, "mediaProviders": ["WebRTC"], "keepAlive": True,
                    "custom": {"token": good}, "sipPassword": password})
                if application == "down":
                    await client.expect("fail")
                    continue
                data = (await client.expect("getUserData"))[0]
                hidden[f"authToken {application}"] = data["authToken"]
                await client.answer(await client.publish(f"{name}-{application}", make_offer(True)))
                assert await client.failure(await client.play(f"{name}-{application}", make_offer(False))) == "Forbidden"
                for token in (expired, forged, bearer):
                    refused = await client.publish(f"{name}-x", make_offer(True), custom={"token": token})
                    assert (await client.failure(refused)).startswith("Token ")
                await client.send("sendData", {"operationId": "o", "payload": {"token": good}})
                await client.expect("DataStatusEvent")
        async with WcsClient(server.ws_url) as client:
            await client.send("connection", {"appKey": "shared", "authToken": hidden["authToken shared"]})
            await client.expect("getUserData")
        async with aiohttp.ClientSession() as session:
            for token in (good, expired, forged, bearer):
                for url, headers in (
                    (server.whip(f"{name}-whip"), {"Authorization": f"Bearer {token}"}),
                    (server.whep(f"{name}-whip") + f"?token={token}&appKey=signed", {})):
                    async with session.post(url, data=make_offer("whip" in url), headers=SDP_TYPE | headers) as got:
                        await got.read()
                        if location := got.headers.get("Location"):
                            hidden["resource"] = location.rsplit("/", 1)[-1]
            for token in (admin, bearer, admin[:-1]):
                headers = {"Authorization": f"Bearer {token}"}
                for path in ("/metrics", "/api/log-level", f"/metrics?token={admin}"):
                    async with session.get(server.http_url + path, headers=headers) as got:
                        text = await got.text()
                        assert got.status in (200, 401)
                        if path == "/metrics" and got.status == 200:
                            metrics = text
        assert len(backend.hooks) > 20
        for hook in backend.hooks:
            if hook.body["appKey"] == "signed":
                code = hmac.new(key.encode(), hook.raw, hashlib.md5).hexdigest()
                hidden[f"signature {len(hidden)}"] = code
    server.stop()
    log = server.log_path.read_text()
    assert "stream allowed by token" in log, "the level is not that of the test"
    for where, text in (("log", log), ("metrics", metrics)):
        for what, value in hidden.items():
            parts = [value[i:i + 24] for i in range(0, max(1, len(value) - 23), 8)]
            # Header and claims of a token without its signature open nothing, but nobody needs them either.
            found = [part for part in parts if part in text]
            assert not found, f"{what} in {where}: {next(l for l in text.splitlines() if found[0] in l)[:500]}"


async def test_hook_urls_come_only_from_the_configuration(start_server, name):
    """No field of a client makes the server ask somebody else."""
    async with HookBackend() as backend, HookBackend() as evil:
        server = start_server(backend.application())
        urls = {key: evil.url for key in (
            "url", "restAppUrl", "appUrl", "callbackUrl", "restUrl", "backend", "restClientUrl", "mainClass")}
        config = {"restClientConfig": {"publishStream": {"restExclude": "", **urls}}, **urls}
        async with WcsClient(f"{server.ws_url}?url={evil.url}") as client:
            await client.connect(custom=config, **config)
            await client.answer(await client.publish(name, make_offer(True), custom=config, **urls))
            await client.send("sendData", {"operationId": "o", "payload": config, **urls})
            await client.expect("DataStatusEvent")
        async with aiohttp.ClientSession() as session:
            url = f"{server.whip(name + '-2')}?url={evil.url}&appUrl={evil.url}"
            async with session.post(url, data=make_offer(True), headers=SDP_TYPE) as got:
                assert got.status == 201
            for key in (evil.url, "../" + evil.url, "/apps/EchoApp"):
                async with session.post(
                    server.whip(name + "-3"), params={"appKey": key}, data=make_offer(True), headers=SDP_TYPE) as got:
                    assert got.status == 403
        assert evil.hooks == [] and len(backend.hooks) > 5
