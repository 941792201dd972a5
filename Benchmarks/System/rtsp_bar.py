"""The bar of RTSP by UDP: what a packet to one of 1,000 players costs, against the limit program without cipher."""

from __future__ import annotations

import os
import statistics
import time

from hls_bar import limit_descriptors, live_stream, processor_seconds
from machine import LOAD_CPU, REPOSITORY, Bench
from rtsp_players import Crowd, build_drain

MOST_OF_LIMIT = 1.5
AUDIO_PER_SECOND = 50.0
SENT = ("weir_media_packets_sent_total", "weir_media_send_messages_total", "weir_media_send_runs_total")


def measure_udp(bench: Bench, players: int) -> dict:
    """Medians over rounds: microseconds of the server's processor per packet, those of the limit with runs as long as the
    server's and all sound outside them, and the share of packets that did not arrive."""
    limit_descriptors()
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    library = build_drain(REPOSITORY, bench.work)
    rounds = []
    for _ in range(bench.rounds):
        seconds = bench.seconds(10)
        with bench.server() as server, live_stream(bench.load, server.url, "2M", seconds + 120) as name:
            crowd = Crowd(library, by_udp=True)
            crowd.join(server.rtsp(name), players)
            time.sleep(2)
            before, used = [server.metric(one) for one in SENT], processor_seconds(server.pid)
            arrived = crowd.received.value
            time.sleep(seconds)
            used = processor_seconds(server.pid) - used
            packets, messages, runs = (server.metric(one) - first for one, first in zip(SENT, before))
            arrived = crowd.received.value - arrived
            crowd.close()
        share = AUDIO_PER_SECOND * players * seconds / packets
        audio = packets * share
        run = max(1, round((packets - audio) / max(1.0, runs)))
        limit = bench.run_limit(
            "--run", str(run), "--audio", f"{min(0.9, share):.3f}", "--ciphers", "plain", "--destinations", str(players))
        rounds.append({
            "cost": used / packets * 1e6, "limit": limit["plain"]["send_cpu_ns"] / 1000, "run": run,
            "rate": packets / seconds, "loss": max(0.0, 1 - arrived / packets)})
    out = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    out["of limit"] = statistics.median(one["cost"] / one["limit"] for one in rounds)
    return out
