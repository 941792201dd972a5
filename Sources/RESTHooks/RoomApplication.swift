import ControlPlane
import Synchronization
import WeirJSON

/// `roomApp`: rooms of the Web SDK's room API (signalling 5.2), in this process.
///
/// One lock orders everything: each member hears of the others in the order in which it happened, and of nobody before
/// it knows them. What goes to members goes into their event queues and never waits.
final class RoomApplication: Sendable {
    /// Members of one room. Each joins and leaves by messages to all others.
    static let maxMembers = 1_000
    /// Rooms of one session at the same time.
    static let maxRoomsPerMember = 8
    static let maxNameBytes = 255
    static let maxTextBytes = 64 << 10

    private struct Room {
        /// In the order in which they came.
        var members: [RoomMember] = []
    }

    private struct State {
        var rooms: [String: Room] = [:]
        var lastOperation: UInt64 = 0
    }

    private let state = Mutex(State())

    func member(custom: JSONText?) -> RoomMember {
        let custom = custom.flatMap { try? JSONParser.parse(Array($0.text.utf8)) }
        return RoomMember(self, login: custom?["login"]?.text ?? "")
    }

    // MARK: Commands

    /// Whether a command can be served; the text of the refusal, or nil.
    func check(_ command: RoomCommand, of member: RoomMember) -> String? {
        state.withLock { state in
            if member.login.isEmpty { return "Login is missing" }
            switch command {
            case .join(let name):
                guard !name.isEmpty, name.utf8.count <= Self.maxNameBytes else { return "Bad room name" }
                let others = state.rooms[name]?.members.filter { $0.login != member.login } ?? []
                guard others.count < Self.maxMembers else { return "The room is full" }
                let rooms = state.rooms.values.count { $0.members.contains { $0 === member } }
                guard rooms < Self.maxRoomsPerMember || isIn(name, member, state) else { return "Too many rooms" }
            case .leave(let name):
                guard isIn(name, member, state) else { return "Not in the room" }
            case .message(let name, let to, let text):
                guard isIn(name, member, state) else { return "Not in the room" }
                guard text.utf8.count <= Self.maxTextBytes else { return "The message is too long" }
                guard state.rooms[name]?.members.contains(where: { $0.login == to }) == true else {
                    return "No such participant"
                }
            }
            return nil
        }
    }

    /// Serves a command that was accepted. What has changed meanwhile is as if it had changed before.
    func perform(_ command: RoomCommand, of member: RoomMember) {
        state.withLock { state in
            switch command {
            case .join(let name): join(name, member, &state)
            case .leave(let name): leave(name, member, &state)
            case .message(let name, let to, let text):
                guard isIn(name, member, state) else { return }
                let info = JSONValue.object([
                    JSONMember("from", .string(member.login)), JSONMember("text", .string(text)),
                ])
                for addressee in state.rooms[name]?.members ?? [] where addressee.login == to {
                    tell(addressee, name, "MESSAGE", info, &state)
                }
            }
        }
    }

    private func isIn(_ name: String, _ member: RoomMember, _ state: State) -> Bool {
        state.rooms[name]?.members.contains { $0 === member } == true
    }

    private func join(_ name: String, _ member: RoomMember, _ state: inout State) {
        // Whoever comes again under a login takes its place: the connection before may be lost without anyone knowing.
        for old in state.rooms[name]?.members ?? [] where old.login == member.login { leave(name, old, &state) }
        let others = state.rooms[name]?.members ?? []
        let known = others.flatMap { other -> [JSONValue] in
            let streams = other.streams(in: name)
            return streams.isEmpty ? [.string(other.login)] : streams.map { Self.stream(other.login, $0) }
        }
        tell(member, name, "STATE", .array(known), &state)
        for other in others { tell(other, name, "JOINED", .string(member.login), &state) }
        state.rooms[name, default: Room()].members.append(member)
    }

    private func leave(_ name: String, _ member: RoomMember, _ state: inout State) {
        guard isIn(name, member, state) else { return }
        state.rooms[name]?.members.removeAll { $0 === member }
        let others = state.rooms[name]?.members ?? []
        if others.isEmpty { state.rooms[name] = nil }
        for stream in member.removeStreams(in: name) {
            for other in others { tell(other, name, "UNPUBLISHED", Self.stream(member.login, stream), &state) }
        }
        for other in others { tell(other, name, "LEFT", .string(member.login), &state) }
    }

    // MARK: Streams and ends

    /// A published stream of a member became live or ended.
    func streamChanged(_ event: StreamStatusEvent, room: String?, of member: RoomMember) {
        state.withLock { state in
            let rooms = state.rooms.filter { $0.value.members.contains { $0 === member } }.map(\.key)
            let named = room.flatMap { rooms.contains($0) ? $0 : nil }
            guard let name = named ?? rooms.first(where: { event.name.hasPrefix("\($0)-\(member.login)-") }) else {
                return
            }
            let what: String
            switch event.status {
            case .publishing:
                guard member.addStream(event.name, in: name) else { return }
                what = "PUBLISHED"
            case .unpublished, .failed, .stopped:
                guard member.removeStream(event.name, in: name) else { return }
                what = event.status == .failed ? "FAILED" : "UNPUBLISHED"
            case .pending, .playing, .paused: return
            }
            for other in state.rooms[name]?.members ?? [] where other !== member {
                tell(other, name, what, Self.stream(member.login, event.name), &state)
            }
        }
    }

    /// The member's session has ended.
    func disconnected(_ member: RoomMember) {
        state.withLock { state in
            for name in state.rooms.keys.sorted() { leave(name, member, &state) }
        }
    }

    /// Rooms with somebody in them.
    var count: Int { state.withLock { $0.rooms.count } }

    // MARK: Messages

    private static func stream(_ login: String, _ name: String) -> JSONValue {
        .object([JSONMember("login", .string(login)), JSONMember("name", .string(name))])
    }

    private func tell(
        _ member: RoomMember, _ room: String, _ name: String, _ info: JSONValue, _ state: inout State
    ) {
        state.lastOperation += 1
        let payload = JSONValue.object([
            JSONMember("roomName", .string(room)), JSONMember("name", .string(name)), JSONMember("info", info),
        ])
        member.deliver(operationId: "room-\(state.lastOperation)", JSONText(payload.serialized))
    }
}

/// What a client of the room API sends as data.
enum RoomCommand: Hashable, Sendable {
    case join(room: String)
    case leave(room: String)
    case message(room: String, to: String, text: String)

    init?(_ payload: JSONText) {
        guard let value = try? JSONParser.parse(Array(payload.text.utf8)), let options = value["options"] else {
            return nil
        }
        switch value["command"]?.text {
        case "join": self = .join(room: options["name"]?.text ?? "")
        case "leave": self = .leave(room: options["name"]?.text ?? "")
        case "sendMessage":
            self = .message(
                room: options["roomConfig"]?["name"]?.text ?? "", to: options["to"]?.text ?? "",
                text: options["text"]?.text ?? "")
        default: return nil
        }
    }
}
