import Glibc
import Logging
import Synchronization
import Wire

/// Where log lines go: rate limit, form and the file descriptor. One for the process; every `WeirLogHandler` shares it.
///
/// A caller waits at most `stallLimit` for a reader that has stopped reading, then lines are dropped and counted until
/// the reader goes on.
package final class LogSink: Sendable {
    /// Wall clock since 1970 and monotonic time, so that tests can set both.
    package struct Time: Sendable {
        package var unixNanoseconds: Int64
        package var monotonic: Instant
        package init(unixNanoseconds: Int64, monotonic: Instant) {
            self.unixNanoseconds = unixNanoseconds
            self.monotonic = monotonic
        }

        package static func now() -> Time {
            var wall = timespec()
            var steady = timespec()
            clock_gettime(CLOCK_REALTIME, &wall)
            clock_gettime(CLOCK_MONOTONIC, &steady)
            return Time(
                unixNanoseconds: Int64(wall.tv_sec) * 1_000_000_000 + Int64(wall.tv_nsec),
                monotonic: Instant(nanoseconds: Int64(steady.tv_sec) * 1_000_000_000 + Int64(steady.tv_nsec)))
        }
    }

    /// Length at which a line is cut. A pipe takes so many bytes at once or none (PIPE_BUF), so lines never mix.
    package static let maxLine = 4096
    /// Milliseconds that the first line of a stall may wait.
    private static let stallLimit: CInt = 10
    /// How often places that were silenced and then fell silent themselves are looked for.
    private static let sweepInterval = Interval.seconds(10)

    private struct Site: Hashable {
        var file: String
        var line: UInt
    }

    private struct State {
        /// Bounded by the number of log statements in the program.
        var buckets: [Site: LogBucket] = [:]
        var nextSweep = Instant.zero
        var dropped: UInt64 = 0
        var isStalled = false
    }

    private let currentLevel: Atomic<UInt8>
    /// Sessions that are logged at a level of their own; the oldest is dropped when there are too many.
    private let sessionLevels = Mutex<[(session: String, level: LogLevel)]>([])
    private let hasSessionLevels = Atomic<Bool>(false)
    package static let maxSessionLevels = 64
    private let state = Mutex(State())
    private let format: LogFormat
    private let rate: Int
    private let burst: Int
    private let clock: @Sendable () -> Time
    private let output: @Sendable ([UInt8], _ wait: CInt) -> Bool

    /// - Parameters:
    ///   - clock: for tests.
    ///   - output: writes one line; `false` if it could not within `wait` milliseconds. For tests.
    package init(
        _ settings: Configuration.Log, clock: @escaping @Sendable () -> Time = { .now() },
        output: @escaping @Sendable ([UInt8], _ wait: CInt) -> Bool = LogSink.writeToStandardError
    ) {
        currentLevel = Atomic(settings.level.rawValue)
        format = settings.format
        rate = settings.rate
        burst = settings.burst
        self.clock = clock
        self.output = output
    }

    /// Lines below this level are not written; may be changed at any time, by anyone.
    package var level: LogLevel {
        get { LogLevel(rawValue: currentLevel.load(ordering: .relaxed)) ?? .info }
        set { currentLevel.store(newValue.rawValue, ordering: .relaxed) }
    }

    /// Logs one session at another level than the rest; nil: as the rest again.
    package func setLevel(_ level: LogLevel?, session: String) {
        sessionLevels.withLock { levels in
            levels.removeAll { $0.session == session }
            if let level { levels.append((session, level)) }
            levels.removeFirst(max(0, levels.count - Self.maxSessionLevels))
            hasSessionLevels.store(!levels.isEmpty, ordering: .relaxed)
        }
    }

    /// The level that counts for a logger with this metadata. Asked for every line, so without a lock in the usual case.
    func level(for metadata: Logger.Metadata) -> LogLevel {
        guard hasSessionLevels.load(ordering: .relaxed), let session = metadata["session"] else { return level }
        return sessionLevels.withLock { levels in levels.last { $0.session == "\(session)" }?.level } ?? level
    }

    /// Makes this the sink of every `Logger` made from now on. Once per process.
    package func bootstrap() {
        LoggingSystem.bootstrap { label in WeirLogHandler(label: label, sink: self) }
    }

    package func makeLogger(_ label: String = "weir") -> Logger {
        Logger(label: label) { WeirLogHandler(label: $0, sink: self) }
    }

    func write(_ event: LogEvent, metadata: Logger.Metadata) {
        let time = clock()
        state.withLock { state in
            var metadata = metadata
            // The last words of a process are never held back.
            if rate > 0, event.level < .critical {
                let site = Site(file: event.file, line: event.line)
                var bucket = state.buckets[site] ?? LogBucket(burst: burst, now: time.monotonic)
                let suppressed = bucket.take(rate: rate, burst: burst, now: time.monotonic)
                bucket.message = suppressed == nil ? event.message.description : bucket.message
                state.buckets[site] = bucket
                sweep(&state, time)
                guard let suppressed else { return }
                if suppressed > 0 { metadata["suppressed"] = .stringConvertible(suppressed) }
            }
            emit(&state, level: event.level, message: event.message.description, metadata: metadata, time: time)
        }
    }

    /// Writes how many lines of each place were held back and are not yet told. Call it before the process ends.
    package func reportSuppressed() {
        let time = clock()
        state.withLock { state in
            state.nextSweep = time.monotonic
            sweep(&state, time, quietFor: .zero)
        }
    }

    /// A place that stopped logging would never tell how much was held back, so others' lines do it for it.
    private func sweep(_ state: inout State, _ time: Time, quietFor: Interval = sweepInterval) {
        guard time.monotonic >= state.nextSweep else { return }
        state.nextSweep = time.monotonic + Self.sweepInterval
        let due = state.buckets.filter { $0.value.suppressed > 0 && time.monotonic - $0.value.lastHeldBack >= quietFor }
        for (site, bucket) in due {
            state.buckets[site]?.suppressed = 0
            emit(
                &state, level: .notice, message: "Log lines were held back by log.rate",
                metadata: ["of": .string(bucket.message), "suppressed": .stringConvertible(bucket.suppressed)],
                time: time)
        }
    }

    private func emit(
        _ state: inout State, level: Logger.Level, message: String, metadata: Logger.Metadata, time: Time
    ) {
        var metadata = metadata
        if state.dropped > 0 { metadata["dropped"] = .stringConvertible(state.dropped) }
        let line = LogLine.format(
            format, level: level, message: message, metadata: metadata, unixNanoseconds: time.unixNanoseconds,
            limit: Self.maxLine)
        if output(line, state.isStalled ? 0 : Self.stallLimit) {
            state.dropped = 0
            state.isStalled = false
        } else {
            state.dropped &+= 1
            state.isStalled = true
        }
    }

    /// Writes whole lines to standard error, waiting at most `wait` milliseconds for room.
    package static let writeToStandardError: @Sendable ([UInt8], CInt) -> Bool = { line, wait in
        var descriptor = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        guard poll(&descriptor, 1, wait) == 1, descriptor.revents & Int16(POLLOUT) != 0 else { return false }
        var rest = line[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if count < 0, errno != EINTR {
                return false
            }
        }
        return true
    }
}

/// The token bucket of one log statement.
private struct LogBucket {
    private var tokens: Double
    private var filled: Instant
    /// Lines held back since the last one that was written.
    var suppressed: UInt64 = 0
    var lastHeldBack = Instant.zero
    var message = ""

    init(burst: Int, now: Instant) {
        tokens = Double(burst)
        filled = now
    }

    /// `nil`: hold this line back. Else it may be written, and tells how many before it were not.
    mutating func take(rate: Int, burst: Int, now: Instant) -> UInt64? {
        let elapsed = max(0, (now - filled).seconds)
        tokens = min(Double(burst), tokens + elapsed * Double(rate))
        filled = now
        guard tokens >= 1 else {
            suppressed &+= 1
            lastHeldBack = now
            return nil
        }
        tokens -= 1
        defer { suppressed = 0 }
        return suppressed
    }
}
