"""The bars, one function each: a generator of figures. The first line of each docstring is its title."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Callable, Iterator

import hls_bar
import rtsp_bar
from machine import SERVER_CPU, Bench, Server

LOSS_LIMIT = 0.001
DELAY_LIMIT_MS = 100.0
AUDIO_PER_SECOND = 50.0
#: What is done once per packet of the publisher is a four hundredth per packet to a player: some twenty such things.
HOT_LIMIT = 0.05
#: One core, as many as twice the aim's packets per player would need: bounds the search.
MOST_PLAYERS = 2000
#: Of sound while the server is overloaded: late, but talk goes on.
OVERLOAD_SOUND_MS = 400.0


@dataclass
class Figure:
    name: str
    value: float
    unit: str
    limit: float
    #: "at most" or "at least"; None: told, not judged.
    sense: str | None = "at most"
    note: str = ""

    @property
    def is_good(self) -> bool:
        if self.sense is None:
            return True
        return self.value <= self.limit if self.sense == "at most" else self.value >= self.limit

    def line(self) -> str:
        bar = f" (bar: {self.sense} {self.limit:g})" if self.sense else ""
        note = f"; {self.note}" if self.note else ""
        return f"{'ok  ' if self.is_good else 'MISS'} {self.name}: {self.value:.4g} {self.unit}{bar}{note}"


def median(values) -> float:
    return statistics.median(values)


def step(report: dict) -> dict:
    return report["steps"][-1]


def check_generator(report: dict) -> str:
    limited = any(one["figures"]["isGeneratorLimited"] for one in report["steps"])
    return "the load generator was at its own limit" if limited else ""


SENT = ("weir_media_packets_sent_total", "weir_media_send_messages_total", "weir_media_send_runs_total")


def measure_cost(bench: Bench, players: int, srtp: str, ciphers: str) -> dict:
    """Medians over rounds of one core's cost per packet, with calibration and limit run right beside each: the limit
    with runs as long as the server's, all sound outside them; and with as many messages as the server's, of whose
    sound a part ends a run."""
    rounds = []
    for _ in range(bench.rounds):
        with bench.server() as server:
            before = [server.metric(name) for name in SENT]
            report = bench.run_load(
                server, f"{players} players, {srtp}", "--players", str(players), "--srtp", srtp, "--ramp", "100",
                "--duration", str(bench.seconds(10)), "--size", "640x360",
            )
            packets, messages, runs = (server.metric(name) - first for name, first in zip(SENT, before))
        figures = step(report)["figures"]
        share = AUDIO_PER_SECOND / (figures["packetsPerSecond"] / players)
        audio = packets * share
        lengths = {"limit": (packets - audio) / max(1.0, runs), "messages": (packets - audio) / max(1.0, messages - audio)}
        one = {"cost": figures["cpuMicrosecondsPerPacket"], "loss": figures["loss"], "note": check_generator(report)}
        for name, length in lengths.items():
            run = str(max(1, round(length)))
            limit = bench.run_limit("--run", run, "--audio", f"{share:.3f}", "--ciphers", ciphers)
            one[name] = min(limit[cipher]["send_cpu_ns"] for cipher in ciphers.split(",")) / 1000
            one[f"run of {name}"] = length
            one.setdefault("calibrations", []).append(limit["calibration"] / 1000)
        one["calibration"] = statistics.mean(one.pop("calibrations"))
        rounds.append(one)
    told = ("cost", "calibration", "limit", "messages", "run of limit", "run of messages", "loss")
    out = {key: median([one[key] for one in rounds]) for key in told}
    for against in ("calibration", "limit", "messages"):
        out[f"of {against}"] = median([one["cost"] / one[against] for one in rounds])
    out["note"] = "; ".join({one["note"] for one in rounds if one["note"]})
    return out


CM = "cm-jobs,cm-split"


def cost(bench: Bench) -> Iterator[Figure]:
    """CPU per delivered packet on one core against calibration and limit."""
    for players, srtp, ciphers, bar, aim in [
        (400, "aes-cm", CM, 0.6, 0.5), (400, "gcm", "gcm", 0.55, None), (100, "aes-cm", CM, 0.8, None),
    ]:
        got = measure_cost(bench, players, srtp, ciphers)
        note = (
            f"{got['cost']:.2f} µs, calibration {got['calibration']:.2f} µs, loss {got['loss']:.4%}"
            + (f", aim {aim}" if aim else "") + (f", {got['note']}" if got["note"] else "")
        )
        yield Figure(f"{players} players, {srtp}: CPU per packet ÷ calibration", got["of calibration"], "", bar, note=note)
        judged = "at most" if players == 400 and srtp == "aes-cm" else None
        for against, what in [("limit", "limit program"), ("messages", "limit program with as many messages")]:
            note = f"{got[against]:.2f} µs at runs of {got[f'run of {against}']:.1f}"
            yield Figure(f"{players} players, {srtp}: CPU per packet ÷ {what}", got[f"of {against}"], "", 1.5, judged, note)
            judged = None


def players(bench: Bench) -> Iterator[Figure]:
    """Players on one core within loss ≤ 0.1 % and p99 ≤ 100 ms."""
    loads = "400,1200" if bench.quick else "400,800,1000,1200,1400,1600,1800"
    sustained, rates, notes = [], [], set()
    for _ in range(bench.rounds):
        with bench.server() as server:
            report = bench.run_load(
                server, "players on one core", "--players", loads, "--ramp", "100", "--duration",
                str(bench.seconds(10)), "--size", "640x360", may_refuse=True,
            )
        if report["problems"]:
            notes.add(report["problems"][0].split("; ")[0][:90])
        sustained.append(report["sustainedPlayers"] or 0)
        good = [one["figures"] for one in report["steps"] if one["players"] <= (report["sustainedPlayers"] or 0)]
        rates.append(max((one["packetsPerSecond"] for one in good), default=0))
        for one in report["steps"]:
            if one["figures"]["isGeneratorLimited"]:
                notes.add(f"the load generator was at its own limit with {one['players']}")
    note = f"rounds: {', '.join(map(str, sustained))}; {median(rates):,.0f} packets/s; aim 1600"
    yield Figure("players on one core", median(sustained), "players", 1200, "at least", "; ".join([note, *sorted(notes)]))


def workers(bench: Bench) -> Iterator[Figure]:
    """Two workers: CPU per packet against one, 200 players, server and load sharing both cores."""
    def once(count: int) -> float:
        with bench.server(workers=count, cpus=None) as server:
            report = bench.run_load(
                server, f"{count} workers", "--players", "200", "--ramp", "50", "--duration", str(bench.seconds(10)),
                "--size", "640x360", cpu=None,
            )
        return step(report)["figures"]["cpuMicrosecondsPerPacket"]

    pairs = [(once(1), once(2)) for _ in range(bench.rounds)]
    note = f"{median([a for a, _ in pairs]):.2f} and {median([b for _, b in pairs]):.2f} µs"
    yield Figure("two workers: CPU per packet ÷ one worker", median([b / a for a, b in pairs]), "", 1.15, note=note)


def memory(bench: Bench) -> Iterator[Figure]:
    """Memory of a player at 1,000, and over a soak."""
    with bench.server() as server:
        report = bench.run_load(
            server, "memory at 1,000 players", "--players", "1000", "--ramp", "100", "--duration",
            str(bench.seconds(10)), "--bitrate", "150k", "--fps", "15", "--size", "320x180",
        )
    kib = step(report)["figures"]["memoryPerPlayerFromEmpty"] / 1024
    yield Figure("memory per player, beyond the empty server", kib, "KiB", 64, note="1,000 players; aim 40")
    samples: list[int] = []
    with bench.server() as server:
        done = threading.Event()

        def watch() -> None:
            while not done.wait(5):
                samples.append(server.resident_kib())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            bench.run_load(
                server, "soak", "--players", "400", "--ramp", "100", "--duration", str(bench.soak), "--size", "640x360"
            )
        finally:
            done.set()
            thread.join()
    settled = samples[len(samples) // 4 : -1] or samples
    growth = (max(settled[len(settled) // 2 :]) - max(settled[: max(1, len(settled) // 2)])) / 1024
    yield Figure(
        "memory: growth of the soak's second half over its first", growth, "MiB", 2,
        note=f"400 players, {bench.soak:g} s, {settled[-1] / 1024:.1f} MiB at the end",
    )


def delay(bench: Bench) -> Iterator[Figure]:
    """Added delay at 100 and at 800 players."""
    for count, bars in [(100, {"P50": 1.0, "P99": 10.0}), (800, {"P99": 40.0})]:
        rounds = []
        for _ in range(bench.rounds):
            with bench.server() as server:
                report = bench.run_load(
                    server, f"delay at {count}", "--players", str(count), "--ramp", "100", "--duration",
                    str(bench.seconds(10)), "--size", "640x360",
                )
            rounds.append(step(report)["figures"])
        for name, bar in bars.items():
            value = median([one[f"videoDelay{name}"] for one in rounds])
            sound = median([one[f"audioDelay{name}"] for one in rounds])
            yield Figure(f"{count} players: delay {name.lower()}", value, "ms", bar, note=f"sound {sound:.2f} ms")


def joins(bench: Bench) -> Iterator[Figure]:
    """1,000 joins in 10 s while 400 play; and while 1,000 play a smaller stream."""
    small = ["--bitrate", "500k", "--fps", "15", "--size", "320x180"]
    for playing, stream in [(400, ["--size", "640x360"]), (1000, small)]:
        losses, delays, joined, notes = [], [], [], []
        for _ in range(bench.rounds):
            with bench.server() as server:
                report = bench.run_load(
                    server, f"joins while {playing} play", "--players", str(playing), "--ramp", "100", "--duration",
                    str(bench.seconds(10)), "--churn", "100", "--churn-stay", "1", "--churn-at-most", "600", *stream,
                )
            one = step(report)
            losses.append(one["window"]["packetsLost"])
            delays.append(one["figures"]["videoDelayP99"])
            joined.append(one["churn"]["started"] / report["options"]["duration"])
            notes.append(f"{one['churn']['joins']['failed']} of {one['churn']['started']} failed")
        what = f"joins while {playing} play"
        yield Figure(f"{what}: packets that those who play lost", median(losses), "packets", 0, note=", ".join(notes))
        yield Figure(f"{what}: delay p99 of those who play", median(delays), "ms", 50)
        yield Figure(f"{what}: joins per second", median(joined), "", 95, "at least")


def hotpath(bench: Bench) -> Iterator[Figure]:
    """Allocations, reference counts and locks of the media threads, for each packet more to a player.

    Reports and checks of 400 players do allocate, some ten times each; they are the same at both bitrates.
    """
    players = 400
    seen: list[tuple[dict, float]] = []
    for bitrate, size in [("300k", "320x180"), ("2M", "640x360")]:
        with bench.server(counting=True) as server:
            marks: list[tuple[dict, float, float]] = []

            def look(server: Server = server, marks: list = marks) -> None:
                counted, now = server.counted(), time.monotonic()
                marks.append((counted, server.metric("weir_media_packets_sent_total"), now))

            duration = bench.seconds(10)
            # Within the window: joins and goodbyes do allocate.
            begin = 1 + players / 100 + 4
            timers = [threading.Timer(begin + share * duration, look) for share in (0.1, 0.9)]
            for timer in timers:
                timer.start()
            try:
                report = bench.run_load(
                    server, "hot path", "--players", str(players), "--ramp", "100", "--warm-up", "4", "--duration",
                    str(duration), "--size", size, "--bitrate", bitrate, trace=True,
                )
            finally:
                for timer in timers:
                    timer.join()
        (first, packets, at), (second, packets_then, then) = marks
        rates = {kind: (second[kind] - first[kind]) / (then - at) for kind in first}
        seen.append((rates, (packets_then - packets) / (then - at)))
    (low, few), (high, many) = seen
    for kind in ("allocations", "retains", "locks"):
        yield Figure(
            f"{kind} per packet more, 400 players", (high[kind] - low[kind]) / (many - few), "", HOT_LIMIT,
            note=f"{low[kind]:,.0f} a second with {few:,.0f} packets/s, {high[kind]:,.0f} with {many:,.0f}",
        )
    calls = step(report)["figures"].get("systemCallsPerPacket")
    if calls is not None:
        yield Figure(f"system calls per delivered packet, {players} players", calls, "", 0, None)


def lossy(bench: Bench) -> Iterator[Figure]:
    """1,000 players that lose 1 %: retransmissions within budget."""
    with bench.server() as server:
        report = bench.run_load(
            server, "1 % loss", "--players", "1000", "--ramp", "100", "--duration", str(bench.seconds(10)), "--loss",
            "1%", "--bitrate", "500k", "--fps", "15", "--size", "320x180",
        )
    window = step(report)["window"]
    video = window["injectedLosses"] * (1 - AUDIO_PER_SECOND * window["seconds"] * window["players"] / window["packetsExpected"])
    yield Figure("1 % loss: video packets that came again", window["recovered"] / max(1, video), "of the lost", 0.97, "at least")
    yield Figure("1 % loss: numbers asked for ÷ packets lost", window["nacks"] / max(1, video), "", 2)


def storm(bench: Bench) -> Iterator[Figure]:
    """1,000 players that all ask for key frames twice a second."""
    with bench.server() as server:
        report = bench.run_load(
            server, "key-frame requests", "--players", "1000", "--ramp", "100", "--duration", str(bench.seconds(10)),
            "--key-requests", "0.5", "--bitrate", "150k", "--fps", "15", "--size", "320x180",
        )
    window, figures = step(report)["window"], step(report)["figures"]
    rate = window["keyFramesSent"] / window["seconds"]
    yield Figure("key-frame requests: key frames per second", rate, "", 4, note="2,000 requests a second")
    yield Figure("key-frame requests: loss", figures["loss"], "", LOSS_LIMIT)


def shapes(bench: Bench) -> Iterator[Figure]:
    """Other shapes of load: many publishers, many players at a low bitrate, many rooms."""
    small = ["--bitrate", "150k", "--fps", "15", "--size", "320x180"]
    for what, publishers, count in [
        ("500 publishers of 150 kbit/s, one player each", 500, 500),
        ("one publisher of 150 kbit/s, 2,000 players", 1, 2000),
        ("50 rooms of 20 at 150 kbit/s", 50, 1000),
    ]:
        with bench.server() as server:
            report = bench.run_load(
                server, what, "--publishers", str(publishers), "--players", str(count), "--ramp", "100", "--duration",
                str(bench.seconds(10)), *small,
            )
        figures = step(report)["figures"]
        note = (
            f"p99 {figures['videoDelayP99']:.1f} ms, {figures['packetsPerSecond']:,.0f} packets/s, "
            f"{figures['cpuMicrosecondsPerPacket']:.2f} µs each, {figures['cores']:.0%} of the core"
        )
        yield Figure(f"{what}: loss", figures["loss"], "", LOSS_LIMIT, note=" ".join([note, check_generator(report)]))
        yield Figure(f"{what}: delay p99", figures["videoDelayP99"], "ms", DELAY_LIMIT_MS)


def overload(bench: Bench) -> Iterator[Figure]:
    """1,200 players while another process takes half of the server's core: defined behaviour, no collapse."""
    players, duration = 1200, bench.seconds(20)
    thinned: list[float] = []
    with bench.server() as server:
        rivals: list[subprocess.Popen] = []

        def begin() -> None:
            rivals.append(subprocess.Popen(["taskset", "-c", SERVER_CPU, "sh", "-c", "while :; do :; done"]))

        # From the last join to the end of the window.
        joined = 1 + players / 100
        timers = [
            threading.Timer(joined, begin),
            threading.Timer(joined + duration, lambda: thinned.append(server.metric("weir_media_players_thinned"))),
        ]
        for timer in timers:
            timer.start()
        try:
            report = bench.run_load(
                server, "half of the core is taken", "--players", str(players), "--ramp", "100", "--warm-up", "5",
                "--duration", str(duration), "--size", "640x360",
            )
        finally:
            for timer in timers:
                timer.join()
            for rival in rivals:
                rival.kill()
                rival.wait()
    one = step(report)
    window, figures = one["window"], one["figures"]
    sound = window["audioDelay"]["count"] / (AUDIO_PER_SECOND * window["seconds"] * players)
    note = f"{figures['packetsPerSecond']:,.0f} packets/s, {thinned[0] if thinned else 0:.0f} players thinned"
    yield Figure("half of the core: sound that arrives", sound, "", 0.98, "at least", note=note)
    yield Figure("half of the core: delay p99 of sound", window["audioDelay"]["p99"], "ms", OVERLOAD_SOUND_MS)
    yield Figure("half of the core: key frames per second", window["keyFramesSent"] / window["seconds"], "", 2)


def hls(bench: Bench) -> Iterator[Figure]:
    """Viewers of low-latency HLS: processor time against nginx, memory, and what they do to players by WebRTC."""
    for viewers in (500, 1_000):
        rounds = list(hls_bar.measure_cost(bench, viewers))
        ours, theirs = median(one[0] for one in rounds), median(one[1] for one in rounds)
        yield Figure(
            f"HLS, {viewers} viewers of 2 Mbit/s: CPU per part ÷ nginx", median(one[0] / one[1] for one in rounds), "",
            hls_bar.MOST_OF_NGINX,
            note=f"{ours:.1f} µs with its playlist, nginx {theirs:.1f} µs from tmpfs; rounds "
            f"{', '.join(f'{one[0] / one[1]:.2f}' for one in rounds)}; aim {hls_bar.AIM_OF_NGINX}")
    for viewers in (1_000,) if bench.quick else (5_000,):
        held, late = hls_bar.measure_waiting(bench, viewers)
        yield Figure(
            f"HLS, {viewers:,} viewers that wait, 200 kbit/s: memory of each", held, "KiB", hls_bar.MOST_WAITING_KIB,
            note=f"all of them had the next playlist {late:.1f} s after they had asked")
    found = hls_bar.measure_delay(bench, 500)
    for key in ("p50", "p99"):
        alone, beside, other = (found[kind][key] for kind in ("alone", "weir", "nginx"))
        yield Figure(
            f"50 players beside 500 viewers by HLS: delay {key}", beside, "ms",
            hls_bar.DELAY_FACTOR * other + hls_bar.DELAY_SLACK_MS,
            note=f"{other:.2f} ms beside 500 viewers whom nginx serves on the same processor; {alone:.2f} ms without viewers")


def rtsp(bench: Bench) -> Iterator[Figure]:
    """Players by RTSP: CPU per packet by UDP against the limit without cipher, in connections against a `writev` loop."""
    players = 200 if bench.quick else 1000
    got = rtsp_bar.measure_udp(bench, players)
    note = (
        f"{got['cost']:.2f} µs, limit {got['limit']:.2f} µs at runs of {got['run']:.0f}; {got['rate']:,.0f} packets/s, "
        f"{got['loss']:.3%} did not arrive")
    yield Figure(
        f"{players:,} RTSP players by UDP, 2 Mbit/s: CPU per packet ÷ limit program without cipher", got["of limit"], "",
        rtsp_bar.MOST_OF_LIMIT, note=note)
    got = rtsp_bar.measure_tcp(bench, players)
    note = (
        f"{got['cost']:.0f} ns per kB, loop {got['loop']:.0f}; {got['rate'] / 1e6:,.0f} MB/s, {got['dropped']:.0f} batches "
        "dropped for slow readers")
    yield Figure(
        f"{players:,} RTSP players by TCP, 2 Mbit/s: CPU per byte ÷ plain writev loop", got["of loop"], "",
        rtsp_bar.MOST_OF_LOOP, note=note)
    yield Figure(
        f"{players:,} RTSP players by TCP beside {players // rtsp_bar.SLOW_SHARE} who read nothing: bytes of those without",
        got["beside"], "", rtsp_bar.LEAST_BESIDE_SLOW, "at least")


BARS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "cost": cost, "players": players, "workers": workers, "delay": delay, "hotpath": hotpath, "joins": joins,
    "lossy": lossy, "storm": storm, "shapes": shapes, "overload": overload, "memory": memory,
    "hls": hls, "rtsp": rtsp,
}
#: Bars that measure against something else than the limit program.
WITHOUT_LIMIT = {"hls"}
#: Bars of several rounds.
REPEATED = {"cost", "players", "workers", "delay", "joins", "hls", "rtsp"}
