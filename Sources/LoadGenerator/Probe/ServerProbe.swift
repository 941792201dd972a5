import Glibc

/// Looks at the server's process from outside: what it costs the machine.
package struct ServerProbe: Sendable {
    package enum Failure: Error, CustomStringConvertible {
        case noSuchProcess(Int32)
        case hasEnded(Int32)

        package var description: String {
            switch self {
            case .noSuchProcess(let id):
                "--server-pid: there is no process \(id), or /proc does not show it; give the id of the server's process"
            case .hasEnded(let id): "the server's process \(id) has ended"
            }
        }
    }

    package let process: Int32
    /// As the kernel shows it, at most 15 bytes.
    package let name: String
    private let startTime: UInt64
    private let ticks: Double

    package init(process: Int32) throws(Failure) {
        let ticks = Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
        guard process > 0, let text = ProcFiles.read("/proc/\(process)/stat"), let stat = ProcStat(text, ticks: ticks)
        else { throw .noSuchProcess(process) }
        self.process = process
        self.ticks = ticks
        name = stat.name
        startTime = stat.startTime
    }

    private func stat() throws(Failure) -> ProcStat {
        guard let text = ProcFiles.read("/proc/\(process)/stat"), let stat = ProcStat(text, ticks: ticks),
            stat.startTime == startTime
        else { throw .hasEnded(process) }
        return stat
    }

    /// Bytes of the process that are in memory. Exact figures where the kernel lets us walk its pages, else the
    /// kernel's estimate, which is off by up to some hundred kilobytes.
    package func residentBytes() throws(Failure) -> Int {
        _ = try stat()
        if let text = ProcFiles.read("/proc/\(process)/smaps_rollup"), let size = ProcFiles.number("Rss", in: text) {
            return size << 10
        }
        guard let text = ProcFiles.read("/proc/\(process)/status"), let size = ProcFiles.number("VmRSS", in: text)
        else { throw .hasEnded(process) }
        return size << 10
    }

    /// Begins a measurement; `end` finishes it.
    package func begin() throws(Failure) -> Measurement {
        try Measurement(self)
    }

    /// What the process did between two moments. Belongs to one task.
    package final class Measurement {
        private let probe: ServerProbe
        private let counter: SystemCallCounter?
        private let refusal: String?
        private let start: Sample

        private struct Sample {
            let time: Int64
            let cpu: Double
            let stat: ProcStat
            let switches: [Int32: ContextSwitches]
        }

        fileprivate init(_ probe: ServerProbe) throws(Failure) {
            self.probe = probe
            (counter, refusal) = SystemCallCounter.start(process: probe.process)
            start = try Self.sample(probe)
        }

        package func end() throws(Failure) -> ServerUsage {
            let calls = counter?.total()
            let end = try Self.sample(probe)
            // A thread that ended takes its count along: short-lived threads count for little in a server.
            var switches = ContextSwitches()
            for (thread, count) in end.switches {
                switches = switches + (count - (start.switches[thread] ?? ContextSwitches()))
            }
            return ServerUsage(
                seconds: Double(end.time - start.time) / 1e9, cpuSeconds: end.cpu - start.cpu,
                userSeconds: end.stat.userSeconds - start.stat.userSeconds,
                systemSeconds: end.stat.systemSeconds - start.stat.systemSeconds,
                voluntarySwitches: switches.voluntary, involuntarySwitches: switches.involuntary,
                systemCalls: calls, whyNoSystemCalls: refusal)
        }

        private static func sample(_ probe: ServerProbe) throws(Failure) -> Sample {
            let stat = try probe.stat()
            let cpu = probe.cpuSeconds(stat)
            var switches: [Int32: ContextSwitches] = [:]
            for thread in ProcFiles.threads(of: probe.process) {
                guard let text = ProcFiles.read("/proc/\(probe.process)/task/\(thread)/status") else { continue }
                switches[thread] = ProcFiles.switches(in: text)
            }
            return Sample(time: MachineClock.monotonic(), cpu: cpu, stat: stat, switches: switches)
        }
    }

    /// The scheduler's account of all threads, to the nanosecond; `stat` has hundredths of a second only.
    private func cpuSeconds(_ stat: ProcStat) -> Double {
        var clock = clockid_t()
        var time = timespec()
        guard clock_getcpuclockid(process, &clock) == 0, clock_gettime(clock, &time) == 0 else {
            return stat.userSeconds + stat.systemSeconds
        }
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

/// What a process used during one window.
package struct ServerUsage: Sendable, Codable, Equatable {
    package var seconds: Double
    package var cpuSeconds: Double
    /// Their sum differs from `cpuSeconds` by the kernel's rounding to hundredths.
    package var userSeconds: Double
    package var systemSeconds: Double
    package var voluntarySwitches: Int
    package var involuntarySwitches: Int
    /// nil: the kernel does not let us count; `whyNoSystemCalls` says why.
    package var systemCalls: Int?
    package var whyNoSystemCalls: String?

    package init(
        seconds: Double, cpuSeconds: Double, userSeconds: Double, systemSeconds: Double, voluntarySwitches: Int,
        involuntarySwitches: Int, systemCalls: Int?, whyNoSystemCalls: String?
    ) {
        self.seconds = seconds
        self.cpuSeconds = cpuSeconds
        self.userSeconds = userSeconds
        self.systemSeconds = systemSeconds
        self.voluntarySwitches = voluntarySwitches
        self.involuntarySwitches = involuntarySwitches
        self.systemCalls = systemCalls
        self.whyNoSystemCalls = whyNoSystemCalls
    }
}

/// Clocks of this machine.
enum MachineClock {
    /// Nanoseconds of CLOCK_MONOTONIC.
    static func monotonic() -> Int64 { read(CLOCK_MONOTONIC) }
    /// Nanoseconds that all threads of this program have run.
    static func ownCPU() -> Int64 { read(CLOCK_PROCESS_CPUTIME_ID) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
