import Benchmark
import Glibc

/// CPU time of one operation in picoseconds: whole numbers, and the shortest operations take three nanoseconds.
///
/// Processor counters are not to be had on most virtual machines, and the library's own CPU time counts in ticks of
/// ten milliseconds. What disturbs a thread only ever adds time, so the least of several short stretches of its CPU
/// clock is the steadiest figure there is.
let cost = BenchmarkMetric.custom("picoseconds", polarity: .prefersSmaller, useScalingFactor: false)

/// Stretches of which the quickest counts.
private let stretches = 8
private let iterations = 20
/// A figure this many percent above its threshold fails. Virtual machines of one kind differ by a quarter.
private let tolerance = 50.0

/// Registers a benchmark.
///
/// - Parameters:
///   - name: also the name of its threshold file, so of letters, digits and hyphens.
///   - operations: how many one call of the work does; enough for tens of microseconds.
///   - prepare: makes what the work needs, unmeasured, once per iteration; returns the work. The work is called
///     `stretches` times, so it must have enough prepared.
func micro(_ name: String, operations: Int, prepare: @escaping @Sendable () throws -> (() -> Void)) {
    let configuration = Benchmark.Configuration(
        metrics: [cost], warmupIterations: 1, maxDuration: .seconds(5), maxIterations: iterations,
        thresholds: [cost: .init(relative: [.p90: tolerance])])
    Benchmark(name, configuration: configuration) { benchmark in
        let work: () -> Void
        do { work = try prepare() } catch {
            benchmark.error("\(error)")
            return
        }
        var best = Int64.max
        for _ in 0..<stretches {
            let start = threadTime()
            work()
            best = min(best, threadTime() - start)
        }
        benchmark.measurement(cost, Int(best) * 1000 / operations)
    }
}

/// Stretches of a benchmark, for those that prepare as much as they use up.
var preparedStretches: Int { stretches }

private func threadTime() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// What a benchmark needs and did not get.
struct MicroError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
