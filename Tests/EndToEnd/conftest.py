"""Fixtures of the end-to-end tests: the server process, a Chromium, and one event loop that runs `async def` tests."""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from browser import Chromium  # noqa: E402
from firefox import Firefox  # noqa: E402
from numbered_clip import Clip, make_clip  # noqa: E402
from weir_server import BINARY, WeirServer  # noqa: E402

TEST_LIMIT_SECONDS = 60
FULL_TEST_LIMIT_SECONDS = 4 * 3600
# Real peers on a shared machine: a test that fails is run once more, and named if it passes then. Where more than so many
# need that, it is not the machine.
MOST_SECOND_RUNS = 4


_parse = ast.parse


def _parse_beside_threads(*arguments, **more):
    """CPython 3.11 counts the depth of all threads that parse as one (gh-106905) and then raises SystemError, which ends the
    whole run where pytest describes a failed test."""
    for _ in range(9):
        try:
            return _parse(*arguments, **more)
        except SystemError:
            continue
    return _parse(*arguments, **more)


ast.parse = _parse_beside_threads


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="full lengths and counts instead of the short form")
    parser.addoption("--cycles", type=int, default=None, help="connect-publish-play-stop cycles of test_cycles.py")


def pytest_configure(config):
    config.addinivalue_line("markers", "limit(seconds): time the short form of the test may take")
    if config.getoption("--full"):
        config.option.reruns = 0
    config.event_loop = asyncio.new_event_loop()
    asyncio.set_event_loop(config.event_loop)


def pytest_pyfunc_call(pyfuncitem):
    """Runs `async def` tests in the loop that the browser and its page server live in."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    marker = pyfuncitem.get_closest_marker("limit")
    limit = marker.args[0] if marker else TEST_LIMIT_SECONDS
    if pyfuncitem.config.getoption("--full"):
        limit = FULL_TEST_LIMIT_SECONDS
    pyfuncitem.config.event_loop.run_until_complete(asyncio.wait_for(pyfuncitem.obj(**arguments), limit))
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of the log of every server it used and the consoles of its pages."""
    report = (yield).get_result()
    if report.failed:
        for server in getattr(item, "servers", []):
            report.sections.append((f"log of {server.directory.name}", server.log_tail()))
        for index, page in enumerate(getattr(item, "pages", [])):
            if page.messages:
                report.sections.append((f"console of page {index}", "\n".join(page.messages[-20:])))


def pytest_runtest_logreport(report):
    if report.outcome == "rerun":
        _second_runs.append(report)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    if len(_second_runs) > MOST_SECOND_RUNS and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    """What was measured is printed, not only compared: the output of every test that recorded a figure."""
    if _second_runs:
        terminalreporter.section(f"failed at first ({len(_second_runs)}, at most {MOST_SECOND_RUNS})")
    for report in _second_runs:
        terminalreporter.write_line(f"{report.nodeid}: {_reason(report)}")
    measured = [r for r in terminalreporter.getreports("passed") if r.when == "call" and r.user_properties]
    if measured:
        terminalreporter.section("figures")
    for report in measured:
        for line in report.capstdout.strip().splitlines():
            terminalreporter.write_line(line)


_second_runs: list[pytest.TestReport] = []


def _reason(report) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else str(report.longrepr)).splitlines()[0][:200]


@pytest.fixture(scope="session")
def chromium(request):
    loop = request.config.event_loop
    browser = loop.run_until_complete(Chromium().start())
    yield browser
    loop.run_until_complete(browser.stop())


@pytest.fixture
def new_page(request, chromium):
    """An async function that opens a page; all are closed after the test."""
    pages = request.node.pages = []

    async def open_page(path: str = "index.html"):
        pages.append(await chromium.page(path))
        return pages[-1]

    async def close(page) -> list[str]:
        if page.page.is_closed():
            return []
        violations = await page.page.evaluate("() => window.app?.wcsViolations?.() ?? []")
        await page.close()
        return violations

    yield open_page
    violations = [one for page in pages for one in request.config.event_loop.run_until_complete(close(page))]
    assert not violations, "the server broke the rules of the protocol:\n" + "\n".join(violations)


@pytest.fixture(scope="session")
def firefox(request):
    loop = request.config.event_loop
    browser = loop.run_until_complete(Firefox().start())
    yield browser
    loop.run_until_complete(browser.stop())


@pytest.fixture
def firefox_page(request, firefox):
    """A page of Firefox. There is one tab, so one page a test."""
    page = request.config.event_loop.run_until_complete(firefox.page())
    request.node.pages = getattr(request.node, "pages", []) + [page]
    yield page
    request.config.event_loop.run_until_complete(page.close())


class _Shared:
    server: WeirServer | None = None
    starts = 0


@pytest.fixture(scope="session")
def _shared_server(tmp_path_factory):
    if not BINARY.exists():
        pytest.fail(f"{BINARY} is missing: swift build -c release", pytrace=False)
    shared = _Shared()
    yield shared
    if shared.server is not None:
        status = shared.server.stop()
        assert status == 0, f"weir ended with {status} on SIGTERM\n{shared.server.log_tail()}"


@pytest.fixture
def server(request, _shared_server, tmp_path_factory):
    """The server shared by most tests. A test that ends with the process gone fails, the next gets a new one."""
    if _shared_server.server is None or not _shared_server.server.is_running:
        _shared_server.starts += 1
        directory = tmp_path_factory.mktemp(f"weir{_shared_server.starts}")
        _shared_server.server = WeirServer(directory).start()
    request.node.servers = [_shared_server.server]
    yield _shared_server.server
    if not _shared_server.server.is_running:
        code = _shared_server.server.process.returncode
        pytest.fail(f"weir crashed ({code})\n{_shared_server.server.log_tail()}", pytrace=False)


@pytest.fixture
def start_server(request, tmp_path):
    """A function that starts a server of the test's own, with settings; it must end cleanly on SIGTERM."""
    if not BINARY.exists():
        pytest.fail(f"{BINARY} is missing: swift build -c release", pytrace=False)
    servers = request.node.servers = getattr(request.node, "servers", [])

    def start(settings: dict | None = None, environment: dict | None = None) -> WeirServer:
        one = WeirServer(tmp_path / f"weir{len(servers)}", settings, environment)
        servers.append(one)
        return one.start()

    own = len(servers)
    yield start
    for one in servers[own:]:
        status = one.stop()
        if status != one.expected_status:
            pytest.fail(f"weir ended with {status}\n{one.log_tail()}", pytrace=False)


@pytest.fixture
def name():
    """A stream name that no other test uses."""
    return f"t-{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """A function that makes numbered clips, each once."""
    directory, made = tmp_path_factory.mktemp("clips"), {}

    def clip(codec: str, seconds: int, **more) -> Clip:
        key = (codec, seconds, *sorted(more.items()))
        if key not in made:
            made[key] = make_clip(directory, codec, seconds, **more)
        return made[key]

    return clip


@pytest.fixture
def full(request) -> bool:
    return request.config.getoption("--full")
