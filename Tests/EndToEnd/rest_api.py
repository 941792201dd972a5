"""Calls of the REST API."""

from __future__ import annotations

import json

import aiohttp


async def call(server, path: str, body: object = None, *, method: str = "POST", token: str | None = None):
    """(status, what the body says). The answer must be JSON or empty."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = None if body is None else json.dumps(body)
    url = f"{server.http_url}/rest-api/{path}"
    async with aiohttp.ClientSession() as session:
        async with session.request(method, url, data=data, headers=headers) as got:
            text = await got.text()
    return got.status, json.loads(text) if text else None


async def done(server, path: str, body: object = None) -> None:
    """A command that must succeed."""
    status, answer = await call(server, path, body)
    assert (status, answer) == (200, None), (path, status, answer)


async def found(server, path: str, body: object = None) -> list[dict]:
    status, answer = await call(server, path, body)
    assert status in (200, 404), (path, status, answer)
    return answer if status == 200 else []


async def get(server, path: str, token: str | None = None) -> tuple[int, str, str]:
    """(status, content type, text) of a path of monitoring."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session:
        async with session.get(server.http_url + path, headers=headers) as got:
            return got.status, got.headers.get("Content-Type", "").split(";")[0], await got.text()
