import ControlPlane
import Synchronization

/// One growing log. Lines wait, bounded, for the folder's thread; what finds no room is left out, and the next line that
/// does says how many were.
final class SessionLogFile: SessionLog {
    /// Bytes that may wait for the disk.
    static let maxWaiting = 256 << 10
    /// Kept for the line that says why the log ends.
    private static let lastLine = 200

    private struct State {
        var waiting: [UInt8] = []
        var written = 0
        var leftOut = 0
        /// The folder's thread has been asked to write.
        var isWriting = false
        var isFull = false
        var isClosed = false
    }

    let fileName: String
    let descriptor: CInt
    private let folder: DiagnosticFolder
    private let wall: @Sendable () -> WallTime
    private let state = Mutex(State())

    init(fileName: String, descriptor: CInt, folder: DiagnosticFolder, wall: @escaping @Sendable () -> WallTime) {
        self.fileName = fileName
        self.descriptor = descriptor
        self.folder = folder
        self.wall = wall
    }

    func append(_ text: String) {
        let line = Array("\(wall().text) \(text.hasSuffix("\n") ? String(text.dropLast()) : text)\n".utf8)
        let (mustAsk, wasLeftOut) = state.withLock { state -> (Bool, Bool) in
            guard !state.isClosed else { return (false, false) }
            guard !state.isFull, state.waiting.count + line.count <= Self.maxWaiting else {
                state.leftOut += 1
                return (false, true)
            }
            let limit = folder.settings.maxLogBytes - Self.lastLine
            guard state.written + state.waiting.count + line.count <= limit else {
                state.isFull = true
                state.waiting += "\(wall().text) the log has reached its greatest size and ends here\n".utf8
                return (Self.ask(&state), true)
            }
            if state.leftOut > 0 {
                state.waiting += "\(wall().text) \(state.leftOut) lines had no room\n".utf8
                state.leftOut = 0
            }
            state.waiting += line
            return (Self.ask(&state), false)
        }
        if wasLeftOut { folder.metrics.leftOut.increment() }
        if mustAsk { folder.submit { self.flush($0) } }
    }

    private static func ask(_ state: inout State) -> Bool {
        defer { state.isWriting = true }
        return !state.isWriting
    }

    /// On the folder's thread. A file system that takes no more ends the log.
    private func flush(_ desk: FileDesk) {
        let bytes = state.withLock { state in
            state.isWriting = false
            defer { state.waiting = [] }
            return state.waiting
        }
        guard !bytes.isEmpty else { return }
        do throws(DiagnosticError) {
            try folder.grow(by: bytes.count, desk)
            try desk.write(bytes, to: descriptor)
            state.withLock { $0.written += bytes.count }
        } catch {
            let isFirst = state.withLock { state in
                defer { state.isFull = true }
                return !state.isFull
            }
            folder.metrics.leftOut.increment()
            if isFirst { folder.report(error, fileName) }
        }
    }

    func close() async {
        let isFirst = state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        guard isFirst else { return }
        await folder.run { desk in
            self.flush(desk)
            self.folder.closeLog(self)
        }
    }
}
