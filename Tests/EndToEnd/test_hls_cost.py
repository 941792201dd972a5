"""What a part of low-latency HLS costs, against nginx that serves the same files, by turns; the full form is `tools/bench hls`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import statistics
import sys

import pytest

from weir_server import BINARY, REPOSITORY

sys.path.insert(0, str(REPOSITORY / "Benchmarks/System"))
import hls_bar  # noqa: E402

VIEWERS, FULL_VIEWERS = 150, 1_000
SECONDS, FULL_SECONDS = 1.2, 10.0
ROUNDS, FULL_ROUNDS = 4, 5


@pytest.mark.limit(200)
async def test_a_part_costs_little_more_than_with_nginx(start_server, full, record_property):
    server = start_server({"limits": {"connections_per_address": 20_000}})

    def measure() -> list[tuple[float, float, int]]:
        return list(hls_bar.cost_of_parts(
            BINARY, server.http_url, server.process.pid, FULL_VIEWERS if full else VIEWERS,
            FULL_SECONDS if full else SECONDS, FULL_ROUNDS if full else ROUNDS))

    # A thread of its own: it stays on one processor.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        rounds = await asyncio.get_running_loop().run_in_executor(thread, measure)
    # Both kinds of window share the machine with other programs: the median of pairs.
    ratio = statistics.median(ours / theirs for ours, theirs, _ in rounds)
    costs = ", ".join(f"{ours:.0f} and {theirs:.0f} µs" for ours, theirs, _ in rounds)
    print(f"HLS: a part with its playlist costs {ratio:.2f} times what nginx needs ({costs})")
    record_property("cost of a part", ratio)
    assert ratio <= hls_bar.MOST_OF_NGINX, rounds
