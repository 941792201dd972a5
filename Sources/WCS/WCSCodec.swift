import WeirJSON

/// Bytes of one text message to a request (section 1.2), and messages to bytes.
package enum WCSCodec {
    package enum Failure: Error, Equatable, Sendable {
        case json(JSONParser.Failure)
        /// JSON, but no object with a textual member `message`.
        case notAnEnvelope
    }

    /// Decodes `{"message": NAME, "data": [ARGUMENT, ...]}`. Throws only if there is no such envelope: what the
    /// arguments lack is filled in, and what is unknown in them is left alone.
    package static func decode(
        _ bytes: [UInt8], limits: JSONParser.Limits = JSONParser.Limits()
    ) throws(Failure) -> WCSRequest {
        let envelope: JSONValue
        do {
            envelope = try JSONParser.parse(bytes, limits: limits)
        } catch {
            throw .json(error)
        }
        guard case .string(let message)? = envelope["message"] else { throw .notAnEnvelope }
        return request(message, argument(of: envelope))
    }

    /// The first argument; other clients send it without the array, or leave `data` out.
    private static func argument(of envelope: JSONValue) -> JSONValue {
        switch envelope["data"] {
        case .array(let arguments)?: arguments.first ?? .null
        case let value?: value
        case nil: .null
        }
    }

    private static func request(_ message: String, _ argument: JSONValue) -> WCSRequest {
        func text(_ name: String) -> String { argument[name]?.text ?? "" }
        let mediaSessionId = text("mediaSessionId")
        switch message {
        case "connection": return .connection(WCSConnectionRequest(argument))
        case "ping": return .ping
        case "pong": return .pong
        case "publishStream": return .publishStream(streamRequest(argument))
        case "playStream": return .playStream(streamRequest(argument))
        case "unPublishStream": return .unPublishStream(mediaSessionId: mediaSessionId)
        case "stopStream": return .stopStream(mediaSessionId: mediaSessionId)
        case "pauseStream": return .pauseStream(mediaSessionId: mediaSessionId)
        case "availableStream": return .availableStream(mediaSessionId: mediaSessionId, name: text("name"))
        case "sendStreamEvent":
            return .sendStreamEvent(
                WCSStreamEvent(mediaSessionId: mediaSessionId, type: text("type"), payload: argument["payload"]))
        case "snapshot": return .snapshot(mediaSessionId: mediaSessionId, name: text("name"))
        case "sendData": return .sendData(operationId: text("operationId"), payload: argument["payload"] ?? .null)
        case "pushLogs": return .pushLogs(text("logs"))
        case "sessionDebug": return .sessionDebug(command: text("command"))
        case "submitBugReport": return .submitBugReport(text: text("text"), type: text("type"))
        case "call", "answer":
            return .call(
                callId: text("callId"), incoming: message == "answer", caller: text("caller"), callee: text("callee"))
        case "hangup": return .hangup(callId: text("callId"))
        case "sendMessage", "subscribe", "sendXcapRequest": return .legacySIP(message: message, id: text("id"))
        case "webRTCMetricsClientDescription":
            return .metricsDescription(mediaSessionId: mediaSessionId, headers: text("headers"))
        case "webRTCMetricsBatch":
            var samples: [String] = []
            if case .array? = argument["metrics"] { samples = argument["metrics"]?.texts ?? [] }
            return .metricsBatch(mediaSessionId: mediaSessionId, samples: samples)
        case "DataStatusEvent", "notificationResult",
            "sendIMDN", "hold", "unhold", "transfer", "sendDtmf", "requestStreamInfo", "updateCallToVideo",
            "changeVideoState", "subscribeRoom", "unsubscribeRoom", "sendRoomData", "connectMediaTransport":
            return .ignored(message: message)
        default: return .unknown(message: message)
        }
    }

    private static func streamRequest(_ argument: JSONValue) -> WCSStreamRequest {
        func text(_ name: String) -> String { argument[name]?.text ?? "" }
        func flag(_ name: String, else missing: Bool = false) -> Bool { argument[name]?.flag ?? missing }
        func amount(_ name: String) -> Int { max(0, argument[name]?.integer ?? 0) }
        return WCSStreamRequest(
            mediaSessionId: text("mediaSessionId"), name: text("name"), sdp: text("sdp"),
            hasAudio: flag("hasAudio", else: true), hasVideo: flag("hasVideo", else: true), record: flag("record"),
            mediaProvider: text("mediaProvider"), width: amount("width"), height: amount("height"),
            bitrate: amount("bitrate"), minBitrate: amount("minBitrate"), maxBitrate: amount("maxBitrate"),
            quality: amount("quality"), transport: text("transport"), cvoExtension: flag("cvoExtension"),
            rtmpUrl: text("rtmpUrl"), custom: argument["custom"], constraints: argument["constraints"])
    }
}

extension WCSConnectionRequest {
    /// What the SDK itself sends if the application gave no key (section 2.1).
    private static let defaultAppKey = "defaultApp"

    /// Reads the argument of `connection`; anything but an object is one without members.
    init(_ argument: JSONValue) {
        if case .object(let given) = argument { object = given } else { object = [] }
        let key = argument["appKey"]?.text ?? ""
        appKey = key.isEmpty ? Self.defaultAppKey : key
        keepAlive = argument["keepAlive"]?.flag ?? false
        authToken = argument["authToken"]?.text ?? ""
        custom = argument["custom"]
    }
}
