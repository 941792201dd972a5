import CFiles
import Glibc
import Synchronization
import Wire

/// Runs the operator's program after each completed file: `PROGRAM STREAM_NAME ABSOLUTE_PATH`, without a shell, so that
/// no name can mean anything to one.
package final class RecordingHook: Sendable {
    package struct Settings: Sendable, Equatable {
        /// Absolute path of an executable.
        package var program: String
        /// Then it and what it has started are killed.
        package var timeout = Interval.seconds(60)
        /// Programs at a time.
        package var concurrency = 2
        /// Files that wait for theirs.
        package var capacity = 1_000
        /// What is kept of its output for the log.
        package var outputBytes = 4 << 10

        package init(program: String) { self.program = program }
    }

    package enum Outcome: Sendable, Equatable {
        case exited(Int32)
        case killed(signal: Int32)
        case timedOut
        case notStarted(errno: Int32)
        /// Too many wait.
        case dropped
    }

    private let settings: Settings
    private let report: @Sendable (RecordedFile, Outcome, String) -> Void
    private let queue: WorkQueue<RecordedFile>

    /// - Parameter report: called on a thread of the hook with what became of it and the end of its output.
    package init(settings: Settings, report: @escaping @Sendable (RecordedFile, Outcome, String) -> Void) {
        self.settings = settings
        self.report = report
        queue = WorkQueue(name: "record-hook", threads: settings.concurrency, capacity: settings.capacity) { file in
            let (outcome, output) = ChildProcess.run(
                settings.program, [file.identity.streamName, file.path], timeout: settings.timeout,
                outputBytes: settings.outputBytes)
            report(file, outcome, output)
        }
    }

    package func run(for file: RecordedFile) {
        if !queue.add(file) { report(file, .dropped, "") }
    }

    package func waitUntilIdle() { queue.waitUntilIdle() }
    package func stop() { queue.stop() }
}

/// One child process with its output, ended after a time. Blocks its thread.
enum ChildProcess {
    /// How often a child that has closed its output is asked whether it has ended.
    private static let pollMillis: Int32 = 20
    /// All that a hook gets of our environment.
    private static let environment = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
    ]

    static func run(
        _ program: String, _ arguments: [String], timeout: Interval, outputBytes: Int
    ) -> (RecordingHook.Outcome, String) {
        var ends: [Int32] = [-1, -1]
        guard weir_pipe(&ends) == 0 else { return (.notStarted(errno: errno), "") }
        let (reading, writing) = (ends[0], ends[1])
        defer { close(reading) }
        var child: pid_t = 0
        let result = spawn(&child, program, [program] + arguments, output: writing)
        close(writing)
        guard result == 0 else { return (.notStarted(errno: result), "") }
        let deadline = monotonicMillis() + timeout.milliseconds
        var output = OutputTail(limit: outputBytes)
        drain(reading, into: &output, until: deadline)
        return (wait(child, until: deadline), output.text)
    }

    private static func spawn(
        _ child: inout pid_t, _ program: String, _ arguments: [String], output: Int32
    ) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        // Descriptors that some library has opened without O_CLOEXEC.
        weir_spawn_close_from(&actions, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own, so that all of it can be killed; signals as a fresh process has them.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        return posix_spawn(&child, program, &actions, &attributes, &argv, &envp)
    }

    /// Reads until the child, and all that it has started, have closed their output.
    private static func drain(_ descriptor: Int32, into output: inout OutputTail, until deadline: Int64) {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while true {
            let left = deadline - monotonicMillis()
            guard left > 0 else { return }
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = poll(&entry, 1, Int32(clamping: left))
            if ready < 0 && errno == EINTR { continue }
            guard ready > 0 else { return }
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            output.add(buffer[..<count])
        }
    }

    private static func wait(_ child: pid_t, until deadline: Int64) -> RecordingHook.Outcome {
        var status: Int32 = 0
        while true {
            let ended = waitpid(child, &status, WNOHANG)
            if ended == child { return outcome(status) }
            if ended < 0 && errno != EINTR { return .notStarted(errno: errno) }
            guard monotonicMillis() < deadline else { break }
            poll(nil, 0, pollMillis)
        }
        kill(-child, SIGKILL)
        while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        return .timedOut
    }

    private static func outcome(_ status: Int32) -> RecordingHook.Outcome {
        let signal = status & 0x7f
        return signal == 0 ? .exited(status >> 8 & 0xff) : .killed(signal: signal)
    }

    private static func monotonicMillis() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// The last bytes of an output.
    private struct OutputTail {
        let limit: Int
        private var bytes: [UInt8] = []
        private var isCut = false

        init(limit: Int) { self.limit = limit }

        mutating func add(_ more: ArraySlice<UInt8>) {
            bytes += more
            guard bytes.count > limit else { return }
            bytes.removeFirst(bytes.count - limit)
            isCut = true
        }

        var text: String { (isCut ? "…" : "") + String(decoding: bytes, as: UTF8.self) }
    }
}
