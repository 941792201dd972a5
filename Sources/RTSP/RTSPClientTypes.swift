import MediaFormats
import Wire

/// Settings of the client that pulls cameras and other servers.
package struct RTSPClientSettings: Sendable {
    package var userAgent = "Weir"
    /// Tried in this order.
    package var transports: [RTSPTransport.Lower] = [.tcp]
    /// For the connection and for each response.
    package var responseTimeout: Interval = .seconds(10)
    /// Without media after PLAY.
    package var mediaTimeout: Interval = .seconds(10)
    package var maxRedirects = 3
    /// Passwords in clear, where the camera wants them so.
    package var allowsBasicInClear = true
    /// Signs of life are sent at this part of the session's timeout.
    package var keepAlivePart = 0.4

    package init() {}
}

/// A track that is being received.
package struct RTSPPulledTrack: Sendable, Equatable {
    package var description: TrackDescription
    /// How its packets come; ports are ours.
    package var path: RTSPSetUpTrack.Path
    /// The server's ports, for datagrams.
    package var serverPorts: RTSPTransport.Pair<UInt16>?
    package var ssrc: UInt32?
    /// First packet and its time, if the server said so.
    package var first = RTSPAnswer.FirstPacket()

    package init(
        description: TrackDescription, path: RTSPSetUpTrack.Path, serverPorts: RTSPTransport.Pair<UInt16>? = nil,
        ssrc: UInt32? = nil, first: RTSPAnswer.FirstPacket = RTSPAnswer.FirstPacket()
    ) {
        self.description = description
        self.path = path
        self.serverPorts = serverPorts
        self.ssrc = ssrc
        self.first = first
    }
}

/// What the shell is to do, in this order.
package enum RTSPClientOutput: Sendable, Equatable {
    /// Check the host, resolve it, check its address, connect, and say `connected` or `failed`.
    case connect(RTSPURL)
    case send([UInt8])
    /// Bind a pair of UDP ports for the track at that place, and say `bound`.
    case bind(track: Int)
    /// Media begins. Said once.
    case playing([RTSPPulledTrack])
    /// Close the connection (when all is sent) and the ports; a `connect` may follow.
    case disconnect
    /// It is over. Nothing follows.
    case failed(RTSPPullFailure)
}
