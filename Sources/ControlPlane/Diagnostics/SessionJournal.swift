import Synchronization

/// What happened in one session lately: what its client sent and was sent, what the backend was asked and told, and how
/// its streams fared. Bounded in bytes and entries; the oldest goes.
///
/// What is written down is chosen member by member: no payload, no `custom`, no token. An SDP is kept as it is (its
/// text is the stream's anyway) and loses its keys when it is made readable.
final class SessionJournal: Sendable {
    enum Kind: String, Sendable {
        case received, sent, backend, state
    }

    struct Entry: Sendable {
        let at: Duration
        let kind: Kind
        let text: String
        let sdp: String?

        fileprivate var bytes: Int { text.utf8.count + (sdp?.utf8.count ?? 0) + MemoryLayout<Entry>.stride }

        /// The line, and the SDP's lines below it, indented.
        var lines: String {
            var out = "\(kind.rawValue) \(text)"
            for line in Redaction.text(sdp ?? "").split(whereSeparator: \.isNewline) {
                out += "\n    \(line.prefix(Self.longestSDPLine))"
            }
            return out
        }

        private static let longestSDPLine = 400
    }

    private struct State {
        var entries: [Entry] = []
        /// Before it entries are forgotten; they are taken out now and then.
        var first = 0
        var bytes = 0
        var forgotten = 0
        /// Gets every entry while the session is debugged.
        var log: (any SessionLog)?
    }

    static let maxEntries = 200
    private let limit: Int
    private let timers: Timers
    private let state = Mutex(State())

    /// - Parameter limit: bytes; 0: nothing is kept.
    init(limit: Int, timers: Timers) {
        self.limit = limit
        self.timers = timers
    }

    /// `text` is only made when somebody keeps it.
    func add(_ kind: Kind, sdp: String? = nil, _ text: @autoclosure () -> String) {
        let log = state.withLock { $0.log }
        guard limit > 0 || log != nil else { return }
        let entry = Entry(at: timers.now, kind: kind, text: text(), sdp: sdp)
        log?.append(entry.lines)
        guard limit > 0 else { return }
        state.withLock { state in
            state.entries.append(entry)
            state.bytes += entry.bytes
            while state.bytes > limit || state.entries.count - state.first > Self.maxEntries {
                state.bytes -= state.entries[state.first].bytes
                state.first += 1
                state.forgotten += 1
            }
            if state.first > Self.maxEntries / 2 {
                state.entries.removeFirst(state.first)
                state.first = 0
            }
        }
    }

    /// Oldest first.
    var entries: [Entry] { state.withLock { Array($0.entries[$0.first...]) } }

    /// Entries that had no room.
    var forgotten: Int { state.withLock { $0.forgotten } }

    /// From now on every entry also goes there; nil: no more.
    func setLog(_ log: (any SessionLog)?) { state.withLock { $0.log = log } }
}
