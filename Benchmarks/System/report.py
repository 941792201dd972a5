"""docs/performance.md and what it shows."""

from __future__ import annotations

import json
import platform
import re
from datetime import date
from pathlib import Path

from bars import BARS, Figure
from machine import REPOSITORY, Bench, versions

DOCUMENT = REPOSITORY / "docs/performance.md"
#: Figures of every step of every load of the run that the document shows.
DATA = REPOSITORY / "docs/performance.json"
#: What stands between these lines is written by tools/bench --write; the rest of the document is people's.
BEGIN, END = "<!-- tools/bench begins -->", "<!-- tools/bench ends -->"


class Report:
    def __init__(self, bench: Bench, command: str):
        self.bench = bench
        self.command = command
        self.figures: list[tuple[str, Figure]] = []
        self.failures: list[tuple[str, str]] = []

    def add(self, bar: str, figure: Figure) -> None:
        self.figures.append((bar, figure))

    def fail(self, bar: str, why: str) -> None:
        self.failures.append((bar, why))

    @property
    def is_good(self) -> bool:
        return not self.failures and all(figure.is_good for _, figure in self.figures)

    def summary(self) -> str:
        missed = [figure.name for _, figure in self.figures if not figure.is_good]
        parts = [f"tools/bench: {len(self.figures)} figures, {len(missed)} missed their bar"]
        parts += [f"missed: {name}" for name in missed]
        parts += [f"could not run: {bar}" for bar, _ in self.failures]
        return "\n".join(parts)

    def write(self) -> None:
        lines = [BEGIN, f"Measured {date.today().isoformat()} by `{self.command}`, medians of {self.bench.rounds}.", ""]
        lines += ["| | |", "| --- | --- |", f"| processor | {processor()} |"]
        lines += [f"| {name} | {value} |" for name, value in versions().items()]
        lines += ["", "| bar | figure | measured | bar is | |", "| --- | --- | --- | --- | --- |"]
        for bar, figure in self.figures:
            limit = f"{figure.sense} {figure.limit:g}" if figure.sense else "–"
            verdict = "" if figure.is_good else "**missed** "
            value = f"{figure.value:.4g} {figure.unit}".strip()
            lines.append(f"| `{bar}` | {figure.name} | {value} | {limit} | {verdict}{figure.note} |")
        lines += [f"| `{bar}` | could not run | – | – | {why.splitlines()[0]} |" for bar, why in self.failures]
        lines += ["", *self.curve(), "", "The loads, each `weir bench --url … --server-pid …` and:", "", "```"]
        lines += [*dict.fromkeys(self.bench.commands), "```", END]
        text = DOCUMENT.read_text()
        pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{DOCUMENT}: the lines {BEGIN} and {END} are missing; nothing was written")
        DOCUMENT.write_text(pattern.sub(lambda _: "\n".join(lines), text))
        figures = [{"load": what, "steps": [one["figures"] for one in report["steps"]]} for what, report in self.bench.reports]
        DATA.write_text(json.dumps(figures, indent=1) + "\n")
        print(f"wrote {DOCUMENT.relative_to(REPOSITORY)} and {DATA.relative_to(REPOSITORY)}")

    def curve(self) -> list[str]:
        """Load against cost, delay and loss, of the last search for the most players."""
        for what, report in reversed(self.bench.reports):
            if what != "players on one core":
                continue
            lines = ["| players | packets/s | CPU, µs per packet | core busy | delay p50, ms | p99, ms | loss | load busy |"]
            lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
            for one in report["steps"]:
                f = one["figures"]
                lines.append(
                    f"| {one['players']} | {f['packetsPerSecond']:,.0f} | {f['cpuMicrosecondsPerPacket']:.2f} | "
                    f"{f['cores']:.0%} | {f['videoDelayP50']:.2f} | {f['videoDelayP99']:.1f} | {f['loss']:.4%} | "
                    f"{f['generatorThreadLoad']:.0%} |"
                )
            return lines
        return []


def processor() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    flags = Path("/proc/cpuinfo").read_text()
    extra = [name for name in ("vaes", "avx512f", "sha_ni") if name in flags]
    return f"{model.group(1) if model else platform.processor()} ({', '.join(extra)}), 2 processors used"
