"""Programs of a measurement: the server on one processor, load or limit beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
START_LIMIT_SECONDS = 20.0
STOP_LIMIT_SECONDS = 15.0
LOAD_LIMIT_SECONDS = 1800.0
SERVER_CPU, LOAD_CPU = "0", "1"
#: Runs a command that finds the kernel's trace points, which counting another process's system calls takes.
TRACING = ("unshare", "--mount", "sh", "-c", 'mount -t tracefs tracefs /sys/kernel/tracing; exec "$0" "$@"')


def prepare(options, needs_limit: bool = True) -> "Bench":
    """Builds what is measured."""
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("tools/bench: two processors are needed, one for the server and one for the load")
    build = ["swift", "build", "-c", "release", "--product"]
    subprocess.run(build + ["weir"], cwd=REPOSITORY, check=True)
    limit = build + ["weir-limit", "--scratch-path", ".build-bench"]
    if needs_limit:
        subprocess.run(limit, cwd=REPOSITORY, check=True, env=os.environ | {"WEIR_BENCH": "1"})
    work = Path(tempfile.mkdtemp(prefix="weir-bench-"))
    counting = work / "counting.so"
    source = REPOSITORY / "Benchmarks/Counting/counting.c"
    subprocess.run(["cc", "-O2", "-fPIC", "-shared", "-o", counting, source, "-ldl"], check=True)
    weir = REPOSITORY / ".build/release/weir"
    return Bench(
        load=weir,
        binary=Path(options.binary).resolve() if options.binary else weir,
        limit=REPOSITORY / ".build-bench/release/weir-limit",
        counting=counting,
        work=work,
        rounds=options.rounds,
        quick=options.quick,
        soak=options.soak,
    )


def free_ports(count: int) -> list[int]:
    held, ports = [], []
    try:
        for _ in range(count):
            one = socket.socket()
            held.append(one)
            one.bind(("127.0.0.1", 0))
            ports.append(one.getsockname()[1])
    finally:
        for one in held:
            one.close()
    return ports


@dataclass
class Bench:
    load: Path
    binary: Path
    limit: Path
    counting: Path
    work: Path
    rounds: int
    quick: bool
    soak: float
    #: Reports of all loads of this run, by what they were for.
    reports: list[tuple[str, dict]] = field(default_factory=list)
    #: Commands as they were run.
    commands: list[str] = field(default_factory=list)

    def seconds(self, full: float) -> float:
        return min(full, 4.0) if self.quick else full

    def server(self, **settings) -> "Server":
        return Server(self, **settings)

    def run_limit(self, *arguments: str) -> dict:
        """weir-limit beside its drain: {cipher: result}, and the calibration in nanoseconds under "calibration"."""
        seconds = "0.3" if self.quick else "1"
        command = [str(self.limit), "--json", "--seconds", seconds, "--rounds", "3", "--header", "12", *arguments]
        out = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        results: dict = {"calibration": out["calibration"]["cpu_ns"]}
        for result in out["results"]:
            results[result["cipher"]] = result
        return results

    def run_load(
        self, server: "Server", what: str, *arguments: str, cpu: str | None = LOAD_CPU, may_refuse: bool = False,
        trace: bool = False,
    ) -> dict:
        """One `weir bench`; its report. `may_refuse`: the load goes on until the server takes no more. `trace`: with
        tracefs mounted where only it sees it, so that the server's system calls are counted, which costs some."""
        path = self.work / f"load-{len(self.reports)}.json"
        command = [str(self.load), "bench", "--url", server.url, "--server-pid", str(server.pid)]
        command += ["--json", str(path), *arguments]
        if cpu is not None:
            command = ["taskset", "-c", cpu, *command]
        if trace and os.geteuid() == 0:
            command = [*TRACING, *command]
        self.commands.append(" ".join(arguments))
        run = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_LIMIT_SECONDS)
        if not path.exists():
            raise RuntimeError(f"weir bench ended with {run.returncode}: {run.stderr[-2000:]}")
        report = json.loads(path.read_text())
        if report["problems"] and not (may_refuse and report["steps"]):
            raise RuntimeError("; ".join(report["problems"]) + "\n" + server.log_tail())
        self.reports.append((what, report))
        return report


class Server:
    """One `weir serve` as a context; pinned unless `cpus` says otherwise."""

    def __init__(self, bench: Bench, workers: int = 1, cpus: str | None = SERVER_CPU, counting: bool = False, **media):
        self.bench = bench
        directory = Path(tempfile.mkdtemp(dir=bench.work))
        udp, ws, http = free_ports(3)
        self.url = f"http://127.0.0.1:{http}"
        self.log = directory / "log"
        self.counts = directory / "counts"
        # The limit program sends to 127.0.0.1, too.
        settings = {"port": udp, "workers": workers, "announce": "[127.0.0.1]"} | media
        lines = ["media:"] + [f"  {key}: {value}" for key, value in settings.items()]
        lines += [f"websocket: {{port: {ws}, tls_port: 0}}", f"http: {{port: {http}, tls_port: 0}}"]
        lines += ["hls: {port: 0, tls_port: 0}", "rtsp: {enabled: false}"]
        lines += ["limits: {connections_per_address: 20000}", "log: {level: warning}"]
        lines += [f"state: {{dir: {directory / 'state'}}}"]
        config = directory / "weir.yaml"
        config.write_text("\n".join(lines) + "\n")
        self.command = [str(bench.binary), "serve", "--config", str(config)]
        if cpus is not None:
            self.command = ["taskset", "-c", cpus, *self.command]
        self.environment = dict(os.environ)
        if counting:
            self.environment |= {"LD_PRELOAD": str(bench.counting), "WEIR_COUNTS": str(self.counts)}

    def __enter__(self) -> "Server":
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.environment)
        end = time.monotonic() + START_LIMIT_SECONDS
        while True:
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=1):
                    return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.process.kill()
                    raise RuntimeError("the server did not start:\n" + self.log_tail()) from None
                time.sleep(0.05)

    def __exit__(self, *_) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def pid(self) -> int:
        return self.process.pid

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def metric(self, name: str) -> float:
        """Sum over all labels."""
        with urllib.request.urlopen(self.url + "/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        if not found:
            raise RuntimeError(f"the server has no metric {name}")
        return sum(float(value) for value in found)

    def resident_kib(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def counted(self) -> dict[str, int]:
        """Allocations, retains, releases and locks of the media threads so far (`counting`)."""
        self.counts.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR2)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if self.counts.exists() and self.counts.read_text().count("\n") == 4:
                return {line.split()[0]: int(line.split()[1]) for line in self.counts.read_text().splitlines()}
            time.sleep(0.01)
        raise RuntimeError("the counting library did not answer")


def versions() -> dict[str, str]:
    def first_line(*command: str) -> str:
        if not shutil.which(command[0]):
            return "–"
        run = subprocess.run(command, capture_output=True, text=True)
        return (run.stdout or run.stderr).strip().splitlines()[0]

    commit = first_line("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty")
    library = first_line("dpkg-query", "-W", "-f", "${Version}", "libipsec-mb1")
    return {
        "commit": commit,
        "swift": first_line("swift", "--version"),
        "kernel": os.uname().release,
        "libipsec-mb": library,
        "OpenSSL": first_line("openssl", "version"),
    }
