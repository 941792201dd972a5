"""The bars of RTSP: what a packet to one of 1,000 players costs, by UDP against the limit program without cipher, in
connections against a plain loop of `writev`."""

from __future__ import annotations

import ctypes
import os
import socket
import statistics
import threading
import time

from hls_bar import limit_descriptors, live_stream, processor_seconds
from machine import LOAD_CPU, REPOSITORY, SERVER_CPU, Bench
from rtsp_players import Crowd, build_drain

MOST_OF_LIMIT = MOST_OF_LOOP = 1.5
#: Players that read nothing, to one that reads; and what the others must get of what they had before those came.
SLOW_SHARE = 20
LEAST_BESIDE_SLOW = 0.98
STALL_LIMIT_SECONDS = 30.0
#: What the load's publisher sends beside its sound.
PICTURES_PER_SECOND, SOUND_BYTES = 30, 100
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


def measure_tcp(bench: Bench, players: int) -> dict:
    """Medians over rounds: nanoseconds of the server's processor per kilobyte to players in connections, and those of a loop
    that writes as many bytes to as many connections: a picture when it is whole, sound when it comes. And what they get
    beside players who read nothing, of what they had before."""
    limit_descriptors()
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    library = build_drain(REPOSITORY, bench.work)
    rounds = []
    for _ in range(bench.rounds):
        seconds = bench.seconds(10)
        with bench.server() as server, live_stream(bench.load, server.url, "2M", seconds + 120) as name:
            crowd = Crowd(library, by_udp=False)
            crowd.join(server.rtsp(name), players)
            time.sleep(2)
            sent, dropped = server.metric(BYTES), server.metric(DROPPED)
            arrived, used = crowd.received.value, processor_seconds(server.pid)
            time.sleep(seconds)
            used = processor_seconds(server.pid) - used
            arrived = crowd.received.value - arrived
            sent, dropped = server.metric(BYTES) - sent, server.metric(DROPPED) - dropped
            beside = beside_slow_ones(server, library, name, crowd, seconds)
            crowd.close()
        per_second = sent / players / seconds
        cpu, written = plain_loop(library, players, per_second, seconds)
        rounds.append({
            "cost": used / sent * 1e12, "loop": cpu / written * 1e12, "rate": sent / seconds, "dropped": dropped,
            "beside": beside / arrived})
    out = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    out["of loop"] = statistics.median(one["cost"] / one["loop"] for one in rounds)
    return out


def beside_slow_ones(server, library: ctypes.CDLL, name: str, crowd: Crowd, seconds: float) -> int:
    """Bytes that arrive at the crowd while others take nothing any more."""
    slow = Crowd(library, by_udp=False, reads=False)
    dropped = server.metric(DROPPED)
    slow.join(server.rtsp(name), max(1, len(crowd.players) // SLOW_SHARE))
    end = time.monotonic() + STALL_LIMIT_SECONDS
    while server.metric(DROPPED) == dropped:
        assert time.monotonic() < end, "nothing was left out for players that read nothing"
        time.sleep(0.1)
    arrived = crowd.received.value
    time.sleep(seconds)
    arrived = crowd.received.value - arrived
    slow.close()
    return arrived


BYTES, DROPPED = "weir_rtsp_sent_bytes_total", "weir_rtsp_batches_dropped_total"


def plain_loop(library: ctypes.CDLL, connections: int, bytes_per_second: float, seconds: float) -> tuple[float, int]:
    """(processor seconds, bytes written)."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        readers, writers = [], []
        for _ in range(connections):
            readers.append(socket.create_connection(listener.getsockname()))
            writers.append(listener.accept()[0])
            writers[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            writers[-1].setblocking(False)
    handles = (ctypes.c_int * connections)(*(one.fileno() for one in readers))
    ending, received, written = ctypes.c_int(0), ctypes.c_uint64(0), ctypes.c_uint64(0)
    drain = threading.Thread(
        target=library.weir_drain_streams, args=(handles, connections, ctypes.byref(ending), ctypes.byref(received)))
    drain.start()
    library.weir_write_streams.restype = ctypes.c_int64
    picture = round((bytes_per_second - AUDIO_PER_SECOND * SOUND_BYTES) / PICTURES_PER_SECOND)
    used = []

    def write() -> None:
        os.sched_setaffinity(0, {int(SERVER_CPU)})
        handles = (ctypes.c_int * connections)(*(one.fileno() for one in writers))
        used.append(library.weir_write_streams(
            handles, connections, PICTURES_PER_SECOND, picture, int(AUDIO_PER_SECOND), SOUND_BYTES,
            ctypes.c_double(seconds), ctypes.byref(written)))

    writer = threading.Thread(target=write)
    writer.start()
    writer.join()
    ending.value = 1
    drain.join()
    for one in readers + writers:
        one.close()
    return used[0] / 1e9, written.value
