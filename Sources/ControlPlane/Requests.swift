/// A client asks for a session.
package struct ConnectRequest: Hashable, Sendable {
    package var appKey: String
    /// `address:port`, `[address]:port` or a bare address; limits count the address without the port.
    package var remoteAddress: String
    /// `address:port` where the client reached us; nil if the adapter does not know.
    package var localAddress: String?
    package var custom: JSONText?
    package var kind: SessionKind
    /// Token of an `Authorization: Bearer` header, carried to the backend.
    package var bearerToken: String?
    /// Query of the request's URL, without the question mark.
    package var query: String?
    /// Keep the session for `ControlConfiguration.reattachTime` after its connection is lost (signalling 2.5).
    package var keepAlive: Bool
    /// What the client said of itself, a JSON object: goes to the backend with `connect`, and the adapter has it again,
    /// perhaps changed by the backend, from the session.
    package var profile: JSONText?

    package init(
        appKey: String = ControlConfiguration.defaultAppKey, remoteAddress: String, localAddress: String? = nil,
        custom: JSONText? = nil, kind: SessionKind = .webSocket, bearerToken: String? = nil, query: String? = nil,
        keepAlive: Bool = false, profile: JSONText? = nil
    ) {
        self.appKey = appKey
        self.remoteAddress = remoteAddress
        self.localAddress = localAddress
        self.custom = custom
        self.kind = kind
        self.bearerToken = bearerToken
        self.query = query
        self.keepAlive = keepAlive
        self.profile = profile
    }
}

/// A client asks to publish or to play a stream (`publishStream`, `playStream`, a WHIP or WHEP POST).
package struct StreamRequest: Hashable, Sendable {
    package var mediaSessionId: String
    package var name: String
    /// The client's offer.
    package var sdp: String
    package var record: Bool
    /// Wanted size in pixels, 0 = as published. The source is served whatever is asked.
    package var width: Int
    package var height: Int
    /// kbit/s, 0 = as published.
    package var bitrate: Int
    /// 0...100, 0 = unset.
    package var quality: Int
    /// kbit/s, 0 = unset.
    package var minBitrate: Int
    package var maxBitrate: Int
    package var transport: MediaOptions.Transport
    package var cvoExtension: Bool
    package var custom: JSONText?
    package var rtmpUrl: String?
    /// `WebRTC` or nil; anything else is refused with `No common codecs`.
    package var mediaProvider: String?
    /// Hints only: what exists is read from the offer.
    package var hasAudio: Bool
    package var hasVideo: Bool
    /// Where a publisher's media comes from, if it is not WebRTC: then the offer is nobody's to answer.
    package var intake: MediaIntake?

    package init(
        mediaSessionId: String, name: String, sdp: String, record: Bool = false, width: Int = 0, height: Int = 0,
        bitrate: Int = 0, quality: Int = 0, minBitrate: Int = 0, maxBitrate: Int = 0,
        transport: MediaOptions.Transport = .any, cvoExtension: Bool = false, custom: JSONText? = nil,
        rtmpUrl: String? = nil, mediaProvider: String? = nil, hasAudio: Bool = true, hasVideo: Bool = true,
        intake: MediaIntake? = nil
    ) {
        self.mediaSessionId = mediaSessionId
        self.name = name
        self.sdp = sdp
        self.record = record
        self.width = width
        self.height = height
        self.bitrate = bitrate
        self.quality = quality
        self.minBitrate = minBitrate
        self.maxBitrate = maxBitrate
        self.transport = transport
        self.cvoExtension = cvoExtension
        self.custom = custom
        self.rtmpUrl = rtmpUrl
        self.mediaProvider = mediaProvider
        self.hasAudio = hasAudio
        self.hasVideo = hasVideo
        self.intake = intake
    }

    var mediaOptions: MediaOptions {
        MediaOptions(
            transport: transport, minBitrate: minBitrate, maxBitrate: maxBitrate, cvoExtension: cvoExtension)
    }
}
