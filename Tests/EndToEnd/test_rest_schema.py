"""The REST API against its own description (schemathesis), and docs/rest-api.md against both."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from offers import make_offer
from rest_api import call, found, get
from wcs_client import WcsClient
from weir_server import REPOSITORY

EXAMPLES, FULL_EXAMPLES = 15, 300
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# 503 is what this may answer, as it is described.
NOT_SERVED = ["/rest-api/stream/startRecording"]
# Would turn everything else into 503.
DRAIN = "/rest-api/drain"
# Would leave nothing to be found, so they come last. Schemathesis sends them ids that other calls have answered with.
ENDS = ["/rest-api/stream/terminate", "/rest-api/connection/terminate"]


async def schemathesis(server, examples: int, checks: str, *more: str) -> None:
    url = f"{server.http_url}/rest-api/openapi.json"
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "schemathesis"), "run", url, "--checks", checks, "--max-examples",
        str(examples), "--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color", *more,
        # It keeps what failed in the working directory.
        cwd=server.directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    output = (await process.communicate())[0].decode(errors="replace")
    assert process.returncode == 0, output[-6000:]
    assert server.is_running


@pytest.mark.limit(180)
async def test_no_status_and_no_body_that_is_not_described(start_server, name, full):
    server = start_server()
    async with WcsClient(server.ws_url) as client:
        await client.connect(custom={"user": "ann"})
        await client.answer(await client.publish(name, make_offer(True)))
        examples = FULL_EXAMPLES if full else EXAMPLES
        excluded = [one for path in [*NOT_SERVED, *ENDS, DRAIN] for one in ("--exclude-path", path)]
        await schemathesis(server, examples, CHECKS, *excluded)
        assert len(await found(server, "stream/find_all")) == len(await found(server, "connection/find_all")) == 1
        described = CHECKS.replace("not_a_server_error,", "")
        for checks, paths in ((described, NOT_SERVED), (CHECKS, ENDS)):
            included = [one for path in paths for one in ("--include-path", path)]
            await schemathesis(server, examples, checks, *included)


def calls_of(description: dict) -> dict[str, set[str]]:
    """Path below /rest-api → parameters of its POST."""
    calls = {}
    for path, methods in description["paths"].items():
        if "post" in methods:
            schema = methods["post"]["requestBody"]["content"]["application/json"]["schema"]
            calls[path.removeprefix("/rest-api/")] = set(schema["properties"])
    return calls


async def test_the_documentation_names_every_call_parameter_and_path(server):
    description = json.loads((await get(server, "/rest-api/openapi.json"))[2])
    text = (REPOSITORY / "docs/rest-api.md").read_text()
    calls = calls_of(description)
    assert len(calls) > 15
    rows = {}
    for line in text.splitlines():
        row = re.match(r"\| `(\w[\w/-]*)`[^|]*\|([^|]*)\|", line)
        if row and not row.group(1).endswith("_stats"):
            rows[row.group(1)] = set(re.findall(r"`([\w]+)`", row.group(2)))
    assert rows.keys() == calls.keys()
    filters = set(re.search(r"\*values\*: (.*?)\n\n", text, re.S).group(1).replace("`", "").replace(",", " ").split())
    for path, parameters in calls.items():
        documented = rows[path]
        if path in ("stream/find", "stream/terminate"):
            documented = documented | filters
        assert documented == parameters, path
    for path in description["paths"]:
        assert f"`{path}`" in text or path.startswith("/rest-api/") or path == "/", path
    for status in ("400", "401", "403", "404", "408", "409", "413", "500", "501", "503"):
        assert f"| {status} |" in text, status


async def test_the_examples_of_the_documentation_work(server, name):
    text = (REPOSITORY / "docs/rest-api.md").read_text()
    examples = re.findall(r"curl -d '(\{.*?\})' http://127\.0\.0\.1:8081/rest-api/([\w/-]+)", text)
    assert len(examples) >= 3
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        for body, path in examples:
            await client.answer(await client.publish("cam", make_offer(True)))
            status, answer = await call(server, path, json.loads(body.replace("SESSION", "no-such-session")))
            assert status == (404 if "SESSION" in body else 200), (path, status, answer)
            await call(server, "stream/terminate", {"name": "cam"})
