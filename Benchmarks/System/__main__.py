"""tools/bench: runs the bars of docs/performance.md and writes that file. See Benchmarks/README.md."""

import argparse
import sys

from bars import BARS, WITHOUT_LIMIT
from machine import prepare
from report import Report


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tools/bench",
        description="Measures the server against the limit program and its bars, side by side in one run. Server and "
        "limit run on the first processor, load and drain on the second.",
        epilog="Bars: " + "; ".join(f"{name}: {bar.__doc__.splitlines()[0]}" for name, bar in BARS.items()),
    )
    parser.add_argument("bars", nargs="*", metavar="BAR", help="which to run, by name (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="medians of so many (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one round, short windows: to see that everything runs")
    parser.add_argument("--soak", type=float, default=600, help="seconds of the memory bar's soak (default: 600)")
    parser.add_argument("--binary", help="the server to measure (default: the one built here)")
    parser.add_argument("--write", action="store_true", help="write the figures of these bars into docs/performance.md and docs/performance.json; others stay")
    options = parser.parse_args()
    unknown = [name for name in options.bars if name not in BARS]
    if unknown:
        parser.error(f"no bar {', '.join(unknown)}; there are {', '.join(BARS)}")
    if options.rounds < 1 or options.rounds > 9:
        parser.error("--rounds takes 1 to 9")
    if options.quick:
        options.rounds, options.soak = 1, min(options.soak, 20)
    chosen = options.bars or list(BARS)
    bench = prepare(options, needs_limit=not WITHOUT_LIMIT.issuperset(chosen))
    report = Report(bench)
    for name in chosen:
        print(f"== {name}: {BARS[name].__doc__.splitlines()[0]}", flush=True)
        report.begin()
        try:
            for figure in BARS[name](bench):
                report.add(name, figure)
                print("   " + figure.line(), flush=True)
        except RuntimeError as error:
            report.fail(name, str(error))
            print(f"   FAILED: {error}", flush=True)
        report.end(name)
    if options.write:
        report.write()
    print(report.summary())
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
