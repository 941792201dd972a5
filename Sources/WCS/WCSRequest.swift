import WeirJSON

/// A message of the client (`wcs-signalling.md` sections 2 to 6), with every member that means something to the server.
/// Members that are missing have the value which the original gives them: empty text, `false`, 0.
package enum WCSRequest: Sendable, Equatable {
    case connection(WCSConnectionRequest)
    /// The client's own keep-alive, and its answer to ours.
    case ping
    case pong
    case publishStream(WCSStreamRequest)
    case playStream(WCSStreamRequest)
    case unPublishStream(mediaSessionId: String)
    case stopStream(mediaSessionId: String)
    case pauseStream(mediaSessionId: String)
    case availableStream(mediaSessionId: String, name: String)
    case sendStreamEvent(WCSStreamEvent)
    case snapshot(mediaSessionId: String, name: String)
    case sendData(operationId: String, payload: JSONValue)
    /// Lines of the client's own log.
    case pushLogs(String)
    case sessionDebug(command: String)
    case submitBugReport(text: String, type: String)
    /// `webRTCMetricsClientDescription`: what the values of a stream's samples are.
    case metricsDescription(mediaSessionId: String, headers: String)
    /// `webRTCMetricsBatch`; none if they are compressed.
    case metricsBatch(mediaSessionId: String, samples: [String])
    /// `call`, `answer`: a telephone call the client wants.
    case call(callId: String, incoming: Bool, caller: String, callee: String)
    case hangup(callId: String)
    /// `sendMessage`, `subscribe`, `sendXcapRequest` of API 1.0: asked for by name, answered with a refusal.
    case legacySIP(message: String, id: String)
    /// Known and without an effect here: acknowledgements, requests within calls.
    case ignored(message: String)
    /// Not in the protocol as we know it. Section 1.2: ignored.
    case unknown(message: String)
}

/// `connection` (section 2.1).
package struct WCSConnectionRequest: Sendable, Equatable {
    /// The object as it came, for the echo in `getUserData`.
    package var object: [JSONMember]
    package var appKey: String
    package var keepAlive: Bool
    /// Token of an earlier session; empty if none.
    package var authToken: String
    package var custom: JSONValue?
}

/// `publishStream` and `playStream` (sections 3.2 and 3.3).
package struct WCSStreamRequest: Sendable, Equatable {
    package var mediaSessionId: String
    package var name: String
    package var sdp: String
    package var hasAudio: Bool
    package var hasVideo: Bool
    package var record: Bool
    package var mediaProvider: String
    /// Pixels; 0 = as published.
    package var width: Int
    package var height: Int
    /// kbit/s; 0 = unset.
    package var bitrate: Int
    package var minBitrate: Int
    package var maxBitrate: Int
    /// 0 to 100; 0 = unset.
    package var quality: Int
    /// `UDP`, `TCP`, or empty.
    package var transport: String
    package var cvoExtension: Bool
    package var rtmpUrl: String
    package var custom: JSONValue?
    /// The page's capture constraints, for information.
    package var constraints: JSONValue?
}

/// `sendStreamEvent` (section 3.8).
package struct WCSStreamEvent: Sendable, Equatable {
    package var mediaSessionId: String
    package var type: String
    package var payload: JSONValue?

    package init(mediaSessionId: String, type: String, payload: JSONValue? = nil) {
        self.mediaSessionId = mediaSessionId
        self.type = type
        self.payload = payload
    }
}
