import Synchronization

/// All applications: those of the configuration and those made at run time.
///
/// A key has one definition. What the configuration defines is read-only here; `defaultApp` and `roomApp` are built in
/// unless it defines them or switches them off. What is made at run time is stored before it counts, so that nothing is told to exist that a
/// restart would lose. Open sessions keep the application as it was when they connected.
package final class Applications: Sendable {
    private struct State {
        var configured: [String: Application] = [:]
        var made: [String: Application] = [:]
        var builtIn: [Application]

        func find(_ key: String) -> Application? {
            configured[key] ?? made[key] ?? builtIn.first { $0.key == key }
        }

        var all: [Application] {
            let keys = Set(configured.keys).union(made.keys).union(builtIn.map(\.key))
            return keys.sorted().compactMap(find)
        }
    }

    /// Applications made at run time.
    package static let maxMade = 1_000

    private let state: Mutex<State>
    private let store: (any ApplicationStore)?

    /// - Parameter builtIn: keys of built-in applications that there are; others of those are unknown.
    /// - Throws: when a key is defined twice, or what is stored cannot be read.
    package init(
        configured: [Application], builtIn: Set<String> = Set(Application.builtIn.map(\.key)),
        store: (any ApplicationStore)?
    ) throws(ApplicationError) {
        self.store = store
        let made = try store?.load() ?? []
        state = Mutex(
            State(
                configured: try Self.table(configured, []), made: try Self.table(made, Set(configured.map(\.key))),
                builtIn: Application.builtIn.filter { builtIn.contains($0.key) }))
    }

    /// Applications whose clients nobody is asked about.
    package var open: [Application] {
        all.filter(\.backend.isBuiltIn)
    }

    private static func table(
        _ applications: [Application], _ taken: Set<String>
    ) throws(ApplicationError) -> [String: Application] {
        var table: [String: Application] = [:]
        for one in applications {
            guard table[one.key] == nil, !taken.contains(one.key) else { throw .alreadyExists(one.key) }
            table[one.key] = one
        }
        return table
    }

    package func find(_ key: String) -> Application? { state.withLock { $0.find(key) } }

    /// Sorted by key.
    package var all: [Application] { state.withLock { $0.all } }

    /// Whether REST must leave it alone.
    package func isReadOnly(_ key: String) -> Bool {
        state.withLock { $0.made[key] == nil && $0.find(key) != nil }
    }

    /// - Throws: `.readOnly`, `.alreadyExists`, `.storage`.
    package func add(_ application: Application) throws(ApplicationError) {
        try change(application.key) { made throws(ApplicationError) in
            guard made[application.key] == nil else { throw .alreadyExists(application.key) }
            guard made.count < Self.maxMade else { throw .invalid("there are \(Self.maxMade) applications already") }
            made[application.key] = application
        }
    }

    /// Changes one made at run time, whose key stays. `body` may throw what is wrong.
    package func update(
        _ key: String, _ body: (Application) throws(ApplicationError) -> Application
    ) throws(ApplicationError) {
        try change(key) { made throws(ApplicationError) in
            guard let old = made[key] else { throw .notFound(key) }
            var new = try body(old)
            new.key = key
            made[key] = new
        }
    }

    package func remove(_ key: String) throws(ApplicationError) {
        try change(key) { made throws(ApplicationError) in
            guard made.removeValue(forKey: key) != nil else { throw .notFound(key) }
        }
    }

    /// Takes another configuration's applications, all or nothing.
    package func replaceConfigured(_ configured: [Application]) throws(ApplicationError) {
        try locked { state throws(ApplicationError) in
            state.configured = try Self.table(configured, Set(state.made.keys))
        }
    }

    /// Checks, stores, then takes over, in one critical section: two changes at once cannot lose one another. It holds
    /// the lock while a small file is written, which only operators cause.
    private func change(
        _ key: String, _ body: (inout [String: Application]) throws(ApplicationError) -> Void
    ) throws(ApplicationError) {
        try locked { state throws(ApplicationError) in
            guard state.configured[key] == nil, !Application.builtIn.contains(where: { $0.key == key }) else {
                throw .readOnly(key)
            }
            var made = state.made
            try body(&made)
            try store?.save(made.values.sorted { $0.key < $1.key })
            state.made = made
        }
    }

    /// `withLock` with a typed error.
    private func locked(_ body: (inout State) throws(ApplicationError) -> Void) throws(ApplicationError) {
        let failure = state.withLock { state -> ApplicationError? in
            do throws(ApplicationError) {
                try body(&state)
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }
}

/// Where applications made at run time outlive a restart.
package protocol ApplicationStore: Sendable {
    /// - Throws: `.storage` if there is something that cannot be read.
    func load() throws(ApplicationError) -> [Application]
    /// - Throws: `.storage`
    func save(_ applications: [Application]) throws(ApplicationError)
}
