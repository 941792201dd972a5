import ControlPlane
import Synchronization
import WeirJSON

/// A session of `roomApp`. Everybody may connect, publish and play; commands come as data.
final class RoomMember: SessionHooks {
    private struct State {
        var client: (any HookedClient)?
        /// Accepted commands whose `DataStatusEvent` has not gone out yet: what they do comes after it.
        var accepted: [String: RoomCommand] = [:]
        /// Live streams by room, in the order in which they were published.
        var streams: [String: [String]] = [:]
    }

    /// Empty if the client gave none; then it can join nothing.
    let login: String
    private let application: RoomApplication
    private let state = Mutex(State())

    init(_ application: RoomApplication, login: String) {
        self.application = application
        self.login = login
    }

    // MARK: SessionHooks

    func attach(_ client: any HookedClient) { state.withLock { $0.client = client } }

    func ask(_ call: DirectCall) -> HookAnswer {
        guard case .data(let operationId, let payload) = call else { return HookAnswer(.allow) }
        guard let command = RoomCommand(payload) else { return refuse("Unknown command") }
        if let refusal = application.check(command, of: self) { return refuse(refusal) }
        state.withLock { $0.accepted[operationId] = command }
        return HookAnswer(.allow)
    }

    private func refuse(_ reason: String) -> HookAnswer {
        HookAnswer(.refuse(code: StatusCode.badRequest.rawValue, reason: reason))
    }

    func tell(_ event: HookEvent, after: Gate?) -> Gate? {
        switch event {
        case .dataStatus(let operationId, let accepted, _):
            if let command = state.withLock({ $0.accepted.removeValue(forKey: operationId) }), accepted {
                application.perform(command, of: self)
            }
        case .streamStatus(let status) where status.published:
            let custom = status.custom.flatMap { try? JSONParser.parse(Array($0.text.utf8)) }
            application.streamChanged(status, room: custom?["name"]?.text, of: self)
        case .disconnected: application.disconnected(self)
        default: break
        }
        return nil
    }

    func clientExclude(_ method: HookMethod) -> Set<String> { [] }

    func finish() {
        state.withLock { state in
            state.client = nil
            state.accepted = [:]
        }
    }

    // MARK: For the application, which calls under its lock

    func deliver(operationId: String, _ payload: JSONText) {
        state.withLock { $0.client }?.deliverData(operationId: operationId, payload: payload)
    }

    func streams(in room: String) -> [String] { state.withLock { $0.streams[room] ?? [] } }

    /// False if it was there.
    func addStream(_ name: String, in room: String) -> Bool {
        state.withLock { state in
            guard state.streams[room]?.contains(name) != true else { return false }
            state.streams[room, default: []].append(name)
            return true
        }
    }

    /// False if it was not there.
    func removeStream(_ name: String, in room: String) -> Bool {
        state.withLock { state in
            guard let index = state.streams[room]?.firstIndex(of: name) else { return false }
            state.streams[room]?.remove(at: index)
            return true
        }
    }

    func removeStreams(in room: String) -> [String] { state.withLock { $0.streams.removeValue(forKey: room) ?? [] } }
}
