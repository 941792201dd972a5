import MediaFormats
import Wire

/// Settings of the server's sessions.
package struct RTSPServerSettings: Sendable {
    /// `Server` header.
    package var product = "Weir"
    /// Seconds without a sign of life after which a session ends; told to clients.
    package var sessionTimeout = 60
    /// How much later than told it ends: clients send their sign of life just in time.
    package var sessionGrace: Interval = .seconds(10)
    /// From the accepted connection to its first request, TLS included.
    package var firstRequestTimeout: Interval = .seconds(10)
    /// Of a connection without a session.
    package var idleTimeout: Interval = .seconds(30)
    /// Requests that may wait for earlier ones.
    package var maxPendingRequests = 16
    /// Tracks of one session.
    package var maxTracks = 8

    package var allowsPublishing = true
    /// Our UDP ports for players and publishers; nil: TCP only.
    package var udpPorts: RTSPTransport.Pair<UInt16>? = .init(8000, 8001)

    /// Whether RTP over UDP is protected (SRTP).
    package enum SRTPMode: String, Sendable, CaseIterable {
        /// RTP/SAVP is refused.
        case off
        /// For clients that ask for it.
        case onRequest = "on_request"
        /// Nothing else goes over UDP.
        case required
    }
    package var srtp = SRTPMode.onRequest
    /// Keys are told in connections without TLS too: for those that somebody before us has taken the TLS off.
    package var srtpWithoutTLS = false

    package var auth = RTSPAuthSettings()
    package var users = RTSPUsers()
    /// Players, publishers need a name and password of `users`.
    package var playersLogIn = false
    package var publishersLogIn = false

    package init() {}
}

/// Where a connection comes from.
package struct RTSPPeer: Sendable {
    package var remote: SocketAddress
    package var local: SocketAddress
    package var isSecure: Bool

    package init(remote: SocketAddress, local: SocketAddress, isSecure: Bool) {
        self.remote = remote
        self.local = local
        self.isSecure = isSecure
    }
}

/// Facts by which somebody else decides whether a request may go on (`playRTSP`, `publishStream`).
package struct RTSPAccess: Sendable, Equatable {
    package var method: RTSPMethod
    package var name: String
    /// As the client wrote it, without the track.
    package var url: String
    /// Of this request, or of an earlier one of the session: tokens are in it.
    package var query: String?
    package var userAgent: String?
    /// Who has logged in.
    package var user: String?
    /// Of `Authorization: Bearer`.
    package var bearerToken: String?
}

/// A track that a client has set up.
package struct RTSPSetUpTrack: Sendable, Equatable {
    /// How its packets travel; ports are the client's.
    package enum Path: Sendable, Equatable {
        case interleaved(RTSPTransport.Pair<UInt8>)
        case udp(RTSPTransport.Pair<UInt16>)
    }

    /// Place in the stream's (or the publisher's) track descriptions.
    package var index: Int
    package var path: Path
    /// Of the packets that we send; 0 for publishers.
    package var ssrc: UInt32
    /// Of the packets that we send, or that the publisher does.
    package var payloadType: UInt8
    /// What the client has been told that it is; nil for publishers.
    package var codec: Codec?
    /// Of SRTP; nil: RTP goes as it is.
    package var keys: SRTPTrackKeys?

    package init(
        index: Int, path: Path, ssrc: UInt32, payloadType: UInt8, codec: Codec? = nil, keys: SRTPTrackKeys? = nil
    ) {
        self.index = index
        self.path = path
        self.ssrc = ssrc
        self.payloadType = payloadType
        self.codec = codec
        self.keys = keys
    }
}

/// What the session needs from outside before it can go on. Each is answered once, by `answer`.
package enum RTSPQuestion: Sendable, Equatable {
    /// May this be done? `allowed` or `refused`.
    case mayPlay(RTSPAccess)
    /// The stream's tracks: `tracks` or `refused(.notFound)`. May take time for a stream that is pulled on demand.
    case describe(name: String, query: String?)
    /// Begin, or go on, to send: `playing` or `refused`. Packets may be written once the answer has been given. The query
    /// is the one with which the tracks were described.
    case play(name: String, query: String?, tracks: [RTSPSetUpTrack])
    /// May this name be published, with these tracks? `allowed` (the name is held from now on) or `refused`.
    case announce(RTSPAccess, tracks: [TrackDescription])
    /// The publisher begins to send: `allowed` or `refused`.
    case record(name: String, tracks: [RTSPSetUpTrack])
}

package enum RTSPAnswer: Sendable, Equatable {
    case allowed
    case tracks([TrackDescription])
    /// First sequence number and RTP time of each track, as far as they are known, in the order of the question.
    case playing([FirstPacket])
    case refused(RTSPStatus)

    package struct FirstPacket: Sendable, Equatable {
        package var sequence: UInt16?
        package var rtpTime: UInt32?
        package init(sequence: UInt16? = nil, rtpTime: UInt32? = nil) {
            self.sequence = sequence
            self.rtpTime = rtpTime
        }
    }
}

/// Why the server closes a connection.
package enum RTSPCloseReason: String, Sendable, CaseIterable {
    case malformed
    /// No first request in time.
    case noRequest = "no_request"
    /// No session for too long.
    case idle
    case sessionTimeout = "session_timeout"
    /// The outside said no: WCS closes the connection then.
    case refused
    case tooManyFailures = "too_many_failures"
    case streamEnded = "stream_ended"
    /// The time of a token is over.
    case rightsEnded = "rights_ended"
    case shutdown
}

/// What the shell is to do, in this order.
package enum RTSPServerOutput: Sendable, Equatable {
    case send([UInt8])
    case ask(ticket: Int, RTSPQuestion)
    /// Stop to send or to take packets; the client may go on later.
    case pause
    /// Free what `play`, `announce` and `record` have taken.
    case end
    /// Close the connection when everything has been sent. Nothing follows.
    case close(RTSPCloseReason)
}
