/// Media that comes to the server in another way than by WebRTC.
package protocol MediaIntakeSource: AnyObject, Sendable {
    /// Makes the publisher `peer` of the media side, which `MediaBackend.close` ends.
    func open(peer: PeerID) async throws(MediaError) -> MediaDescription
}

/// Where the media of a publisher comes from, as a part of its request: two are the same if they are one.
package struct MediaIntake: Hashable, Sendable {
    package let source: any MediaIntakeSource

    package init(_ source: any MediaIntakeSource) { self.source = source }

    package static func == (a: MediaIntake, b: MediaIntake) -> Bool { a.source === b.source }

    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(source)) }
}
