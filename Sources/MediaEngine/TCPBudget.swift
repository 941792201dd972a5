import Synchronization
import Wire

/// How many ICE-TCP connections there may be, in all and from one address, over all workers.
package final class TCPBudget: Sendable {
    private struct State {
        var total = 0
        var byAddress: [SocketAddress: Int] = [:]
    }
    private let state = Mutex(State())
    private let limit: Int
    private let limitPerAddress: Int

    package init(_ configuration: EngineConfiguration) {
        limit = configuration.maxTCPConnections
        limitPerAddress = configuration.maxTCPConnectionsPerAddress
    }

    /// `false`: there are enough already.
    package func take(_ remote: SocketAddress) -> Bool {
        state.withLock { s in
            let key = Self.key(remote)
            let own = s.byAddress[key] ?? 0
            guard s.total < limit, own < limitPerAddress else { return false }
            s.total += 1
            s.byAddress[key] = own + 1
            return true
        }
    }

    package func give(_ remote: SocketAddress) {
        state.withLock { s in
            let key = Self.key(remote)
            guard let own = s.byAddress[key] else { return }
            s.total -= 1
            s.byAddress[key] = own > 1 ? own - 1 : nil
        }
    }

    /// A whole /64 is one subscriber's (RFC 6177).
    private static func key(_ remote: SocketAddress) -> SocketAddress {
        var key = remote
        key.port = 0
        if key.family == .ipv6 { key.low = 0 }
        return key
    }
}
