import ControlPlane
import MediaEngine
import Synchronization
import Wire

extension EngineMediaBackend {
    package func capture(peer: PeerID, packets: Int) async -> MediaCapture? {
        let engine = engine
        let inspection = await withCheckedContinuation { continuation in
            engine.inspect(peer: peer.rawValue, packets: packets) { continuation.resume(returning: $0) }
        }
        return inspection.map(MediaCapture.init)
    }
}

extension MediaCapture {
    init(_ inspection: PeerInspection) {
        self.init(
            transports: inspection.transports.map { transport in
                Transport(
                    isSecure: transport.isSecure,
                    path: transport.path.map { "\($0.remote) to \($0.local.ip)\($0.isTCP ? " tcp" : "")" },
                    silence: transport.silence.map { .nanoseconds($0.nanoseconds) })
            },
            tracks: inspection.tracks.map { track in
                let ssrc = track.ssrc.map { String($0, radix: 16) } ?? "unknown"
                return Track(
                    title: "\(track.kind.rawValue) \(track.codec) ssrc=\(ssrc) payloadType=\(track.payloadType) "
                        + (track.isFlowing ? "flowing" : "not flowing"),
                    packets: track.packets.map(Packet.init))
            })
    }
}

extension MediaCapture.Packet {
    init(_ packet: PeerInspection.Packet) {
        self.init(
            age: .nanoseconds(packet.age.nanoseconds), sequence: packet.sequence, timestamp: packet.timestamp,
            isMarked: packet.marker, isKeyFrameStart: packet.isKeyFrameStart, payloadBytes: packet.payloadLength,
            header: packet.header)
    }
}
