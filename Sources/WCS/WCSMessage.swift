import WeirJSON

/// A message to the client, as section 1.6 lists them. `data` is always an array, also where there is no argument: the
/// SDK reads `data[0]` before it looks at the name.
package enum WCSMessage: Sendable {
    case ping
    case pong
    /// The session is accepted. `members`: the connection object with `authToken` and `status`.
    case getUserData(members: [JSONMember])
    case getVersion(String)
    case setRemoteSDP(id: String, sdp: String, isInitiator: Bool)
    case notifyStreamStatusEvent(WCSStreamStatus)
    case notifyStreamEvent(WCSStreamEvent)
    /// `info` only if not available.
    case availableStream(id: String, available: Bool, info: String?)
    case videoRate(mediaSessionId: String, published: Bool, bitsPerSecond: Int)
    /// `apiMethod`: the documented event the request would have led to (section 9). `id`: media session or call.
    case fail(info: String, apiMethod: String?, id: String?)
    case dataStatusEvent(operationId: String, accepted: Bool, info: String?)
    /// Data of the backend or of an application.
    case onDataEvent(operationId: String, payload: JSONValue)
    /// `file`: where a session was logged that is no longer debugged.
    case notifySessionDebugEvent(started: Bool, file: String?)
    /// The name under which a bug report was stored; a bare string (section 6.1).
    case notifyBugReport(String)
    /// The end of a call, the only one the SDK's pages wait for.
    case finish(callId: String, incoming: Bool, failure: String?, caller: String, callee: String)
    /// A message without members that the backend does not want the client to see.
    indirect case excluding(Set<String>, WCSMessage)

    /// The SDK finds the target of a message by these and throws or loses it without; they are sent whatever the
    /// backend says.
    private static let needed: Set<String> = ["mediaSessionId", "id", "status", "operationId", "type"]

    /// The text of the frame.
    package var text: String { String(decoding: bytes, as: UTF8.self) }

    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        JSONValue.object([JSONMember("message", .string(name)), JSONMember("data", .array(arguments))])
            .write(to: &bytes)
        return bytes
    }

    package var name: String {
        switch self {
        case .ping: "ping"
        case .pong: "pong"
        case .getUserData: "getUserData"
        case .getVersion: "getVersion"
        case .setRemoteSDP: "setRemoteSDP"
        case .notifyStreamStatusEvent: "notifyStreamStatusEvent"
        case .notifyStreamEvent: "notifyStreamEvent"
        case .availableStream: "availableStream"
        case .videoRate(_, let published, _): published ? "inboundVideoRate" : "outboundVideoRate"
        case .fail: "fail"
        case .dataStatusEvent: "DataStatusEvent"
        case .onDataEvent: "OnDataEvent"
        case .notifySessionDebugEvent: "notifySessionDebugEvent"
        case .notifyBugReport: "notifyBugReport"
        case .finish: "finish"
        case .excluding(_, let message): message.name
        }
    }

    private var arguments: [JSONValue] {
        switch self {
        case .ping, .pong: [.null]
        case .getUserData(let members): [.object(members)]
        case .getVersion(let text), .notifyBugReport(let text): [.string(text)]
        // The third argument always goes: the Android client crashes without it.
        case .setRemoteSDP(let id, let sdp, let isInitiator): [.string(id), .string(sdp), .bool(isInitiator)]
        case .notifyStreamStatusEvent(let status): [status.object]
        case .notifyStreamEvent(let event):
            [
                makeObject { members in
                    members.add("mediaSessionId", .string(event.mediaSessionId))
                    members.add("type", .string(event.type))
                    members.add("payload", event.payload)
                }
            ]
        // `id`, not `mediaSessionId`, and a text, not a flag: the SDK takes nothing else for yes.
        case .availableStream(let id, let available, let info):
            [
                makeObject { members in
                    members.add("id", .string(id))
                    members.add("status", .string(available ? "true" : "false"))
                    members.add("info", available ? nil : info.map(JSONValue.string))
                }
            ]
        case .videoRate(let mediaSessionId, _, let bitsPerSecond):
            [
                makeObject { members in
                    members.add("mediaSessionId", .string(mediaSessionId))
                    members.add("videoRate", .integer(bitsPerSecond))
                }
            ]
        case .fail(let info, let apiMethod, let id):
            [
                makeObject { members in
                    members.add("status", .string("FAILED"))
                    members.add("info", .string(info))
                    members.add("apiMethod", apiMethod.map(JSONValue.string))
                    members.add("id", id.map(JSONValue.string))
                }
            ]
        // The SDK throws on any other word than these two.
        case .dataStatusEvent(let operationId, let accepted, let info):
            [
                makeObject { members in
                    members.add("operationId", .string(operationId))
                    members.add("status", .string(accepted ? "ACCEPTED" : "FAILED"))
                    members.add("info", info.map(JSONValue.string))
                }
            ]
        case .onDataEvent(let operationId, let payload):
            [.object([JSONMember("operationId", .string(operationId)), JSONMember("payload", payload)])]
        case .notifySessionDebugEvent(let started, let file):
            [
                makeObject { members in
                    members.add("status", .string(started ? "STARTED" : "STOPPED"))
                    members.add("file", file.map(JSONValue.string))
                }
            ]
        case .excluding(let names, let message):
            message.arguments.map { argument in
                guard case .object(let members) = argument else { return argument }
                return .object(members.filter { !names.contains($0.name) || Self.needed.contains($0.name) })
            }
        case .finish(let callId, let incoming, let failure, let caller, let callee):
            [
                makeObject { members in
                    members.add("callId", .string(callId))
                    members.add("incoming", .bool(incoming))
                    members.add("status", .string(failure == nil ? "FINISH" : "FAILED"))
                    members.add("info", .string(failure ?? "Normal call clearing"))
                    members.add("caller", .string(caller))
                    members.add("callee", .string(callee))
                }
            ]
        }
    }
}

/// The stream object of `notifyStreamStatusEvent` (section 3.5). It never has a member `available`, which would divert
/// it to another handler of the SDK.
package struct WCSStreamStatus: Sendable, Equatable {
    package var mediaSessionId: String
    package var name: String
    package var published: Bool
    package var status: String
    package var hasVideo: Bool?
    package var hasAudio: Bool?
    package var sdp: String?
    package var record: Bool?
    package var width: Int?
    package var height: Int?
    package var bitrate: Int?
    package var quality: Int?
    package var mediaProvider: String?
    package var info: String?
    package var recordName: String?
    package var custom: JSONValue?
    /// To players: whether the publisher has muted. The SDK forgets the state at every status without it.
    package var audioMuted: Bool?
    package var videoMuted: Bool?

    package init(mediaSessionId: String, name: String, published: Bool, status: String, info: String? = nil) {
        self.mediaSessionId = mediaSessionId
        self.name = name
        self.published = published
        self.status = status
        self.info = info
    }

    var object: JSONValue {
        func muted(_ state: Bool?) -> JSONValue? { state.map { .object([JSONMember("muted", .bool($0))]) } }
        return makeObject { members in
            members.add("mediaSessionId", .string(mediaSessionId))
            members.add("name", .string(name))
            members.add("published", .bool(published))
            members.add("hasVideo", hasVideo.map(JSONValue.bool))
            members.add("hasAudio", hasAudio.map(JSONValue.bool))
            members.add("status", .string(status))
            members.add("sdp", sdp.map(JSONValue.string))
            members.add("record", record.map(JSONValue.bool))
            members.add("width", width.map { .integer($0) })
            members.add("height", height.map { .integer($0) })
            members.add("bitrate", bitrate.map { .integer($0) })
            members.add("quality", quality.map { .integer($0) })
            members.add("mediaProvider", mediaProvider.map(JSONValue.string))
            members.add("info", info.map(JSONValue.string))
            members.add("recordName", recordName.map(JSONValue.string))
            members.add("custom", custom)
            members.add("audioState", muted(audioMuted))
            members.add("videoState", muted(videoMuted))
        }
    }
}

/// An object of the members that `build` adds.
private func makeObject(_ build: (inout [JSONMember]) -> Void) -> JSONValue {
    var members: [JSONMember] = []
    build(&members)
    return .object(members)
}

extension [JSONMember] {
    /// Undefined members are absent on this wire, never `null`.
    fileprivate mutating func add(_ name: String, _ value: JSONValue?) {
        guard let value else { return }
        append(JSONMember(name, value))
    }
}
