import DTLS
import MediaEngine
import MediaTaps
import SDP
import Testing
import Wire

/// An engine and both readers, all with threads of their own.
struct World {
    let engine: MediaEngine
    let reader: FrameReader
    let packets: PacketReader

    init() throws {
        var configuration = EngineConfiguration(certificate: try DTLSCertificate.generate())
        configuration.port = 0
        configuration.listen = [SocketAddress(ipv4: 0x7f00_0001, port: 0)]
        configuration.workers = 1
        engine = try MediaEngine(configuration: configuration) { _ in }
        reader = try FrameReader(engine: engine)
        packets = try PacketReader(engine: engine)
    }

    func stop() {
        reader.stop()
        packets.stop()
        engine.stop()
    }

    static let pcmu = RTPCodec(payloadType: 0, name: "PCMU", clockRate: 8000)

    func publish(_ id: UInt64, _ codec: RTPCodec = pcmu) throws -> PacketSource {
        let track = NegotiatedTrack(kind: .audio, mLineIndex: 0, mid: "0", codec: codec, extensions: [:])
        return try #require(engine.addSource(id: id, tracks: [track]))
    }

    /// The sound of packet `number`: 20 ms.
    static func payload(_ number: Int) -> [UInt8] {
        (0..<160).map { UInt8(truncatingIfNeeded: number &* 31 &+ $0) }
    }
}
