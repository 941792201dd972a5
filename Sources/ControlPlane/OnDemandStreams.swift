import Logging
import Synchronization

/// The sources that there are, by the names under which they are published.
final class OnDemandStreams: Sendable {
    /// One source with the session that publishes it.
    struct Entry: Sendable {
        let name: String
        let session: ClientSession
        /// Its value: why the source could not be opened, or nil.
        let opening: Task<EndCause?, Never>
        /// Opens when the name can be made anew.
        let isGone: Gate
    }

    private struct State {
        var entries: [String: Entry] = [:]
        /// Of sources that are not shared.
        var lastNumber = 0
    }

    private let sources: (any OnDemandSources)?
    private let logger: Logger
    private let state = Mutex(State())

    init(_ sources: (any OnDemandSources)?, logger: Logger) {
        self.sources = sources
        self.logger = logger
    }

    /// Whether that name stands for a source that all its players share.
    func isShared(_ name: String) -> Bool { sources?.source(for: name)?.isShared == true }

    /// Whether who asks for that plain name means a source.
    func isReserved(_ name: String) -> Bool { sources?.isReserved(name) == true }

    /// The source of that name, which may still be opening. A shared one is made if there is none yet, another one is
    /// always made anew and published under a name of its own.
    /// - Returns: nil if no such names are served.
    func entry(for name: String, _ context: ControlContext) -> Entry? {
        guard let source = sources?.source(for: name) else { return nil }
        return state.withLock { state in
            if source.isShared, let known = state.entries[name] { return known }
            state.lastNumber += 1
            // Nobody can publish under the name of a URL, and who plays such a name means a file that is called so.
            let own = source.isShared ? name : "\(name)#\(state.lastNumber)"
            let entry = begin(source, as: own, context)
            state.entries[own] = entry
            return entry
        }
    }

    private func begin(_ source: any OnDemandSource, as name: String, _ context: ControlContext) -> Entry {
        let request = ConnectRequest(remoteAddress: "on-demand", kind: .onDemand)
        let facts = SessionFacts(id: SessionID.make(request), request: request)
        // The backend hears of the players and not of what they play.
        let admission = Admission(hooks: OpenHooks(), profile: nil, custom: nil)
        let session = ClientSession(
            authToken: Token.make(), facts: facts, request: request, admission: admission, addressKey: nil,
            context: context, logger: logger)
        let isOver = Gate()
        let opening = Task { () -> EndCause? in
            guard context.registry.add(session) else { return .rejected(.shuttingDown) }
            return await session.publish(source, as: name, isOver)
        }
        let entry = Entry(name: name, session: session, opening: opening, isGone: Gate())
        Task {
            if await opening.value == nil { await isOver.wait() }
            await session.close(.clientClosed)
            state.withLock { _ = $0.entries.removeValue(forKey: name) }
            entry.isGone.open()
        }
        // Nobody is at the other end.
        Task { for await _ in session.events {} }
        return entry
    }
}
