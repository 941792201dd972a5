"""The bars of HLS: what a part costs, against nginx that serves the same files from memory; what waiting viewers hold; and
what all that does to players by WebRTC."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Iterator

from hls_viewers import Crowd, fetch, media_playlist
from machine import LOAD_CPU, SERVER_CPU, Bench, Server, free_ports

PART_SECONDS = 0.3
#: Bars of the project: processor time per part with its playlist, of nginx's; memory per viewer that waits.
MOST_OF_NGINX, AIM_OF_NGINX = 2.0, 1.3
MOST_WAITING_KIB = 32.0
#: Delay of players beside viewers, against that beside as many viewers whom nginx serves on the same processors: those who
#: read a gigabit per second hold up the players of their own processor, whoever sends it.
DELAY_FACTOR, DELAY_SLACK_MS = 1.5, 0.5
START_LIMIT_SECONDS = 30.0
NGINX = """daemon off; worker_processes 1; pid {folder}/pid; error_log stderr; {user}
events {{ worker_connections 8192; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; {temporary}
types {{ application/vnd.apple.mpegurl m3u8; video/iso.segment m4s; }}
server {{ listen 127.0.0.1:{port} backlog=8192; root {folder}/files; }} }}
"""


def processor_seconds(pid: int) -> float:
    """What all threads of the process have had, to the nanosecond."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def used(pid: int, work) -> float:
    before = processor_seconds(pid)
    work()
    return processor_seconds(pid) - before


@contextlib.contextmanager
def live_stream(load: Path, url: str, bitrate: str, seconds: float):
    """The name of a stream that `weir bench` publishes to one player."""
    import json

    process = subprocess.Popen(
        ["taskset", "-c", LOAD_CPU, str(load), "bench", "--url", url, "--players", "1", "--bitrate", bitrate,
         "--size", "640x360", "--duration", str(round(seconds))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + START_LIMIT_SECONDS
        while True:
            live = [stream["name"] for stream in json.loads(fetch(f"{url}/api/streams")) if stream["isLive"]]
            if live:
                yield live[0]
                return
            if time.monotonic() > end:
                raise RuntimeError("the publisher is not live")
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def publisher(load: Path, url: str, bitrate: str, seconds: float):
    """The media playlist of such a stream."""
    with live_stream(load, url, bitrate, seconds) as name:
        yield media_playlist(f"{url}/{name}/{name}.m3u8")


@contextlib.contextmanager
def nginx(keep: dict[str, bytes]):
    """(its worker, its address, paths of the parts): nginx with these files, on the server's processor."""
    folder = Path(tempfile.mkdtemp(prefix="weir-hls-", dir="/dev/shm"))
    try:
        (folder / "files").mkdir()
        names = [name for name in keep if name]
        (folder / "files/live.m3u8").write_bytes(keep[""])
        for name in names:
            (folder / "files" / f"{name}.m4s").write_bytes(keep[name])
        folder.chmod(0o755)
        port, = free_ports(1)
        temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "conf").write_text(NGINX.format(folder=folder, port=port, temporary=temporary, user=user))
        process = subprocess.Popen(
            ["taskset", "-c", SERVER_CPU, "nginx", "-p", str(folder), "-c", str(folder / "conf"), "-e", "stderr"],
            stderr=subprocess.DEVNULL)
        try:
            yield wait_worker(process), f"http://127.0.0.1:{port}", [f"/{name}.m4s" for name in names]
        finally:
            process.terminate()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_worker(process: subprocess.Popen) -> int:
    end = time.monotonic() + START_LIMIT_SECONDS
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError("nginx did not start")
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.05)
    raise RuntimeError("nginx has no worker")


def cost_of_parts(load: Path, server_url: str, pid: int, viewers: int, seconds: float, rounds: int) -> Iterator[tuple[float, float, int]]:
    """(Weir's and nginx's microseconds per part with its playlist, parts of Weir), round by round, by turns.

    Weir's are those beyond what it needs for the stream itself, HLS included, with nobody looking."""
    limit_descriptors()
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    keep: dict[str, bytes] = {}
    with publisher(load, server_url, "2M", rounds * 4 * (seconds + 10) + 60) as playlist:
        one = Crowd(server_url, 1)
        one.follow(playlist, 3, keep)
        one.close()
        with nginx(keep) as (worker, base, parts):
            ours, theirs = Crowd(server_url, viewers), Crowd(base, viewers)
            ours.follow(playlist, 1)
            theirs.repeat("/live.m3u8", parts, PART_SECONDS, 1)
            for _ in range(rounds):
                quiet = used(pid, lambda: time.sleep(seconds)) / seconds
                began, before = time.monotonic(), ours.parts
                busy = used(pid, lambda: ours.follow(playlist, seconds))
                mine = ours.parts - before
                busy -= quiet * (time.monotonic() - began)
                before = theirs.parts
                other = used(worker, lambda: theirs.repeat("/live.m3u8", parts, PART_SECONDS, seconds))
                yield busy / mine * 1e6, other / (theirs.parts - before) * 1e6, mine
            ours.close()
            theirs.close()


def limit_descriptors() -> None:
    """Thousands of viewers are thousands of sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def measure_cost(bench: Bench, viewers: int) -> Iterator[tuple[float, float, int]]:
    with bench.server() as server:
        yield from cost_of_parts(bench.load, server.url, server.pid, viewers, bench.seconds(10), bench.rounds)


def measure_waiting(bench: Bench, viewers: int) -> tuple[float, float]:
    """(KiB per viewer that waits, seconds in which all were answered once it was there)."""
    limit_descriptors()
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    with bench.server() as server, publisher(bench.load, server.url, "200k", 300) as playlist:
        few = Crowd(server.url, 100)
        few.follow(playlist, 3)
        before = server.resident_kib()
        crowd = Crowd(server.url, viewers)
        crowd.wait(playlist)
        most, held = 0.0, 0
        while (waiting := server.metric("weir_hls_waiting")) > most:
            most, held = waiting, server.resident_kib() - before
        if most < viewers * 0.9:
            raise RuntimeError(f"{most:.0f} of {viewers} viewers wait")
        crowd.collect()
        began = time.monotonic()
        crowd.wait(playlist)
        crowd.collect()
        late = time.monotonic() - began
        crowd.close()
        few.close()
    return held / most, late


def measure_delay(bench: Bench, viewers: int) -> dict[str, dict[str, float]]:
    """p50 and p99 of the delay of players by WebRTC in milliseconds: alone, and beside so many viewers by HLS of Weir and
    of nginx with the same files on the same processor."""
    limit_descriptors()
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    seconds = bench.seconds(10)
    found: dict[str, list[dict]] = {"alone": [], "nginx": [], "weir": []}
    keep: dict[str, bytes] = {}
    with bench.server() as server, publisher(bench.load, server.url, "2M", bench.rounds * 3 * (seconds + 30) + 60) as playlist:
        one = Crowd(server.url, 1)
        one.follow(playlist, 3, keep)
        one.close()
        with nginx(keep) as (_, base, parts):
            ours, theirs = Crowd(server.url, viewers), Crowd(base, viewers)
            watch = {
                "alone": lambda: time.sleep(0.2), "weir": lambda: ours.follow(playlist, 2),
                "nginx": lambda: theirs.repeat("/live.m3u8", parts, PART_SECONDS, 2),
            }
            for _ in range(bench.rounds):
                for kind, look in watch.items():
                    stop = threading.Event()
                    load = threading.Thread(target=lambda: (found[kind].append(delays(bench, server, seconds)), stop.set()))
                    load.start()
                    while not stop.is_set():
                        look()
                    load.join()
            ours.close()
            theirs.close()
    return {kind: {key: statistics.median(one[key] for one in all) for key in ("p50", "p99")} for kind, all in found.items()}


def delays(bench: Bench, server: Server, seconds: float) -> dict[str, float]:
    report = bench.run_load(
        server, "players beside viewers by HLS", "--players", "50", "--ramp", "50", "--duration", str(seconds),
        "--size", "320x180", "--bitrate", "300k", "--prefix", f"beside-{time.monotonic_ns()}")
    figures = report["steps"][-1]["figures"]
    return {"p50": figures["videoDelayP50"], "p99": figures["videoDelayP99"]}
