import ControlPlane
import NIOCore
import Synchronization

/// Every open socket of the WebSocket listeners; their number is that of the budget they share with other listeners.
final class ConnectionRegistry: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var connections: [ObjectIdentifier: WCSConnection] = [:]
        var isDraining = false
    }

    private let budget: ConnectionBudget
    private let state = Mutex(State())

    init(budget: ConnectionBudget) { self.budget = budget }

    /// Takes the channel in, or says why not. `remove` must follow when it closes.
    /// - Parameter address: a key of the budget.
    func add(_ channel: any Channel, from address: String) -> RejectReason? {
        switch budget.take(address) {
        case .tooManyConnections: return .tooManyConnections
        case .tooManyFromAddress: return .tooManyFromAddress
        case nil:
            state.withLock { $0.channels[ObjectIdentifier(channel)] = channel }
            return nil
        }
    }

    func remove(_ channel: any Channel, from address: String) {
        guard state.withLock({ $0.channels.removeValue(forKey: ObjectIdentifier(channel)) }) != nil else { return }
        budget.giveBack(address)
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
}
