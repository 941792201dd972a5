import Synchronization

/// One client that joined.
struct Member<Client: MediaClient>: Sendable {
    let client: Client
    let session: SignalledSession
}

/// The clients that are there and how the joins went. Shared by the tasks of a load.
final class Crowd<Client: MediaClient>: Sendable {
    private struct State {
        var members: [Member<Client>] = []
        var joins = JoinLog()
    }

    private let state = Mutex(State())

    func add(_ member: Member<Client>, _ sample: JoinSample) {
        state.withLock {
            $0.members.append(member)
            $0.joins.samples.append(sample)
        }
    }

    func count(_ sample: JoinSample) { state.withLock { $0.joins.samples.append(sample) } }
    func count(failure: any Error) { state.withLock { $0.joins.add(failure: "\(failure)") } }

    var members: [Member<Client>] { state.withLock(\.members) }
    var failures: Int { state.withLock(\.joins.failures) }

    /// The joins since the last call.
    func takeJoins() -> JoinLog {
        state.withLock { state in
            defer { state.joins = JoinLog() }
            return state.joins
        }
    }

    func removeAll() -> [Member<Client>] {
        state.withLock { state in
            defer { state.members = [] }
            return state.members
        }
    }
}

/// One join that succeeded; milliseconds.
struct JoinSample: Sendable {
    /// From the offer to the server's answer.
    var signalling: Double
    var stages: JoinStages
}

struct JoinLog: Sendable {
    var samples: [JoinSample] = []
    private(set) var failures = 0
    private(set) var reasons: [String] = []

    /// Reasons that are kept.
    private static var keptReasons: Int { 5 }

    mutating func add(failure: String) {
        failures += 1
        if reasons.count < Self.keptReasons, !reasons.contains(failure) { reasons.append(failure) }
    }
}

/// Starts `count` pieces of work, `rate` per second, while fewer than `limit` are under way. Whoever finds no room
/// waits for it.
/// - Parameters:
///   - until: nothing is started after this.
///   - mayGoOn: asked before each start; `false` ends it.
/// - Returns: how many were started, and how many of these had no room when it was their time.
/// - Throws: `CancellationError`, when all that was started has ended.
@discardableResult
func paced<Time: Clock>(
    count: Int, rate: Double, limit: Int, clock: Time, until end: Time.Instant? = nil,
    mayGoOn: @Sendable () -> Bool = { true }, _ work: @escaping @Sendable (Int) async -> Void
) async throws -> (started: Int, heldBack: Int) where Time.Duration == Duration {
    // Each piece says when it ended.
    try await withThrowingTaskGroup(of: Time.Instant.self) { group in
        let begin = clock.now
        var (started, heldBack) = (0, 0)
        for index in 0..<count {
            let time = begin.advanced(by: .seconds(Double(index) / rate))
            if let end, time >= end { break }
            try await Task.sleep(until: time, clock: clock)
            var hadRoom = true
            // The group gives back who ended first; the room of those before was taken by the pieces since.
            if started >= limit, let freed = try await group.next() { hadRoom = freed <= time }
            if let end, clock.now >= end { break }
            try Task.checkCancellation()
            guard mayGoOn() else { break }
            group.addTask {
                await work(index)
                return clock.now
            }
            started += 1
            if !hadRoom { heldBack += 1 }
        }
        try await group.waitForAll()
        return (started, heldBack)
    }
}

/// Runs work to its end even if the task that waits for it is cancelled.
func shielded(_ work: @escaping @Sendable () async -> Void) async {
    await Task { await work() }.value
}

extension Duration {
    /// Milliseconds.
    var milliseconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) * 1e3 + Double(attoseconds) / 1e15
    }
}
