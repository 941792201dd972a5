import NIOCore
import Synchronization

/// Every open socket, counted in all and per address.
final class ConnectionRegistry: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var perAddress: [String: Int] = [:]
        var connections: [ObjectIdentifier: WCSConnection] = [:]
        var isDraining = false
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

    /// An upgraded connection, from now until its session has ended. True if the server is shutting down.
    func begin(_ connection: WCSConnection) -> Bool {
        state.withLock { state in
            state.connections[ObjectIdentifier(connection)] = connection
            return state.isDraining
        }
    }

    func end(_ connection: WCSConnection) {
        state.withLock { $0.connections[ObjectIdentifier(connection)] = nil }
    }

    /// The connections there are; those that begin from now on are told so.
    func drain() -> [WCSConnection] {
        state.withLock { state in
            state.isDraining = true
            return Array(state.connections.values)
        }
    }

    var channels: [any Channel] { state.withLock { Array($0.channels.values) } }
    var isEmpty: Bool { state.withLock { $0.channels.isEmpty && $0.connections.isEmpty } }

    /// What the limit per address counts: an IPv4 address, or the /64 of an IPv6 address, which is what one customer of
    /// a provider has at the least.
    static func limitKey(of address: NIOCore.SocketAddress?) -> String {
        guard case .v6(let v6)? = address else { return address?.ipAddress ?? "unknown" }
        let bytes = withUnsafeBytes(of: v6.address.sin6_addr) { Array($0) }
        let isMappedIPv4 = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xff && bytes[11] == 0xff
        if isMappedIPv4 { return bytes[12...].map { String($0) }.joined(separator: ".") }
        return bytes[..<8].map { String($0, radix: 16) }.joined(separator: ".") + "/64"
    }
}
