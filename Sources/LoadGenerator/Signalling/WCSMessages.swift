import FoundationEssentials

/// What a client of the Web SDK sends (wcs-signalling.md §1.2, §2.1, §3.2, §3.3, §3.6).
enum WCSRequestText {
    private struct Envelope<Payload: Encodable>: Encodable {
        let message: String
        let data: [Payload]
    }

    private struct Connection: Encodable {
        let appKey: String
        let mediaProviders = ["WebRTC", "WSPlayer"]
        let clientVersion = "2.0"
        let clientOSVersion = "5.0 (X11)"
        let clientBrowserVersion = "weir bench"
        let msePacketizationVersion = 2
        let custom: [String: String]?
    }

    private struct Stream: Encodable {
        let mediaSessionId: String
        let name: String
        let published: Bool
        let hasVideo: Bool
        let hasAudio: Bool
        let status = "PENDING"
        let record = false
        let mediaProvider = "WebRTC"
        var sdp: String?
        var bitrate: Int?
        var minBitrate: Int?
        var maxBitrate: Int?
        var width: Int?
        var height: Int?
        var quality: Int?
    }

    static let pong = #"{"message":"pong","data":[null]}"#

    static func connection(appKey: String, custom: [String: String]?) -> String {
        text("connection", Connection(appKey: appKey, custom: custom))
    }

    static func start(id: String, name: String, published: Bool, offer: String) -> String {
        var stream = stream(id: id, name: name, published: published, offer: offer)
        stream.sdp = offer
        (stream.bitrate, stream.minBitrate, stream.maxBitrate) = (0, 0, 0)
        if !published { (stream.width, stream.height, stream.quality) = (0, 0, 0) }
        return text(published ? "publishStream" : "playStream", stream)
    }

    static func stop(id: String, name: String, published: Bool, offer: String) -> String {
        text(
            published ? "unPublishStream" : "stopStream",
            stream(id: id, name: name, published: published, offer: offer))
    }

    private static func stream(id: String, name: String, published: Bool, offer: String) -> Stream {
        Stream(
            mediaSessionId: id, name: name, published: published, hasVideo: offer.contains("m=video"),
            hasAudio: offer.contains("m=audio"))
    }

    private static func text(_ message: String, _ payload: some Encodable) -> String {
        do {
            return String(
                decoding: try JSONEncoder().encode(Envelope(message: message, data: [payload])), as: UTF8.self)
        } catch {
            preconditionFailure("strings, numbers and booleans can always be encoded: \(error)")
        }
    }
}

/// What the server says, as far as the life of one stream depends on it (wcs-signalling.md §1.6).
enum WCSServerMessage: Decodable, Equatable {
    case ping
    case userData
    case remoteSDP(id: String, sdp: String)
    case status(id: String, status: String, info: String?)
    case fail(status: String?, info: String?)
    case other(String)

    private enum Key: CodingKey { case message, data }

    private struct Status: Decodable {
        var mediaSessionId: String?
        var id: String?
        var status: String?
        var info: String?
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        let message = try container.decode(String.self, forKey: .message)
        switch message {
        case "ping": self = .ping
        case "getUserData": self = .userData
        case "setRemoteSDP":
            var data = try container.nestedUnkeyedContainer(forKey: .data)
            self = .remoteSDP(id: try data.decode(String.self), sdp: try data.decode(String.self))
        case "notifyStreamStatusEvent":
            var data = try container.nestedUnkeyedContainer(forKey: .data)
            let status = try data.decode(Status.self)
            self = .status(id: status.mediaSessionId ?? "", status: status.status ?? "", info: status.info)
        case "fail":
            var data = try container.nestedUnkeyedContainer(forKey: .data)
            let status = try data.decode(Status.self)
            self = .fail(status: status.status, info: status.info)
        default: self = .other(message)
        }
    }
}
