import NIOCore
import Synchronization

/// Every open socket, counted in all and per address.
final class ConnectionRegistry: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var perAddress: [String: Int] = [:]
        var connections: [ObjectIdentifier: WCSConnection] = [:]
    }

    private let maxConnections: Int
    private let maxPerAddress: Int
    private let state = Mutex(State())

    init(maxConnections: Int, maxPerAddress: Int) {
        self.maxConnections = maxConnections
        self.maxPerAddress = maxPerAddress
    }

    /// Takes the channel in, or says why not. `remove` must follow when it closes.
    func add(_ channel: any Channel, from address: String) -> RejectReason? {
        state.withLock { state in
            guard state.channels.count < maxConnections else { return .tooManyConnections }
            guard state.perAddress[address, default: 0] < maxPerAddress else { return .tooManyFromAddress }
            state.channels[ObjectIdentifier(channel)] = channel
            state.perAddress[address, default: 0] += 1
            return nil
        }
    }

    func remove(_ channel: any Channel, from address: String) {
        state.withLock { state in
            guard state.channels.removeValue(forKey: ObjectIdentifier(channel)) != nil else { return }
            let left = state.perAddress[address, default: 1] - 1
            state.perAddress[address] = left > 0 ? left : nil
        }
    }

    /// An upgraded connection, from now until its session has ended.
    func begin(_ connection: WCSConnection) {
        state.withLock { $0.connections[ObjectIdentifier(connection)] = connection }
    }

    func end(_ connection: WCSConnection) {
        state.withLock { $0.connections[ObjectIdentifier(connection)] = nil }
    }

    var connections: [WCSConnection] { state.withLock { Array($0.connections.values) } }
    var channels: [any Channel] { state.withLock { Array($0.channels.values) } }
    var isEmpty: Bool { state.withLock { $0.channels.isEmpty && $0.connections.isEmpty } }

    /// What the limit per address counts: an IPv4 address, or the /64 of an IPv6 address, which is what one customer of
    /// a provider has at the least.
    static func limitKey(of address: NIOCore.SocketAddress?) -> String {
        switch address {
        case .v4: return address?.ipAddress ?? "unknown"
        case .v6: return prefix64(address?.ipAddress ?? "unknown")
        case .unixDomainSocket, nil: return "unknown"
        }
    }

    /// The first four groups of an IPv6 address; the address itself if it is an IPv4-mapped one.
    static func prefix64(_ text: String) -> String {
        let address = String(text.prefix { $0 != "%" })
        if let mapped = address.range(of: "::ffff:", at: address.startIndex), address.contains(".") {
            return String(address[mapped.upperBound...])
        }
        let halves = address.split(separator: "::", maxSplits: 1, omittingEmptySubsequences: false)
        var groups = halves[0].split(separator: ":").map(String.init)
        if halves.count == 2 {
            let tail = halves[1].split(separator: ":").count
            groups += Array(repeating: "0", count: max(0, 8 - groups.count - tail))
            groups += halves[1].split(separator: ":").map(String.init)
        }
        return groups.prefix(4).joined(separator: ":") + "::/64"
    }
}

extension String {
    /// The range of `part` if the text has it at `start`.
    fileprivate func range(of part: String, at start: Index) -> Range<Index>? {
        guard self[start...].hasPrefix(part) else { return nil }
        return start..<index(start, offsetBy: part.count)
    }
}
