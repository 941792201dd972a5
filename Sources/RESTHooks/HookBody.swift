import ControlPlane
import WeirJSON

/// Fields of hooks beside the context triple (reference part 1.5). Only what exists is there: no member is `null`.
struct HookBody {
    private(set) var members: [JSONMember] = []

    mutating func add(_ name: String, _ text: String?) {
        if let text { members.append(JSONMember(name, .string(text))) }
    }

    mutating func add(_ name: String, _ flag: Bool) { members.append(JSONMember(name, .bool(flag))) }

    mutating func add(_ name: String, _ number: Int) { members.append(JSONMember(name, .integer(number))) }

    mutating func add(_ name: String, _ json: JSONText?) {
        if let json { members.append(JSONMember(name, .verbatim(json.text))) }
    }

    mutating func add(_ more: [JSONMember]) { members += more }

    // MARK: Streams

    /// `publishStream` and `playStream`.
    static func request(_ request: StreamRequest, published: Bool) -> [JSONMember] {
        var body = HookBody()
        body.add("name", request.name)
        body.add("mediaSessionId", request.mediaSessionId)
        body.add("published", published)
        body.add("hasVideo", request.hasVideo)
        body.add("hasAudio", request.hasAudio)
        body.add("status", "NEW")
        body.add("sdp", request.sdp)
        body.add("record", request.record)
        body.add("width", request.width)
        body.add("height", request.height)
        body.add("bitrate", request.bitrate)
        body.add("minBitrate", request.minBitrate)
        body.add("maxBitrate", request.maxBitrate)
        body.add("quality", request.quality)
        body.add("mediaProvider", request.mediaProvider ?? "WebRTC")
        body.add("rtmpUrl", request.rtmpUrl)
        body.add("custom", request.custom)
        return body.members
    }

    /// `StreamStatusEvent`, `unPublishStream`, `stopStream`, `pauseStream`.
    static func stream(_ event: StreamStatusEvent) -> [JSONMember] {
        var body = HookBody()
        body.add("name", event.name)
        body.add("mediaSessionId", event.mediaSessionId)
        body.add("published", event.published)
        body.add("hasVideo", event.hasVideo)
        body.add("hasAudio", event.hasAudio)
        body.add("status", event.status.rawValue)
        body.add("sdp", event.sdp)
        body.add("info", event.info)
        body.add("record", event.record)
        body.add("recordName", event.recordName)
        body.add("width", event.width)
        body.add("height", event.height)
        body.add("bitrate", event.bitrate)
        body.add("quality", event.quality)
        body.add("mediaProvider", event.mediaProvider)
        body.add("custom", event.custom)
        return body.members
    }

    /// `StreamKeepAliveEvent`.
    static func keepAlive(_ event: StreamStatusEvent) -> [JSONMember] {
        var body = HookBody()
        body.add("mediaSessionId", event.mediaSessionId)
        body.add("name", event.name)
        body.add("published", event.published)
        body.add("hasVideo", event.hasVideo)
        body.add("status", event.status.rawValue)
        body.add("info", event.info)
        body.add("mediaProvider", event.mediaProvider)
        body.add("record", event.record)
        body.add("custom", event.custom)
        return body.members
    }

    /// `playHLS` and `playRTSP`. The user agent goes under both names that the vendor's versions have.
    static func viewer(_ viewer: ViewerRequest) -> [JSONMember] {
        var body = HookBody()
        body.add("name", viewer.name)
        body.add("mediaSessionId", viewer.mediaSessionId)
        body.add("published", false)
        body.add("hasVideo", true)
        body.add("hasAudio", true)
        body.add("status", "NEW")
        body.add("mediaProvider", viewer.method == .playHLS ? "HLS" : "RTSP")
        body.add("token", viewer.token)
        body.add("rtspUrl", viewer.rtspUrl)
        if viewer.method == .playRTSP { body.add("User-Agent", viewer.userAgent) }
        body.add("userAgent", viewer.userAgent)
        body.add("custom", viewer.custom)
        return body.members
    }

    // MARK: Calls and events of a session

    static func call(_ call: DirectCall) -> [JSONMember] {
        var body = HookBody()
        switch call {
        case .publish(let request): return Self.request(request, published: true)
        case .play(let request): return Self.request(request, published: false)
        case .data(let operationId, let payload):
            body.add("operationId", operationId)
            body.add("payload", payload)
        case .snapshot(let mediaSessionId, let name):
            body.add("name", name)
            body.add("mediaSessionId", mediaSessionId)
        case .bugReport(let text, let type):
            body.add("text", text)
            body.add("type", type)
        }
        return body.members
    }

    /// - Parameter session: what is known of the session, for `ConnectionStatusEvent`.
    static func event(_ event: HookEvent, session: [JSONMember]) -> [JSONMember] {
        var body = HookBody()
        switch event {
        case .established(let authToken):
            body.add(session)
            body.add("status", "ESTABLISHED")
            body.add("authToken", authToken)
        case .connectionFailed(let info):
            body.add("status", "FAILED")
            body.add("info", info)
        case .disconnected(let reason):
            body.add(session)
            body.add("status", "DISCONNECTED")
            body.add("info", reason.description)
        case .streamStatus(let stream), .stop(let stream), .pause(let stream): return Self.stream(stream)
        case .sentStreamEvent(let id, let type, let payload), .streamEvent(let id, let type, let payload),
            .recording(let id, let type, let payload):
            body.add("mediaSessionId", id)
            body.add("type", type)
            body.add("payload", payload)
        case .dataStatus(let operationId, let accepted, let info):
            body.add("operationId", operationId)
            body.add("status", accepted ? "ACCEPTED" : "FAILED")
            body.add("info", info)
        case .bugReportStatus(let fileName, let text, let type):
            body.add("filename", fileName)
            body.add("text", text)
            body.add("type", type)
        case .logs(let text): body.add("logs", text)
        case .sessionDebug(let command): body.add("command", command)
        case .sessionDebugStatus(let started, let file):
            body.add("status", started ? "STARTED" : "STOPPED")
            body.add("file", file)
        }
        return body.members
    }

    /// Members of the connection object that go with `ConnectionStatusEvent`: never the client's password.
    static func session(_ profile: [JSONMember]) -> [JSONMember] {
        let names: Set<String> = [
            "mediaProviders", "custom", "sipRegisterRequired", "sipLogin", "sipAuthenticationName", "sipVisibleName",
            "sipDomain", "sipOutboundProxy", "sipProxy", "sipPort", "sipContactParams",
        ]
        return profile.filter { names.contains($0.name) }
    }
}

extension HookEvent {
    /// What is given up first when the backend is slow.
    var isLow: Bool {
        switch self {
        case .streamEvent, .logs: true
        default: false
        }
    }
}
