/// A published stream as lists and pages show it.
package struct StreamSummary: Hashable, Sendable {
    package var name: String
    /// Of the publisher.
    package var mediaSessionId: String
    package var sessionId: String
    package var kind: SessionKind
    /// False while the publisher's media connection is still being made.
    package var isLive: Bool
    package var hasAudio: Bool
    package var hasVideo: Bool
    package var audioCodec: String?
    package var videoCodec: String?
    /// Pixels; 0 = not known (yet).
    package var width: Int
    package var height: Int
    /// Received from the publisher in the last second, audio and video together.
    package var bitsPerSecond: Int
    package var audioMuted: Bool
    package var videoMuted: Bool
    /// Its pictures are not in the order in which they are shown (B frames).
    package var isReordered: Bool
    /// Players that were accepted, also those still connecting.
    package var players: Int
    /// Players that are no session's: by RTSP.
    package var viewers: Int
    /// Since it became live; zero before.
    package var uptime: Duration

    package init(
        name: String, mediaSessionId: String, sessionId: String, kind: SessionKind, isLive: Bool,
        hasAudio: Bool = false, hasVideo: Bool = false, audioCodec: String? = nil, videoCodec: String? = nil,
        width: Int = 0, height: Int = 0, bitsPerSecond: Int = 0, audioMuted: Bool = false, videoMuted: Bool = false,
        isReordered: Bool = false, players: Int = 0, viewers: Int = 0, uptime: Duration = .zero
    ) {
        self.name = name
        self.mediaSessionId = mediaSessionId
        self.sessionId = sessionId
        self.kind = kind
        self.isLive = isLive
        self.hasAudio = hasAudio
        self.hasVideo = hasVideo
        self.audioCodec = audioCodec
        self.videoCodec = videoCodec
        self.width = width
        self.height = height
        self.bitsPerSecond = bitsPerSecond
        self.audioMuted = audioMuted
        self.videoMuted = videoMuted
        self.isReordered = isReordered
        self.players = players
        self.viewers = viewers
        self.uptime = uptime
    }
}
