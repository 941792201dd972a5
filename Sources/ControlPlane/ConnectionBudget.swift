import Synchronization

/// How many TCP connections may be open, in all and from one address. Every listener that is given the same budget
/// draws on it, so that nobody gets more by spreading over ports.
package final class ConnectionBudget: Sendable {
    package enum Refusal: String, Sendable, CaseIterable {
        case tooManyConnections = "too_many_connections"
        case tooManyFromAddress = "too_many_from_address"
    }

    private struct State {
        var limit: Int
        var limitPerAddress: Int
        var open = 0
        var perAddress: [String: Int] = [:]
    }

    private let proxies: TrustedProxies
    private let state: Mutex<State>
    private static let proxyKey = "trusted proxy"

    /// - Parameter proxies: many clients come through one of these; the limit per address is not for them. Sessions
    ///   are limited by the clients' own addresses.
    package init(limit: Int, limitPerAddress: Int, proxies: TrustedProxies = TrustedProxies()) {
        state = Mutex(State(limit: limit, limitPerAddress: limitPerAddress))
        self.proxies = proxies
    }

    /// What the limit per address counts: an IPv4 address, or the /64 of an IPv6 address.
    /// - Parameter remote: address with or without port; nil if the peer is gone already.
    package func key(of remote: String?) -> String {
        guard let remote else { return "unknown" }
        return proxies.contains(remote) ? Self.proxyKey : AddressKey.make(remote)
    }

    /// Takes one connection in, or says why not. `giveBack` must follow once for each that was taken in.
    /// - Parameter key: as `key(of:)` makes it.
    package func take(_ key: String) -> Refusal? {
        state.withLock { state in
            guard state.open < state.limit else { return .tooManyConnections }
            guard key == Self.proxyKey || state.perAddress[key, default: 0] < state.limitPerAddress else {
                return .tooManyFromAddress
            }
            state.open += 1
            state.perAddress[key, default: 0] += 1
            return nil
        }
    }

    /// From the next connection on. What is open stays.
    package func setLimits(_ limit: Int, perAddress: Int) {
        state.withLock { state in
            state.limit = limit
            state.limitPerAddress = perAddress
        }
    }

    package func giveBack(_ key: String) {
        state.withLock { state in
            guard let count = state.perAddress[key] else { return }
            state.open -= 1
            state.perAddress[key] = count > 1 ? count - 1 : nil
        }
    }

    /// Connections that are open now.
    package var open: Int { state.withLock { $0.open } }
}
