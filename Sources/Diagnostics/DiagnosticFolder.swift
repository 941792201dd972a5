import ControlPlane
import Glibc
import Logging
import NIOPosix
import Synchronization
import WeirMetrics

/// Bug reports and logs of sessions in one folder, bounded in number, in size and by the free space of the disk. One
/// thread of its own writes; nobody waits for the disk but who asks for a file.
package final class DiagnosticFolder: DiagnosticStore {
    /// Reports and new logs that may wait for the disk.
    private static let maxWaiting = 64
    /// Random digits of the session's id in a file's name.
    private static let sessionDigits = 8

    private struct State {
        var usage = FileDesk.Usage()
        var openLogs = 0
        var waiting = 0
        /// Of them one is logged; the next when something has been written again.
        var hasReported = false
    }

    let settings: DiagnosticSettings
    let metrics: DiagnosticMetrics
    private let desk: FileDesk
    private let wall: @Sendable () -> WallTime
    private let logger: Logger
    private let thread = NIOThreadPool(numberOfThreads: 1)
    private let state = Mutex(State())

    /// - Throws: `.storage` naming what cannot be made or written.
    package convenience init(
        _ settings: DiagnosticSettings, metrics: MetricsRegistry, logger: Logger
    ) throws(DiagnosticError) {
        try self.init(
            settings, metrics: metrics, logger: logger, wall: { .now() }, freeBytes: FileDesk.systemFreeBytes)
    }

    /// - Parameter freeBytes: of the file system, for tests.
    package convenience init(
        _ settings: DiagnosticSettings, metrics: MetricsRegistry, logger: Logger, unixNanoseconds: Int64,
        freeBytes: @escaping @Sendable (String) -> Int?
    ) throws(DiagnosticError) {
        try self.init(
            settings, metrics: metrics, logger: logger, wall: { WallTime(unixNanoseconds: unixNanoseconds) },
            freeBytes: freeBytes)
    }

    private init(
        _ settings: DiagnosticSettings, metrics: MetricsRegistry, logger: Logger,
        wall: @escaping @Sendable () -> WallTime, freeBytes: @escaping @Sendable (String) -> Int?
    ) throws(DiagnosticError) {
        self.settings = settings
        self.metrics = DiagnosticMetrics(metrics)
        self.logger = logger
        self.wall = wall
        desk = FileDesk(settings: settings, freeBytes: freeBytes)
        try desk.prepare()
        try look(desk)
        thread.start()
    }

    /// Writes what still waits and ends the thread. Nothing can be kept afterwards.
    package func shutdown() async {
        await run { _ in }
        try? await thread.shutdownGracefully()
    }

    // MARK: DiagnosticStore

    package func keepReport(_ text: String, session: String) async throws(DiagnosticError) -> String {
        let time = wall()
        let report = Array("Weir bug report\ntime: \(time.text)\nserver: \(settings.server)\n\(text)".utf8)
        let name = "bug-report-\(time.fileText)-\(Self.digits(of: session))"
        return try await counted("report") { desk throws(DiagnosticError) in
            try self.checkRoom(for: report.count, desk)
            let (file, descriptor) = try desk.create(name, ending: ".txt")
            defer { close(descriptor) }
            do throws(DiagnosticError) {
                try desk.write(report, to: descriptor)
            } catch {
                desk.remove(file)
                throw error
            }
            self.state.withLock { state in
                state.usage.files += 1
                state.usage.bytes += report.count
            }
            return file
        }
    }

    package func openLog(
        _ kind: DiagnosticLogKind, session: String
    ) async throws(DiagnosticError) -> any SessionLog {
        let name = "\(kind.rawValue)-\(wall().fileText)-\(Self.digits(of: session))"
        return try await counted(kind.rawValue) { desk throws(DiagnosticError) in
            guard self.state.withLock({ $0.openLogs }) < self.settings.maxOpenLogs else { throw .tooManyLogs }
            try self.checkRoom(for: 0, desk)
            let (file, descriptor) = try desk.create(name, ending: ".log")
            let open = self.state.withLock { state in
                state.usage.files += 1
                state.openLogs += 1
                return state.openLogs
            }
            self.metrics.openLogs.set(Double(open))
            let log = SessionLogFile(fileName: file, descriptor: descriptor, folder: self, wall: self.wall)
            log.append("log of session \(session) on \(self.settings.server)")
            return log
        }
    }

    /// Digits of the part of a session's id that is unlike all others. Nothing else of it becomes part of a name.
    static func digits(of session: String) -> String {
        let random = session.split(separator: "-").last ?? ""
        return String(random.filter { $0.isASCII && $0.isHexDigit }.prefix(sessionDigits)).lowercased()
    }

    private func counted<Value: Sendable>(
        _ what: String, _ work: @escaping @Sendable (FileDesk) throws(DiagnosticError) -> Value
    ) async throws(DiagnosticError) -> Value {
        let hasRoom = state.withLock { state in
            guard state.waiting < Self.maxWaiting else { return false }
            state.waiting += 1
            return true
        }
        guard hasRoom else {
            metrics.count(what, .timeout)
            throw .timeout
        }
        defer { state.withLock { $0.waiting -= 1 } }
        let result = await run { desk -> Result<Value, DiagnosticError> in
            do throws(DiagnosticError) {
                return .success(try work(desk))
            } catch {
                return .failure(error)
            }
        }
        guard let result else {
            metrics.count(what, .timeout)
            throw .timeout
        }
        if case .failure(let error) = result {
            metrics.count(what, error)
            report(error, what)
        } else {
            metrics.count(what, nil)
            state.withLock { $0.hasReported = false }
        }
        return try result.get()
    }

    func report(_ error: DiagnosticError, _ what: String) {
        let isFirst = state.withLock { state in
            defer { state.hasReported = true }
            return !state.hasReported
        }
        guard isFirst else { return }
        logger.warning(
            "diagnostics cannot be kept; told once until something is kept again",
            metadata: ["folder": "\(settings.folder)", "what": "\(what)", "error": "\(error)"])
    }

    // MARK: On the folder's thread

    private func checkRoom(for bytes: Int, _ desk: FileDesk) throws(DiagnosticError) {
        try look(desk)
        try desk.checkRoom(for: bytes, usage: state.withLock { $0.usage })
    }

    private func look(_ desk: FileDesk) throws(DiagnosticError) {
        let usage = try desk.usage()
        state.withLock { $0.usage = usage }
        metrics.files.set(Double(usage.files))
        metrics.bytes.set(Double(usage.bytes))
    }

    /// A log is about to grow.
    func grow(by bytes: Int, _ desk: FileDesk) throws(DiagnosticError) {
        guard state.withLock({ $0.usage.bytes }) + bytes <= settings.maxBytes else { throw .folderFull }
        try desk.checkDisk(for: bytes)
        state.withLock { $0.usage.bytes += bytes }
    }

    func closeLog(_ log: SessionLogFile) {
        close(log.descriptor)
        let open = state.withLock { state in
            state.openLogs -= 1
            return state.openLogs
        }
        metrics.openLogs.set(Double(open))
    }

    // MARK: The thread

    /// Later, in the order of the calls.
    func submit(_ work: @escaping @Sendable (FileDesk) -> Void) {
        let desk = desk
        thread.submit { _ in work(desk) }
    }

    /// nil if the thread has ended.
    @discardableResult
    func run<Value: Sendable>(_ work: @escaping @Sendable (FileDesk) -> Value) async -> Value? {
        let desk = desk
        return try? await thread.runIfActive { work(desk) }
    }
}
