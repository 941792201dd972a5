"""Pictures of live streams: by REST and by the client's message, of each codec that browsers publish."""

from __future__ import annotations

import asyncio
import base64
import io

import av
import numpy
import pytest

from aiortc_peer import wcs_publish
from rest_api import call
from wcs_client import WcsClient

QUARTERS = {"red": (0, 0), "green": (0, 1), "blue": (1, 0), "white": (1, 1)}
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
# What quantisation and the way to YUV and back may cost a channel.
TOLERANCE = 48


def picture(png: bytes) -> numpy.ndarray:
    """Height x width x RGB."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    with av.open(io.BytesIO(png)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def check_quarters(shown: numpy.ndarray) -> None:
    height, width = shown.shape[:2]
    for colour, (row, column) in QUARTERS.items():
        part = shown[row * height // 2:(row + 1) * height // 2, column * width // 2:(column + 1) * width // 2]
        # Away from the edges, where colours run into each other.
        middle = part[height // 8:3 * height // 8, width // 8:3 * width // 8].reshape(-1, 3).mean(axis=0)
        assert numpy.abs(middle - COLOURS[colour]).max() < TOLERANCE, (colour, middle)


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264", "AV1"])
async def test_the_picture_is_what_is_published(server, new_page, name, codec):
    page = await new_page()
    await page.wcs_publish(server, name, codec, {"quarters": True, "width": 640, "height": 480})
    status, answer = await call(server, "stream/snapshot", {"streamName": name})
    assert status == 200, answer
    shown = picture(base64.b64decode(answer["data"]))
    height, width = shown.shape[:2]
    # The browser may begin with a smaller picture.
    assert width * 3 == height * 4 and 160 <= width <= 640, shown.shape
    check_quarters(shown)
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        await client.send("snapshot", {"name": name, "mediaSessionId": "shot"})
        event = (await client.expect("notifyStreamEvent", lambda data: data[0]["mediaSessionId"] == "shot"))[0]
        assert event["type"] == "snapshotCompleted", event
        check_quarters(picture(base64.b64decode(event["payload"]["snapshot"])))


async def test_many_at_once_are_made_or_refused(server, new_page, name):
    page = await new_page()
    await page.wcs_publish(server, name, "VP8", {"quarters": True})
    answers = await asyncio.gather(*(call(server, "stream/snapshot", {"streamName": name}) for _ in range(12)))
    made = [answer for status, answer in answers if status == 200]
    assert len(made) >= 4 and {status for status, _ in answers} <= {200, 503}, [status for status, _ in answers]
    for answer in made:
        check_quarters(picture(base64.b64decode(answer["data"])))
    async with asyncio.timeout(10):
        while server.metrics()["weir_media_sinks"]:
            await asyncio.sleep(0.05)


async def test_without_a_picture_the_reason_is_told(server, new_page, name):
    assert (await call(server, "stream/snapshot", {"streamName": name}))[0] == 404
    page = await new_page()
    await page.wcs_publish(server, name, media={"video": False})
    status, answer = await call(server, "stream/snapshot", {"streamName": name})
    assert status == 500 and "no video" in str(answer)


async def test_a_publisher_that_leaves_ends_the_wait(server, name):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        source, published = await wcs_publish(client, name)
        asked = asyncio.create_task(call(server, "stream/snapshot", {"streamName": name}))
        await client.stop(published, name, published=True)
        status, _ = await asked
        assert status in (200, 404)
        await source.close()
