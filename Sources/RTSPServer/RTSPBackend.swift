import MediaFormats
import RTSP

/// What RTSP connections ask of the rest of the program: the control plane, its hooks, and the media engine. Each call
/// answers in bounded time.
package protocol RTSPBackend: Sendable {
    /// Whether this may be played (`playRTSP`).
    func mayPlay(_ access: RTSPAccess, on connection: RTSPConnectionFacts) async -> RTSPDecision

    /// The tracks of a stream that can be played, in the form that the query asks for; may wait for one that is pulled on
    /// demand.
    func describe(
        _ name: String, query: String?, on connection: RTSPConnectionFacts
    ) async -> Result<[TrackDescription], RTSPRefusal>

    /// A player begins, or goes on after a pause.
    ///
    /// - Parameter query: with which the tracks were described.
    func play(
        _ name: String, query: String?, tracks: [RTSPSetUpTrack], link: RTSPLink, on connection: RTSPConnectionFacts
    ) async -> Result<RTSPPlaying, RTSPRefusal>

    /// A publisher wants a name, which is its own until `stop` of what is returned.
    func announce(
        _ access: RTSPAccess, tracks: [TrackDescription], link: RTSPLink, on connection: RTSPConnectionFacts
    ) async -> Result<any RTSPPublication, RTSPRefusal>
}

package enum RTSPDecision: Sendable {
    /// `endsIn`: then the right is over, and the connection closed; nil: it goes on.
    case allow(endsIn: Duration?)
    case refuse(RTSPStatus)
}

/// A refusal and the status that tells it.
package struct RTSPRefusal: Error, Sendable {
    package var status: RTSPStatus
    package init(_ status: RTSPStatus) { self.status = status }
}

/// A connection, for hooks and logs.
package struct RTSPConnectionFacts: Sendable {
    /// Unique among all connections of this process.
    package var id: String
    /// `address:port`
    package var remoteAddress: String
    package var localAddress: String
    package var isSecure: Bool
}

/// How a player is served.
package enum RTSPPlaying: Sendable {
    /// In its connection, by the stream's fan-out; the playback is stopped when the player has left that.
    case interleaved(RTSPStream, any RTSPPlayback)
    /// By datagrams, which are not this module's business; first packets as far as they are known.
    case datagrams(any RTSPPlayback, first: [RTSPAnswer.FirstPacket])
}

/// A player as the rest of the program counts it; one that is served by datagrams is served by it, too.
package protocol RTSPPlayback: Sendable {
    /// Ends sending: a pause, or the end. Idempotent.
    func stop()
}

/// What a publisher sends. Called on the connection's event loop but for `start`; must return at once.
package protocol RTSPPublication: Sendable {
    /// The publisher begins to send. Nil: it may.
    func start(_ tracks: [RTSPSetUpTrack]) async -> RTSPStatus?
    /// An RTP or RTCP packet from the connection; `track` counts the announced ones. Not checked in any way.
    func receive(track: Int, isRTCP: Bool, _ packet: RawSpan)
    /// No more packets wait in the connection at the moment.
    func flush()
    /// RTCP for the publisher, of a track that does not go through its connection.
    func send(rtcp: [UInt8], track: Int)
    /// Nothing follows. Idempotent; the name is free again.
    func stop()
}

extension RTSPPublication {
    /// Of publishers in connections alone.
    package func send(rtcp: [UInt8], track: Int) {}
}
