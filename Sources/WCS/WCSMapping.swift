import ControlPlane
import WeirJSON

// Between the messages of the wire and the types of the control plane.

extension StreamRequest {
    init(_ stream: WCSStreamRequest) {
        let transport: MediaOptions.Transport =
            switch stream.transport.lowercased() {
            case "tcp": .tcp
            case "udp": .udp
            default: .any
            }
        self.init(
            mediaSessionId: stream.mediaSessionId, name: stream.name, sdp: stream.sdp, record: stream.record,
            width: stream.width, height: stream.height, bitrate: stream.bitrate, quality: stream.quality,
            minBitrate: stream.minBitrate, maxBitrate: stream.maxBitrate, transport: transport,
            cvoExtension: stream.cvoExtension, custom: stream.custom.map { JSONText($0.serialized) },
            rtmpUrl: stream.rtmpUrl.isEmpty ? nil : stream.rtmpUrl,
            mediaProvider: stream.mediaProvider.isEmpty ? nil : stream.mediaProvider,
            hasAudio: stream.hasAudio, hasVideo: stream.hasVideo)
    }
}

extension WCSMessage {
    /// Nil for the event that is no message but the end of the connection.
    init?(_ event: SessionEvent) {
        switch event {
        case .remoteSDP(let id, let sdp): self = .setRemoteSDP(id: id, sdp: sdp, isInitiator: true)
        case .status(let status): self = .notifyStreamStatusEvent(WCSStreamStatus(status))
        case .streamEvent(let id, let type, let payload):
            self = .notifyStreamEvent(
                WCSStreamEvent(mediaSessionId: id, type: type, payload: payload.map { .verbatim($0.text) }))
        case .data(let operationId, let payload):
            self = .onDataEvent(operationId: operationId, payload: .verbatim(payload.text))
        case .dataStatus(let operationId, let accepted, let info):
            self = .dataStatusEvent(operationId: operationId, accepted: accepted, info: info)
        case .bugReport(let fileName): self = .notifyBugReport(fileName)
        case .debug(let started, let file): self = .notifySessionDebugEvent(started: started, file: file)
        case .error(let info): self = .fail(info: info, apiMethod: nil, id: nil)
        case .availability(let id, let available, let info):
            self = .availableStream(
                id: id, available: available, info: info ?? StatusInfo.streamNotFound.rawValue)
        case .videoRate(let id, let published, let bitsPerSecond):
            self = .videoRate(mediaSessionId: id, published: published, bitsPerSecond: bitsPerSecond)
        case .closing: return nil
        }
    }
}

extension SessionEvent {
    /// The method by whose `clientExclude` the message goes.
    var method: HookMethod? {
        switch self {
        case .status: .streamStatusEvent
        case .streamEvent: .streamEvent
        case .data: .onDataEvent
        case .dataStatus: .dataStatusEvent
        case .bugReport: .bugReportStatusEvent
        case .debug: .sessionDebugStatusEvent
        case .error: .errorEvent
        case .remoteSDP, .availability, .videoRate, .closing: nil
        }
    }
}

extension WCSStreamStatus {
    /// Without the client's own offer, which nobody reads and which would be most of the message.
    init(_ event: StreamStatusEvent) {
        self.init(
            mediaSessionId: event.mediaSessionId, name: event.name, published: event.published,
            status: event.status.rawValue, info: event.info)
        hasVideo = event.hasVideo
        hasAudio = event.hasAudio
        record = event.record
        recordName = event.recordName
        width = event.width
        height = event.height
        bitrate = event.bitrate
        quality = event.quality
        mediaProvider = event.mediaProvider
        custom = event.custom.map { .verbatim($0.text) }
        if !event.published {
            audioMuted = event.audioMuted
            videoMuted = event.videoMuted
        }
    }
}

extension WCSConnectionRequest {
    /// What the client said when it first came, with what the backend changed in it.
    init?(of session: ClientSession) {
        guard let profile = session.profile, let value = try? JSONParser.parse(Array(profile.text.utf8))
        else { return nil }
        self.init(value)
    }

    /// The object of `getUserData` (section 2.2): what the client sent, without its password, without what would make
    /// the SDK send metrics and what the backend excludes, and with what the server decided.
    package func userData(authToken: String, appKey: String, excluding: Set<String> = []) -> [JSONMember] {
        let decided: [JSONMember] = [
            JSONMember("useWsTunnel", .bool(false)),
            JSONMember("useWsTunnelPacketization2", .bool(false)),
            JSONMember("useBase64BinaryEncoding", .bool(false)),
            JSONMember("authToken", .string(authToken)),
            JSONMember("status", .string("ESTABLISHED")),
        ]
        let withheld = ["sipPassword", "webRTCMetricsServerDescription", "appKey"] + decided.map(\.name)
        return [JSONMember("appKey", .string(appKey))]
            + object.filter { !withheld.contains($0.name) && !excluding.contains($0.name) }
            + decided
    }
}

/// What is asked for and not to be had here. A page must get an answer to each, or it waits for ever.
enum WCSRefusal {
    static func messages(for request: WCSRequest) -> [WCSMessage] {
        switch request {
        case .call(let callId, let incoming, let caller, let callee):
            let info = "Failed by session creation"
            return [
                .fail(info: info, apiMethod: "CallStatusEvent", id: callId),
                .finish(callId: callId, incoming: incoming, failure: info, caller: caller, callee: callee),
            ]
        case .hangup(let callId):
            return [.finish(callId: callId, incoming: false, failure: nil, caller: "", callee: "")]
        case .legacySIP(let message, let id):
            let apiMethod =
                switch message {
                case "sendMessage": "MessageStatusEvent"
                case "subscribe": "SubscriptionStatusEvent"
                default: "XcapStatusEvent"
                }
            return [.fail(info: "SIP is not supported", apiMethod: apiMethod, id: id.isEmpty ? nil : id)]
        default: return []
        }
    }
}
