"""docs/performance.md and what it shows."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import asdict
from datetime import date
from pathlib import Path

from bars import BARS, REPEATED, Figure
from machine import REPOSITORY, Bench, versions

DOCUMENT = REPOSITORY / "docs/performance.md"
#: What the document shows, by bar: figures, and those of every step of every load.
DATA = REPOSITORY / "docs/performance.json"
#: What stands between these lines is written by tools/bench --write; the rest of the document is people's.
BEGIN, END = "<!-- tools/bench begins -->", "<!-- tools/bench ends -->"


class Report:
    def __init__(self, bench: Bench):
        self.bench = bench
        # Of what was built, whatever is edited meanwhile.
        self.versions = {"processor": processor()} | versions()
        self.figures: list[tuple[str, Figure]] = []
        self.failures: list[tuple[str, str]] = []
        #: Loads and commands of the bar that runs, as places in the lists of the bench.
        self.begun = (0, 0)
        self.bars: dict[str, dict] = {}

    def begin(self) -> None:
        self.begun = len(self.bench.reports), len(self.bench.commands)

    def add(self, bar: str, figure: Figure) -> None:
        self.figures.append((bar, figure))

    def fail(self, bar: str, why: str) -> None:
        self.failures.append((bar, why))

    def end(self, bar: str) -> None:
        loads, commands = self.begun
        self.bars[bar] = {
            "date": date.today().isoformat(),
            "rounds": self.bench.rounds,
            "versions": self.versions,
            "figures": [asdict(figure) for name, figure in self.figures if name == bar],
            "failure": next((why for name, why in self.failures if name == bar), None),
            "commands": [*dict.fromkeys(self.bench.commands[commands:])],
            "loads": [
                {"load": what, "steps": [{"players": one["players"], **one["figures"]} for one in report["steps"]]}
                for what, report in self.bench.reports[loads:]
            ],
        }

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
        """Bars that did not run now keep what was written of them before."""
        known = json.loads(DATA.read_text()) if DATA.exists() else {}
        bars = {name: entry for name in BARS if (entry := self.bars.get(name) or known.get(name))}
        text = DOCUMENT.read_text()
        pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{DOCUMENT}: the lines {BEGIN} and {END} are missing; nothing was written")
        lines = "\n".join([BEGIN, *document(bars), END])
        DOCUMENT.write_text(pattern.sub(lambda _: lines, text))
        DATA.write_text(json.dumps(bars, indent=1) + "\n")
        print(f"wrote {DOCUMENT.relative_to(REPOSITORY)} and {DATA.relative_to(REPOSITORY)}")


def document(bars: dict[str, dict]) -> list[str]:
    lines = ["| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in machines(bars).items()]
    lines += ["", "| bar | figure | measured | bar is | |", "| --- | --- | --- | --- | --- |"]
    for bar, entry in bars.items():
        for figure in (Figure(**one) for one in entry["figures"]):
            limit = f"{figure.sense} {figure.limit:g}" if figure.sense else "–"
            verdict = "" if figure.is_good else "**missed** "
            value = f"{figure.value:.4g} {figure.unit}".strip()
            lines.append(f"| `{bar}` | {figure.name} | {value} | {limit} | {verdict}{figure.note} |")
        if entry["failure"]:
            lines.append(f"| `{bar}` | could not run | – | – | {entry['failure'].splitlines()[0]} |")
    lines += ["", *curve(bars.get("players")), "", "Each bar with the loads it ran, `weir bench --url … --server-pid …` and:"]
    for bar, entry in bars.items():
        medians = f"medians of {entry['rounds']}" if bar in REPEATED else "one round"
        lines += ["", f"`{bar}`, {entry['date']}, commit {entry['versions']['commit']}, {medians}:", "```"]
        lines += [*entry["commands"], "```"]
    return lines


def machines(bars: dict[str, dict]) -> dict[str, str]:
    """What the bars were measured on: bars keep their figures when others are measured anew on another machine."""
    values: dict[str, dict[str, list[str]]] = {}
    for bar, entry in bars.items():
        for name, value in entry["versions"].items():
            if name != "commit":
                values.setdefault(name, {}).setdefault(value, []).append(f"`{bar}`")
    return {
        name: "; ".join(value if len(found) == 1 else f"{value}: {', '.join(of)}" for value, of in found.items())
        for name, found in values.items()
    }


def curve(entry: dict | None) -> list[str]:
    """Load against cost, delay and loss, of the last search for the most players."""
    if not entry or not entry["loads"]:
        return []
    lines = ["| players | packets/s | CPU, µs per packet | core busy | delay p50, ms | p99, ms | loss | load busy |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for f in entry["loads"][-1]["steps"]:
        lines.append(
            f"| {f['players']} | {f['packetsPerSecond']:,.0f} | {f['cpuMicrosecondsPerPacket']:.2f} | "
            f"{f['cores']:.0%} | {f['videoDelayP50']:.2f} | {f['videoDelayP99']:.1f} | {f['loss']:.4%} | "
            f"{f['generatorThreadLoad']:.0%} |"
        )
    return lines


def processor() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    flags = Path("/proc/cpuinfo").read_text()
    extra = [name for name in ("vaes", "avx512f", "sha_ni") if name in flags]
    return f"{model.group(1) if model else platform.processor()} ({', '.join(extra)}), 2 processors used"
