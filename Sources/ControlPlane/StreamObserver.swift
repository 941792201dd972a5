/// Hears which streams there are: what makes outputs of them that are no sessions' players (HLS). All calls return at
/// once, and the end of a publisher is told after its beginning.
package protocol StreamObserver: Sendable {
    /// The stream can be played from now on.
    func published(_ name: String, by publisher: PeerID)

    /// The publisher has gone. Another one may already have taken the name.
    func unpublished(_ name: String, by publisher: PeerID)
}
