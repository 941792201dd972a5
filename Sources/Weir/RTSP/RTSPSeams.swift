import ControlPlane
import MediaFormats
import RTSP
import RTSPServer

/// Takes streams from RTSP publishers (ANNOUNCE, RECORD).
package protocol RTSPPublishing: Sendable {
    /// A publisher wants a name, which is its own until `stop` of what is returned. Answers in bounded time.
    func announce(
        _ access: RTSPAccess, tracks: [TrackDescription], link: RTSPLink, on connection: RTSPConnectionFacts
    ) async -> Result<any RTSPPublication, RTSPRefusal>
}

/// Serves RTSP players by datagrams.
package protocol RTSPDatagrams: Sendable {
    /// A player begins, or goes on after a pause, at its own address and the ports of its tracks. Answers in bounded time.
    ///
    /// - Parameters:
    ///   - publisher: the stream's media peer.
    ///   - tracks: set up by UDP, all of them; source identifiers and payload types are those that the client was told.
    ///   - described: the stream's tracks, to which `tracks` point.
    ///   - link: to be told of signs of life (RTCP), and of the stream's end.
    func play(
        _ name: String, publisher: PeerID, tracks: [RTSPSetUpTrack], described: [TrackDescription], link: RTSPLink,
        on connection: RTSPConnectionFacts
    ) async -> Result<(playback: any RTSPPlayback, first: [RTSPAnswer.FirstPacket]), RTSPRefusal>

    /// A publication whose tracks may also come by UDP: it is given packets of either way, by one thread at a time.
    func receiving(
        into publication: any RTSPPublication, link: RTSPLink, on connection: RTSPConnectionFacts
    ) -> any RTSPPublication
}
