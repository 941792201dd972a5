import ControlPlane
import FoundationEssentials
import WeirJSON

/// The stream object of the original (reference part 4).
enum StreamObject {
    static let schema = "Stream"

    private struct Property: Sendable {
        let field: RESTField
        let value: @Sendable (StreamReport) -> JSONValue?

        init(
            _ name: String, _ kind: RESTField.Kind, _ about: String, isAlwaysThere: Bool = true,
            _ value: @escaping @Sendable (StreamReport) -> JSONValue?
        ) {
            field = RESTField(name, kind, required: isAlwaysThere, about)
            self.value = value
        }
    }

    private static let properties: [Property] = [
        Property("appKey", .text, "key of the application") { .string($0.session.appKey) },
        Property("sessionId", .text, "session of the client") { .string($0.session.id) },
        Property("mediaSessionId", .text, "unique id of the stream") { .string($0.state.mediaSessionId) },
        Property("name", .text, "name under which it is published; of a URL without its user info") {
            .string(StreamName.shown($0.state.name))
        },
        Property("published", .flag, "true of a publisher, false of a player") { .bool($0.state.published) },
        Property("mediaType", .text, "publish or play") { .string($0.state.published ? "publish" : "play") },
        Property("status", .text, "PENDING, PUBLISHING, PLAYING or PAUSED") { .string($0.state.status.rawValue) },
        Property("hasVideo", .flag, "whether there are pictures") { .bool($0.state.hasVideo) },
        Property("hasAudio", .flag, "whether there is sound") { .bool($0.state.hasAudio) },
        Property("videoCodec", .text, "as in SDP, for example VP8", isAlwaysThere: false) {
            $0.videoCodec.map(JSONValue.string)
        },
        Property("audioCodec", .text, "as in SDP, for example opus", isAlwaysThere: false) {
            $0.audioCodec.map(JSONValue.string)
        },
        Property("reordered", .flag, "whether the published pictures are out of order (B frames)") {
            .bool($0.isReordered)
        },
        Property("sdp", .text, "offer of the client") { .string($0.state.sdp ?? "") },
        Property("record", .flag, "whether it is being recorded") { .bool($0.state.record) },
        Property("width", .number, "pixels of the published picture, 0: not known") { .integer($0.state.width) },
        Property("height", .number, "pixels of the published picture, 0: not known") { .integer($0.state.height) },
        Property("bitrate", .number, "kbit/s that the client asked for, 0: none") { .integer($0.state.bitrate) },
        Property("minBitrate", .number, "kbit/s that the client asked for, 0: none") { .integer($0.minBitrate) },
        Property("maxBitrate", .number, "kbit/s that the client asked for, 0: none") { .integer($0.maxBitrate) },
        Property("quality", .number, "0 to 100 as the client asked for, 0: none") { .integer($0.state.quality) },
        Property("transport", .text, "UDP or TCP, as the client asked for") {
            .string($0.transport == .tcp ? "TCP" : "UDP")
        },
        Property("cvoExtension", .flag, "whether the client asked for video-orientation") { .bool($0.cvoExtension) },
        Property("createDate", .number, "when it was asked for, milliseconds since 1970") {
            .integer(milliseconds(since1970: $0.age))
        },
        Property("mediaProvider", .text, "WebRTC, or RTSP of a publisher by RTSP") { .string($0.state.mediaProvider) },
        Property("audioState", .object, "{muted}: whether the publisher has muted its sound") {
            .object([JSONMember("muted", .bool($0.state.audioMuted))])
        },
        Property("videoState", .object, "{muted}: whether the publisher has muted its picture") {
            .object([JSONMember("muted", .bool($0.state.videoMuted))])
        },
        Property("custom", .any, "what the client gave with its request", isAlwaysThere: false) {
            $0.state.custom.map { .verbatim($0.text) }
        },
        Property("metrics", .object, "counters and rates, with display: [\"metrics\"]", isAlwaysThere: false, metrics),
    ]

    static let fields = [RESTField("nodeId", .text, required: true, "this server")] + properties.map(\.field)
    /// What streams can be looked for by.
    static let filterFields = fields.filter(\.isScalar).map(\.optional)

    static func make(_ report: StreamReport, nodeId: String) -> JSONValue {
        let members = properties.compactMap { property in
            property.value(report).map { JSONMember(property.field.name, $0) }
        }
        return .object([JSONMember("nodeId", .string(nodeId))] + members)
    }

    private static func milliseconds(since1970 age: Duration) -> Int64 {
        Int64((Date().timeIntervalSince1970 - age / .seconds(1)) * 1_000)
    }

    /// Names of the original, for what is counted here. Rates are bits per second.
    private static func metrics(_ report: StreamReport) -> JSONValue? {
        guard let counters = report.statistics else { return nil }
        var members = [
            JSONMember("VIDEO_NACK", .integer(counters.nacks)), JSONMember("VIDEO_PLI", .integer(counters.plis)),
            JSONMember("PACKETS_LOST", .integer(counters.packetsLost)),
            JSONMember("PACKETS_RETRANSMITTED", .integer(counters.packetsRetransmitted)),
            JSONMember("PACKETS_RECEIVED", .integer(counters.packetsReceived)),
            JSONMember("BYTES_RECEIVED", .integer(counters.bytesReceived)),
            JSONMember("PACKETS_SENT", .integer(counters.packetsSent)),
            JSONMember("BYTES_SENT", .integer(counters.bytesSent)),
            JSONMember("JITTER_MS", .number(text(counters.jitterMs))),
            JSONMember("RTT_MS", .number(text(counters.roundTripMs))),
            JSONMember("VIDEO_WIDTH", .integer(report.state.width)),
            JSONMember("VIDEO_HEIGHT", .integer(report.state.height)),
        ]
        if let rate = report.rate {
            members.append(JSONMember("VIDEO_RATE", .integer(rate.video)))
            members.append(JSONMember("AUDIO_RATE", .integer(max(0, rate.total - rate.video))))
        }
        return .object(members)
    }

    /// JSON has no numbers that are none.
    private static func text(_ value: Double) -> String { value.isFinite ? "\(value)" : "0" }
}
