import CSourceProcess
import Glibc
import NIOCore
import Synchronization
import Wire

/// How processes for sources are begun.
package struct SourceProcessSettings: Sendable {
    /// The program, which is this one.
    package var program = "/proc/self/exe"
    /// What has it read a source.
    package var command = "pull-source"
    /// Bytes of address space.
    package var memory = 1 << 30
    /// Under which files may be read; empty: none.
    package var folder = ""
    /// From the beginning to the description of a source.
    package var openingLimit = Interval.seconds(20)
    /// Without media.
    package var mediaLimit = Interval.seconds(10)
    /// Of the texts that `HostGuard` has been given.
    package var networks: [String] = []
    package var verifiesTLS = true
    package init() {}
}

/// A process that reads a source.
final class ChildProcess: Sendable {
    /// From the friendly request to the end without one.
    private static let patience = TimeAmount.seconds(2)
    private static let pollInterval = TimeAmount.milliseconds(20)
    private static let mostErrorText = 1_000

    let pid: pid_t
    /// Our end of the sockets to it; of whoever makes a channel of it.
    let link: CInt
    /// What it has written to standard error, in memory.
    private let errors: CInt
    /// How it has ended.
    private let status = Mutex<CInt?>(nil)

    private init(pid: pid_t, link: CInt, errors: CInt) {
        self.pid = pid
        self.link = link
        self.errors = errors
    }

    deinit { close(errors) }

    /// The process ends with the thread that calls this: a thread for life.
    static func start(_ settings: SourceProcessSettings) throws(ProcessError) -> ChildProcess {
        let arguments = [
            "weir", settings.command, "--parent", "\(getpid())", "--memory", "\(settings.memory)",
        ]
        var (pid, link, errors): (pid_t, CInt, CInt) = (0, -1, -1)
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        let result = weir_source_spawn(settings.program, &argv, &envp, &pid, &link, &errors)
        guard result == 0 else { throw ProcessError(code: result) }
        return ChildProcess(pid: pid, link: link, errors: errors)
    }

    /// What libraries need to be found and certificates to be read. Ours may have secrets in it, and proxies would connect
    /// to places that nobody checks.
    private static let environment: [String] = {
        let names: [String] = ["LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "TZ"]
        let kept = names.compactMap { name in getenv(name).map { "\(name)=\(String(cString: $0))" } }
        // Address space is bounded, and a crash is told in one line.
        return kept + ["PATH=/usr/bin:/bin", "LANG=C.UTF-8", "MALLOC_ARENA_MAX=2", "SWIFT_BACKTRACE=enable=no"]
    }()

    /// How it has ended; nil while it runs.
    func poll() -> CInt? {
        status.withLock { status in
            guard status == nil else { return status }
            var value: CInt = 0
            let ended = waitpid(pid, &value, WNOHANG)
            // Somebody else has reaped it: how it ended is lost.
            if ended == pid || (ended < 0 && errno == ECHILD) { status = value }
            return status
        }
    }

    /// Sees to its end, whatever it does. Its number is its own until it has been reaped, which is only done here.
    func end(on eventLoop: any EventLoop) {
        guard poll() == nil else { return }
        kill(pid, SIGTERM)
        let deadline = NIODeadline.now() + Self.patience
        eventLoop.scheduleRepeatedTask(initialDelay: Self.pollInterval, delay: Self.pollInterval) { task in
            guard self.poll() == nil else { return task.cancel() }
            if NIODeadline.now() >= deadline { kill(self.pid, SIGKILL) }
        }
    }

    /// For people: how it ended, and the last that it wrote.
    var lastWords: String {
        let how: String
        switch status.withLock(\.self) {
        case nil: how = "it has closed its connection"
        case let status? where status & 0x7f == 0: how = "status \(status >> 8 & 0xff)"
        case let status?: how = "signal \(status & 0x7f)"
        }
        var facts = stat()
        guard fstat(errors, &facts) == 0, facts.st_size > 0 else { return how }
        let length = min(Int(facts.st_size), Self.mostErrorText)
        var bytes = [UInt8](repeating: 0, count: length)
        let count = pread(errors, &bytes, length, facts.st_size - off_t(length))
        guard count > 0 else { return how }
        let text = String(decoding: bytes[..<count].map { $0 < 0x20 ? 0x20 : $0 }, as: UTF8.self)
        return "\(how): \(text)"
    }
}

struct ProcessError: Error, CustomStringConvertible {
    var code: CInt
    var description: String { "a process for the source cannot be started: \(String(cString: strerror(code)))" }
}
