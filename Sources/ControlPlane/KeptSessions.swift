import Synchronization

/// Sessions whose clients asked to be kept when their connection is lost (`keepAlive`, signalling 2.5), by their token.
///
/// What is kept is who the client is, not its streams: the Web SDK has already failed those by itself. Bounded in
/// number, per address and in bytes; when it is full the oldest one goes.
final class KeptSessions: Sendable {
    struct Kept: Sendable {
        let id: String
        let authToken: String
        let request: ConnectRequest
        let addressKey: String
        let until: Duration

        /// Bytes of what the client decided the size of.
        fileprivate var bytes: Int {
            (request.custom?.text.utf8.count ?? 0) + (request.profile?.text.utf8.count ?? 0)
                + (request.query?.utf8.count ?? 0) + (request.bearerToken?.utf8.count ?? 0)
        }
    }

    private struct State {
        var byToken: [String: (kept: Kept, serial: UInt64)] = [:]
        /// Oldest first. All are kept equally long, so they also expire in this order. An entry whose serial is not
        /// that of its token was taken meanwhile.
        var order: [(token: String, serial: UInt64)] = []
        var lastSerial: UInt64 = 0
        var perAddress: [String: Int] = [:]
        var bytes = 0

        mutating func add(_ kept: Kept) {
            _ = remove(kept.authToken)
            lastSerial += 1
            byToken[kept.authToken] = (kept, lastSerial)
            order.append((kept.authToken, lastSerial))
            perAddress[kept.addressKey, default: 0] += 1
            bytes += kept.bytes
            if order.count > 2 * byToken.count + KeptSessions.slack {
                order.removeAll { byToken[$0.token]?.serial != $0.serial }
            }
        }

        mutating func remove(_ token: String) -> Kept? {
            guard let kept = byToken.removeValue(forKey: token)?.kept else { return nil }
            bytes -= kept.bytes
            let left = perAddress[kept.addressKey, default: 1] - 1
            perAddress[kept.addressKey] = left > 0 ? left : nil
            return kept
        }

        /// Drops what has expired, and the oldest as long as `isFull`.
        mutating func trim(now: Duration, isFull: (State) -> Bool) {
            var gone = 0
            for (token, serial) in order {
                if let found = byToken[token], found.serial == serial {
                    guard found.kept.until <= now || isFull(self) else { break }
                    _ = remove(token)
                }
                gone += 1
            }
            order.removeFirst(gone)
        }
    }

    /// A larger client is not kept: what a session costs while nobody is connected must be little.
    static let maxBytesOfOne = 64 << 10
    static let maxBytes = 64 << 20
    static let maxPerAddress = 100
    /// Entries of sessions taken that may stand in the order beyond those that are kept.
    private static let slack = 64

    private let state = Mutex(State())
    private let maxSessions: Atomic<Int>

    init(maxSessions: Int) { self.maxSessions = Atomic(maxSessions) }

    /// Holds from the next session that is kept.
    func setMaxSessions(_ count: Int) { maxSessions.store(count, ordering: .relaxed) }

    func keep(_ kept: Kept, now: Duration) {
        guard kept.bytes <= Self.maxBytesOfOne, kept.until > now else { return }
        state.withLock { state in
            guard state.perAddress[kept.addressKey, default: 0] < Self.maxPerAddress else { return }
            state.add(kept)
            let most = maxSessions.load(ordering: .relaxed)
            state.trim(now: now) { $0.byToken.count > most || $0.bytes > Self.maxBytes }
        }
    }

    /// The session of that token, for one caller.
    func take(_ token: String, now: Duration) -> Kept? {
        state.withLock { state in
            guard let kept = state.remove(token), kept.until > now else { return nil }
            return kept
        }
    }

    /// Frees what has expired.
    func expire(now: Duration) {
        state.withLock { $0.trim(now: now) { _ in false } }
    }

    var count: Int { state.withLock { $0.byToken.count } }
}
