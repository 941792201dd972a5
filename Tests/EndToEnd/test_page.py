"""The server's own page as a person uses it: publish the test picture, watch it in another page, stop, read errors."""

import asyncio
import time

import pytest

from browser import TestPage

START_LIMIT_MS = 15_000
TILES_LIMIT_SECONDS = 10.0
LIST_LIMIT_MS = 5_000  # the page asks once a second
RESOLUTION = "640x360"
SOUND_BITS_PER_SECOND = 80_000
PHONE = {"width": 390, "height": 844}

# Luma of what a <video> shows, as a small thumbnail.
LUMA = """video => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 36 });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const luma = [];
    for (let i = 0; i < rgba.length; i += 4) {
        luma.push(Math.round(0.299 * rgba[i] + 0.587 * rgba[i + 1] + 0.114 * rgba[i + 2]));
    }
    return luma;
}"""


@pytest.fixture
def open_page(request, chromium, server):
    """An async function that opens a path of the server's page; all are closed after the test."""
    pages = request.node.pages = []

    async def open_path(path: str = "/"):
        context = await chromium.browser.new_context(viewport={"width": 1280, "height": 900})
        page = await context.new_page()
        pages.append(TestPage(page))
        await page.goto(server.http_url + path)
        return page

    yield open_path
    for page in pages:
        request.config.event_loop.run_until_complete(page.close())


async def publish(page, name: str, codec: str = "") -> None:
    """Fills in the form and starts; returns when the page says that it is live."""
    await page.select_option("#publish-resolution", RESOLUTION)
    await page.select_option("#publish-codec", codec)
    await page.fill("#publish-name", name)
    await page.click("#publish-start")
    await page.wait_for_selector("#publish-state:text-is('Live')", timeout=START_LIMIT_MS)


async def playing(page) -> None:
    await page.wait_for_selector("#play-state:text-is('Playing')", timeout=START_LIMIT_MS)


async def measured_tiles(page, selector: str) -> dict[str, str]:
    """The tiles once they tell of pictures: rates need two looks at the browser's statistics."""
    end = time.monotonic() + TILES_LIMIT_SECONDS
    while True:
        shown = await tiles(page, selector)
        rate = shown.get("Frame rate", "").split()
        if rate and rate[0].isdigit() and int(rate[0]) > 3 and shown["Bitrate"].endswith("bit/s"):
            return shown
        assert time.monotonic() < end, shown
        await asyncio.sleep(0.1)


async def check_picture_moves(page) -> None:
    video = page.locator("#player")
    before = await video.evaluate(LUMA)
    await asyncio.sleep(1.5)
    after = await video.evaluate(LUMA)
    assert 15 < sum(after) / len(after) < 240, "picture is blank"
    assert sum(abs(a - b) > 8 for a, b in zip(before, after)) > 20, "picture does not move"


async def tiles(page, box: str) -> dict[str, str]:
    """The statistics as the page shows them, by their titles."""
    pairs = await page.locator(f"{box} .tiles > div").evaluate_all(
        "all => all.map(one => [one.querySelector('dt').textContent, one.querySelector('dd').textContent])")
    return dict(pairs)


def listed(page, name: str):
    return page.locator(f"#streams tr[data-stream='{name}']")


async def test_publish_list_play_and_stop(request, open_page, name):
    publisher, player = await open_page(), await open_page()
    await publish(publisher, name, "video/VP8")

    row = listed(player, name)
    await row.wait_for(timeout=LIST_LIMIT_MS)
    await row.get_by_role("button", name=f"Play {name}").click()
    await playing(player)
    await check_picture_moves(player)

    shown = await measured_tiles(player, "#play-stats")
    sent = await measured_tiles(publisher, "#publish-stats")
    assert shown["Codec"] == "VP8" and sent["Codec"] == "VP8"
    assert shown["Bitrate"].endswith("bit/s") and int(shown["Frame rate"].split()[0]) > 3, shown
    assert await player.locator("#player").evaluate("video => video.videoWidth") > 0
    assert await row.locator(".codec").inner_text() == "VP8 + Opus"
    assert await row.locator(".players").inner_text() == "1"
    assert "bit/s" in await row.locator(".bitrate").inner_text()

    await publisher.click("#publish-stop")
    await publisher.wait_for_selector("#publish-state:text-is('Off')")
    await row.wait_for(state="detached", timeout=LIST_LIMIT_MS)
    await player.wait_for_selector("#play-state:text-is('Ended')", timeout=START_LIMIT_MS)
    assert f"The stream “{name}” has ended." in await player.locator("#play-problem").inner_text()

    messages = [message for page in request.node.pages for message in page.messages]
    assert not [message for message in messages if "Content Security Policy" in message or "Uncaught" in message], messages


@pytest.mark.parametrize("source", ["camera", "screen"])
async def test_camera_and_screen_are_published(open_page, name, source):
    publisher = await open_page()
    # The radio button itself is hidden behind its label, which is what a person clicks.
    await publisher.locator(f"label:has(input[name=source][value={source}])").click()
    await publish(publisher, name, "video/VP8")
    assert await publisher.locator("#preview").evaluate("video => video.videoWidth") > 0
    player = await open_page(f"/?play={name}")
    await playing(player)
    assert await player.locator("#player").evaluate("video => video.videoWidth") > 0
    if source == "camera":
        await check_picture_moves(player)


async def test_bitrate_limit_is_kept_and_may_change_in_mid_stream(open_page, name):
    page = await open_page()
    await page.locator("#publish-bitrate").fill("1")
    limit = await page.locator("#publish-bitrate-text").inner_text()
    await publish(page, name, "video/VP8")
    await asyncio.sleep(4)
    low = bits_per_second((await tiles(page, "#publish-stats"))["Bitrate"])
    # The tile counts the sound, too.
    assert low < bits_per_second(limit) * 1.3 + SOUND_BITS_PER_SECOND, (low, limit)
    await page.locator("#publish-bitrate").fill("7")
    await page.locator("#publish-bitrate").dispatch_event("change")
    for _ in range(40):
        await asyncio.sleep(0.25)
        high = bits_per_second((await tiles(page, "#publish-stats"))["Bitrate"])
        if high > low * 1.5:
            break
    assert high > low * 1.5, (low, high)
    assert await page.locator("#publish-state").inner_text() == "Live"


def bits_per_second(text: str) -> float:
    number, unit = text.split()[:2]
    return float(number) * {"bit/s": 1, "kbit/s": 1e3, "Mbit/s": 1e6}[unit]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_in_light_and_dark(request, chromium, server, name, scheme):
    context = await chromium.browser.new_context(
        viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True, device_scale_factor=2)
    page = await context.new_page()
    try:
        await page.goto(server.http_url)
        await page.wait_for_selector("#server-state[data-tone=good]", timeout=START_LIMIT_MS)
        # Nothing is wider than the phone, with a long name in the list, too.
        await page.fill("#publish-name", f"{name}-{'long-' * 20}")
        await page.tap("#publish-start")
        await page.wait_for_selector("#publish-state:text-is('Live')", timeout=START_LIMIT_MS)
        await listed(page, f"{name}-{'long-' * 20}").wait_for(timeout=LIST_LIMIT_MS)
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        small = await page.locator("button:visible, select:visible, input[type=text]:visible").evaluate_all(
            "all => all.filter(one => one.getBoundingClientRect().height < 32).map(one => one.outerHTML.slice(0, 120))")
        assert small == [], "too small for a finger"
        colours = await page.evaluate("""() => {
            const luma = text => { const [r, g, b] = text.match(/[0-9.]+/g).map(Number); return 0.3*r + 0.6*g + 0.1*b; };
            const card = getComputedStyle(document.querySelector('.card'));
            return [luma(getComputedStyle(document.body).backgroundColor), luma(card.color)];
        }""")
        ground, text = colours
        assert (ground > 200 and text < 90) if scheme == "light" else (ground < 50 and text > 170), colours
    finally:
        await context.close()


@pytest.mark.parametrize("codec", ["video/VP9", "video/H264"])
async def test_link_plays_the_chosen_codec(open_page, name, codec):
    publisher = await open_page()
    await publish(publisher, name, codec)
    player = await open_page(f"/?play={name}")
    await playing(player)
    await check_picture_moves(player)
    assert (await measured_tiles(player, "#play-stats"))["Codec"] == {"video/VP9": "VP9", "video/H264": "H.264"}[codec]
    assert not await player.locator("#publish").is_visible(), "a link to watch shows no form for publishing"


async def test_unknown_name_is_explained_and_played_when_it_appears(open_page, name):
    player, publisher = await open_page(), await open_page()
    await player.fill("#play-name", name)
    await player.click("#play-start")
    problem = player.locator("#play-problem")
    await problem.locator("strong").wait_for(timeout=START_LIMIT_MS)
    text = await problem.inner_text()
    assert f"No stream named “{name}” is live." in text
    assert "Stream not found" in text and "(HTTP 404)" in text, "the server's own words are shown"
    assert await problem.locator(".remedy").inner_text(), "no remedy is shown"

    await publish(publisher, name)
    await playing(player)
    assert await problem.inner_text() == ""


async def test_name_in_use_is_explained(open_page, name):
    first, second = await open_page(), await open_page()
    await publish(first, name)
    await second.fill("#publish-name", name)
    await second.click("#publish-start")
    problem = second.locator("#publish-problem")
    await problem.locator("strong").wait_for(timeout=START_LIMIT_MS)
    text = await problem.inner_text()
    assert f"The name “{name}” is in use." in text and "Stream name is already in use" in text
    assert await first.locator("#publish-state").inner_text() == "Live"


async def test_bad_names_are_refused_before_the_server_is_asked(open_page):
    page = await open_page()
    for bad, words in {"": "Enter a stream name", "a/b": "/ is not allowed", "rtsp://x": "A URL is not"}.items():
        await page.fill("#publish-name", bad)
        await page.click("#publish-start")
        assert words in await page.locator("#publish-name-fault").inner_text()
        assert await page.locator("#publish-name").get_attribute("aria-invalid") == "true"


async def test_closing_the_page_frees_the_name(open_page, name):
    publisher, other = await open_page(), await open_page()
    await publish(publisher, name)
    await listed(other, name).wait_for(timeout=LIST_LIMIT_MS)
    await publisher.goto("about:blank")
    await listed(other, name).wait_for(state="detached", timeout=LIST_LIMIT_MS)
