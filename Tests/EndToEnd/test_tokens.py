"""Tokens (JWT) as the right to publish and play, for WCS, WHIP and WHEP clients; attacks on them; keys that change."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization

from aiortc_peer import AiortcPeer, wcs_publish
from hook_backend import HookBackend
from offers import make_offer
from tokens import SECRET, Issuer, claims, forge, hs256
from wcs_client import WcsClient
from weir_server import REPOSITORY

SDP_TYPE = {"Content-Type": "application/sdp"}
NOTICED_WITHIN_SECONDS = 10.0


async def post(url: str, token: str | None, publishes: bool = True) -> tuple[int, dict, str]:
    headers = SDP_TYPE | ({"Authorization": f"Bearer {token}"} if token else {})
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=make_offer(publishes), headers=headers) as got:
            return got.status, dict(got.headers), await got.text()


@pytest.fixture
def issuer(tmp_path):
    issuer = Issuer()
    issuer.path = tmp_path / "jwks.json"
    issuer.path.write_text(issuer.jwks)
    return issuer


def settings(keys: Issuer | None = None, **more) -> dict:
    tokens = {"hs256_secrets": [SECRET], "check_interval": "1s", "leeway": "0s", **more}
    return {"tokens": tokens | ({"jwks_file": str(keys.path)} if keys else {})}


async def test_wcs_clients_need_a_token_for_each_name(start_server, name):
    server = start_server(settings())
    async with WcsClient(server.ws_url) as ann, WcsClient(server.ws_url) as bob:
        await ann.connect(custom={"token": hs256({"publish": [name], "play": []}, sub="ann")})
        await bob.connect()
        publisher, published = await wcs_publish(ann, name, None)
        assert await ann.failure(await ann.publish(name + "-x", make_offer(True))) == "Token does not allow this"
        assert await ann.failure(await ann.play(name, make_offer(False))) == "Token does not allow this"
        assert await bob.failure(await bob.play(name, make_offer(False))) == "Token is missing"
        expired = {"token": hs256(lifetime=-1)}
        assert await bob.failure(await bob.play(name, make_offer(False), custom=expired)) == "Token has expired"
        good = {"token": hs256({"play": [name[:4] + "*"]})}
        await bob.answer(await bob.play(name, make_offer(False), custom=good))
        await ann.stop(published, name, published=True)
        await ann.status(published, "UNPUBLISHED")
        await publisher.close()
    metrics = server.metrics()
    assert metrics['weir_token_checks_total{action="play",result="missing"}'] == 1
    assert metrics['weir_token_checks_total{action="play",result="expired"}'] == 1
    assert metrics['weir_token_checks_total{action="publish",result="noRight"}'] == 1
    assert metrics['weir_token_checks_total{action="publish",result="allowed"}'] == 1


async def test_the_token_may_be_in_the_url_of_the_websocket(start_server, name):
    server = start_server(settings())
    async with WcsClient(f"{server.ws_url}?token={hs256()}") as client:
        await client.connect()
        await client.answer(await client.publish(name, make_offer(True)))


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256"])
async def test_whip_to_whep_by_tokens(start_server, issuer, name, algorithm):
    server = start_server(settings(issuer))

    def token(rights: dict) -> str:
        return hs256(rights) if algorithm == "HS256" else issuer.token(algorithm, rights)

    publisher, player = AiortcPeer(), AiortcPeer()
    publisher.send("VP8")
    await publisher.post(f"{server.whip(name)}?token={token({'publish': [name]})}")
    await server.wait_live(name)
    player.receive()
    await player.post(f"{server.whep(name)}?token={token({'play': [name]})}")
    await player.wait_frames(3)
    await player.close()
    await publisher.close()
    status, headers, body = await post(server.whep(name), None, publishes=False)
    assert status == 401 and headers["WWW-Authenticate"] == 'Bearer realm="weir"' and "missing" in body
    status, headers, body = await post(server.whep(name), token({"publish": [name]}), publishes=False)
    assert status == 403 and "WWW-Authenticate" not in headers, body
    status, headers, body = await post(server.whip(name), token({"publish": [name]}) + "A")
    assert status == 401 and 'error="invalid_token"' in headers["WWW-Authenticate"], body


async def test_attacks(start_server, issuer, name):
    server = start_server(settings(issuer, issuer="https://id.example", audience="weir"))
    own = {"iss": "https://id.example", "aud": "weir"}
    good = claims(**own)
    public = issuer.rsa.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    stranger = Issuer()
    attacks = {
        **{f"alg {alg}": forge({"alg": alg}, good, None) for alg in ("none", "None", "NONE", "nOnE")},
        "none with a signature": forge({"alg": "none"}, good, SECRET.encode()),
        "none with a key": forge({"alg": "none", "kid": "r"}, good, None),
        "no signature": forge({"alg": "HS256"}, good, None),
        "empty secret": forge({"alg": "HS256"}, good, b""),
        "public key as secret": forge({"alg": "HS256", "kid": "r"}, good, pem),
        "public key as secret, no kid": forge({"alg": "HS256"}, good, pem),
        "public key as secret, DER": forge({"alg": "HS256", "kid": "r"}, good, der),
        "key set as secret": forge({"alg": "HS256", "kid": "e"}, good, issuer.jwks.encode()),
        "key of a stranger": stranger.token("RS256", **own),
        "key of a stranger in the token": forge(
            {"alg": "RS256", "kid": "own", "jwk": {"kty": "oct", "k": "AAAA"}}, good, b"\0\0\0"),
        "unknown kid": issuer.token("RS256", kid="x", **own),
        "no kid": issuer.token("RS256", kid=None, **own),
        "kid of another algorithm": issuer.token("RS256", kid="e", **own),
        "PS256": issuer.token("PS256", **own),
        "RS512": issuer.token("RS512", **own),
        "kid as a path": forge({"alg": "HS256", "kid": "../../dev/null"}, good, b""),
        "crit": forge({"alg": "HS256", "crit": ["exp"]}, good, SECRET.encode()),
        "expired": issuer.token("ES256", lifetime=-1, **own),
        "not yet": issuer.token("ES256", nbf=int(time.time()) + 60, **own),
        "another audience": issuer.token("ES256", iss="https://id.example", aud="shop"),
        "no audience": issuer.token("ES256", iss="https://id.example"),
        "another issuer": issuer.token("ES256", iss="https://evil.example", aud="weir"),
        "no expiry": forge({"alg": "HS256"}, {k: v for k, v in good.items() if k != "exp"}, SECRET.encode()),
        **{f"exp {exp!r}": forge({"alg": "HS256"}, good | {"exp": exp}, SECRET.encode())
           for exp in (str(good["exp"]), -1, 1e300, good["exp"] * 1000, None, True, [good["exp"]])},
        "rights as a text": hs256("*", **own),
        "secret that is nearly right": hs256(secret=SECRET[:-1] + "g", **own),
        "too long": hs256(pad="x" * 7000, **own),
        "not a token": "a.b.c",
    }
    for what, token in attacks.items():
        status, headers, body = await post(server.whip(name), token)
        assert status == 401, f"{what}: {status} {body}"
        assert "invalid_token" in headers["WWW-Authenticate"], what
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        for what, token in attacks.items():
            info = await client.failure(await client.publish(name, make_offer(True), custom={"token": token}))
            assert info.startswith("Token "), f"{what}: {info}"
    assert server.streams() == []
    for token in (issuer.token("RS256", **own), issuer.token("ES256", **own), hs256(**own)):
        status, _, body = await post(f"{server.whip(name)}-{len(token)}", token)
        assert status == 201, body
    log = server.log_path.read_text()
    assert not any(token in log for token in attacks.values() if len(token) > 20)


async def test_keys_change_without_a_restart(start_server, issuer, name):
    server = start_server(settings(issuer))
    old = issuer.token("ES256")
    assert (await post(server.whip(name), old))[0] == 201

    async def until(token: str, status: int) -> None:
        end = time.monotonic() + NOTICED_WITHIN_SECONDS
        attempt = 0
        while (got := (await post(f"{server.whip(name)}-{attempt}-{status}", token))[0]) != status:
            assert time.monotonic() < end, f"{got}\n{server.log_tail(10)}"
            attempt += 1
            await asyncio.sleep(0.2)

    issuer.path.write_text('{"keys": [{"kty": "oct", "kid": "x", "k": "c2VjcmV0LXRoYXQtc2hvdWxkLW5vdC1iZS1oZXJl"}]}')
    end = time.monotonic() + NOTICED_WITHIN_SECONDS
    while "not usable" not in server.log_tail(10):
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    assert "c2VjcmV0" not in server.log_path.read_text()
    assert (await post(f"{server.whip(name)}-kept", old))[0] == 201
    replacement = Issuer("new-")
    issuer.path.write_text(replacement.jwks)
    await until(replacement.token("RS256"), 201)
    await until(old, 401)
    assert server.metrics()['weir_token_key_reads_total{result="error"}'] == 1


async def test_streams_end_with_their_tokens_if_configured(start_server, name):
    server = start_server(settings(end_at_expiry=True))
    publisher = AiortcPeer()
    publisher.send("VP8")
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        stays = await client.publish(name + "-b", make_offer(True), custom={"token": hs256()})
        await client.answer(stays)
        ends = await client.publish(name, make_offer(True), custom={"token": hs256(lifetime=3)})
        await client.answer(ends)
        assert await client.failure(ends, limit=15) == "Token has expired"
        await client.stop(stays, name + "-b", published=True)
        await client.status(stays, "UNPUBLISHED")
    await publisher.close()


async def test_backends_are_asked_after_the_token(start_server, name):
    async with HookBackend() as backend:
        server = start_server({
            "applications": {"live": {"url": backend.url}, "trusted": {"url": backend.url}},
            **settings(except_applications=["trusted"])})
        assert (await post(server.whip(name) + "?appKey=live", None))[0] == 401
        assert "publishStream" not in [hook.method for hook in backend.hooks]
        assert (await post(server.whip(name) + "?appKey=live", hs256()))[0] == 201
        assert (await post(server.whip(name) + "-2?appKey=trusted", None))[0] == 201
        assert [hook.method for hook in backend.hooks].count("publishStream") == 2


async def test_what_needs_no_token_is_open(start_server, name):
    server = start_server(settings(needed_for=["publish"]))
    assert (await post(server.whip(name), None))[0] == 401
    assert (await post(server.whep(name), None, publishes=False))[0] == 404


async def test_the_documented_program_makes_a_token(start_server, name, tmp_path):
    text = (REPOSITORY / "docs/security.md").read_text()
    program = tmp_path / "mint.py"
    program.write_text(re.search(r"```python\n(.*?)```", text, re.S).group(1))

    async def mint(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), *arguments, env={**os.environ, "SECRET": SECRET},
            stdout=asyncio.subprocess.PIPE)
        return (await process.communicate())[0].decode().strip()

    server = start_server(settings())
    assert (await post(server.whip(name), await mint("ann", "publish", "other", name[:5] + "*")))[0] == 201
    assert (await post(server.whip(name + "-2"), await mint("ann", "play", "*")))[0] == 403
