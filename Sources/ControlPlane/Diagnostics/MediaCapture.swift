/// What the media side knows of a peer at one moment, for people who look for a fault. Headers only: nothing here is
/// media or a key.
package struct MediaCapture: Hashable, Sendable {
    /// One ICE and DTLS association.
    package struct Transport: Hashable, Sendable {
        package var isSecure: Bool
        /// `address:port` on both sides, `tcp` behind it for ICE-TCP; nil while no pair is valid.
        package var path: String?
        /// Since the last check or packet of the peer; nil before the first.
        package var silence: Duration?

        package init(isSecure: Bool, path: String?, silence: Duration?) {
            self.isSecure = isSecure
            self.path = path
            self.silence = silence
        }
    }

    package struct Track: Hashable, Sendable {
        /// `video VP8 ssrc=… payloadType=…`
        package var title: String
        package var packets: [Packet]

        package init(title: String, packets: [Packet]) {
            self.title = title
            self.packets = packets
        }
    }

    package struct Packet: Hashable, Sendable {
        /// Since its arrival from the publisher.
        package var age: Duration
        package var sequence: UInt16
        package var timestamp: UInt32
        package var isMarked: Bool
        package var isKeyFrameStart: Bool
        package var payloadBytes: Int
        /// The RTP header as it came, extensions included; empty if the server made the packet.
        package var header: [UInt8]

        package init(
            age: Duration, sequence: UInt16, timestamp: UInt32, isMarked: Bool, isKeyFrameStart: Bool,
            payloadBytes: Int, header: [UInt8]
        ) {
            self.age = age
            self.sequence = sequence
            self.timestamp = timestamp
            self.isMarked = isMarked
            self.isKeyFrameStart = isKeyFrameStart
            self.payloadBytes = payloadBytes
            self.header = header
        }
    }

    package var transports: [Transport]
    package var tracks: [Track]

    package init(transports: [Transport], tracks: [Track]) {
        self.transports = transports
        self.tracks = tracks
    }
}

extension MediaBackend {
    package func capture(peer: PeerID, packets: Int) async -> MediaCapture? { nil }
}
