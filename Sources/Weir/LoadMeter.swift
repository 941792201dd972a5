import ControlPlane
import Glibc
import HTTPServer
import LinuxNet
import MediaEngine

/// Measures once a second what the server carries: packets out and processor time.
package struct LoadMeter: Sendable {
    package static let interval = Duration.seconds(1)

    private let packetsSent: @Sendable () -> UInt64
    private let processorTime: @Sendable () -> Duration
    private let cores: Int

    package init(
        packetsSent: @escaping @Sendable () -> UInt64,
        processorTime: @escaping @Sendable () -> Duration = LoadMeter.processorTime, cores: Int = Machine.usableCores
    ) {
        self.packetsSent = packetsSent
        self.processorTime = processorTime
        self.cores = cores
    }

    /// Until the task is cancelled.
    package func run(_ clock: some Clock<Duration> = ContinuousClock(), _ tell: @Sendable (MachineLoad) -> Void) async {
        var last = (time: clock.now, packets: packetsSent(), processor: processorTime())
        while (try? await clock.sleep(for: Self.interval)) != nil {
            let now = (time: clock.now, packets: packetsSent(), processor: processorTime())
            let seconds = last.time.duration(to: now.time) / .seconds(1)
            guard seconds > 0 else { continue }
            tell(
                MachineLoad(
                    packetRate: Double(now.packets &- last.packets) / seconds,
                    cpu: (now.processor - last.processor) / .seconds(1) / seconds / Double(max(1, cores)) * 100))
            last = now
        }
    }

    /// Of all threads of this process since its start.
    @Sendable package static func processorTime() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
}

extension ProcessFigures {
    /// Fields of `/proc/self/stat` behind the name of the program (proc(5)): number of threads, resident pages.
    private static let threadsField = 17
    private static let residentField = 21
    private static let maxBytes = 4_096

    /// Zeroes where the system does not tell.
    package static func read(since start: ContinuousClock.Instant) -> ProcessFigures {
        var figures = ProcessFigures(uptime: start.duration(to: .now))
        let descriptor = open("/proc/self/stat", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return figures }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: maxBytes)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        guard count > 0 else { return figures }
        // The name may hold anything, also spaces and brackets.
        let text = String(decoding: bytes[..<count], as: UTF8.self)
        let fields = text.suffix(while: { $0 != ")" }).split(separator: " ")
        guard fields.count > residentField else { return figures }
        figures.threads = Int(fields[threadsField]) ?? 0
        figures.residentMemory = (Int(fields[residentField]) ?? 0) * sysconf(Int32(_SC_PAGESIZE))
        return figures
    }
}

extension String {
    /// The longest end of which every character passes.
    fileprivate func suffix(while passes: (Character) -> Bool) -> Substring {
        let start = lastIndex { !passes($0) }.map { index(after: $0) } ?? startIndex
        return self[start...]
    }
}
