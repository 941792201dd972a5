import CLinuxNet
import MediaEngine
import RTP
import SRTP
import Synchronization
import Wire

/// A plain RTP player: checks everything that comes to its ports, over a link without loss.
final class PlainCore {

    static let videoSSRC: UInt32 = 0x0a0a_0001
    static let audioSSRC: UInt32 = 0x0a0a_0002
    static let videoType: UInt8 = 100
    static let audioType: UInt8 = 101

    let id: UInt64
    let address: SocketAddress
    let tracks: [PlainTrack]
    private(set) var video = ReceivedTrack()
    private(set) var audio = ReceivedTrack()
    /// First of each track as it came.
    private(set) var firstVideo: RTPHeader?
    private(set) var firstAudio: RTPHeader?
    private(set) var reports: [(at: Instant, report: SenderReport)] = []
    private(set) var goodbyes: Set<UInt32> = []
    /// Rules broken, in words.
    private(set) var violations: [String] = []
    private(set) var datagrams = 0
    /// Packets of each message that held media.
    private(set) var runs: [Int] = []
    private var statistics: [UInt32: ReceiverStatistics] = [:]
    /// Of a player by SRTP, by track; it goes on with them as another player of the same session.
    let ciphers: [Int: Cipher]
    struct Cipher {
        let inbound: SRTPInbound
        let outbound: SRTPOutbound
        let machine: SRTPMachine
    }
    private let log = Log()
    private final class Log: Sendable { let news = Mutex<[PlainNews]>([]) }
    var news: [PlainNews] { log.news.withLock { $0 } }
    var first: [PlainFirstPacket]? {
        for case .began(let first) in news { return first }
        return nil
    }

    /// - Parameters:
    ///   - hasVideo, hasAudio: what it sets up of the stream of a `SourceFeeder`.
    ///   - keys: of SRTP, by track; none: RTP goes as it is.
    ///   - earlier: another player with these keys, after which it comes.
    init(
        id: UInt64, host: UInt32, port: UInt16 = 4000, hasVideo: Bool = true, hasAudio: Bool = true,
        keys: [Int: SRTPTrackKeys] = [:], after earlier: PlainCore? = nil
    ) throws {
        self.id = id
        address = SocketAddress(ipv4: host, port: 0)
        var tracks: [PlainTrack] = []
        if hasVideo {
            tracks.append(
                PlainTrack(
                    track: SourceFeeder.videoTrack, rtpPort: port, rtcpPort: port + 1, ssrc: Self.videoSSRC,
                    payloadType: Self.videoType))
        }
        if hasAudio {
            tracks.append(
                PlainTrack(
                    track: SourceFeeder.audioTrack, rtpPort: port + 2, rtcpPort: port + 3, ssrc: Self.audioSSRC,
                    payloadType: Self.audioType))
        }
        for i in tracks.indices { tracks[i].keys = keys[tracks[i].track] }
        self.tracks = tracks
        ciphers = try earlier?.ciphers ?? keys.mapValues { try Cipher(mirroring: $0.material) }
    }

    var listener: @Sendable (PlainNews) -> Void { { [log] news in log.news.withLock { $0.append(news) } } }

    func at(_ port: UInt16) -> SocketAddress { SocketAddress(ipv4: UInt32(address.low), port: port) }

    func take(_ message: weir_message, socket: Int32, now: Instant) {
        let remote = SocketAddress(message.remote)
        let bytes = Array(UnsafeBufferPointer(start: message.data, count: Int(message.length)))
        let segment = max(1, Int(message.segment))
        if SocketAddress(message.local) != World.server { violations.append("not from where its signalling goes") }
        guard let track = tracks.first(where: { $0.rtpPort == remote.port || $0.rtcpPort == remote.port }) else {
            violations.append("datagram to \(remote)")
            return
        }
        let isRTCP = track.rtcpPort == remote.port
        if (socket >= 512) != isRTCP || socket < 256 { violations.append("from socket \(socket) to \(remote)") }
        if !isRTCP { runs.append((bytes.count + segment - 1) / segment) }
        for start in stride(from: 0, to: bytes.count, by: segment) {
            datagrams += 1
            var datagram = Array(bytes[start..<min(start + segment, bytes.count)])
            if let cipher = ciphers[track.track] {
                guard let plain = cipher.open(datagram, isRTCP: isRTCP) else {
                    violations.append("not under its keys, or twice")
                    continue
                }
                datagram = plain
            }
            if isRTCP { take(rtcp: datagram, now: now) } else { take(rtp: datagram, of: track, now: now) }
        }
    }

    private func take(rtp packet: [UInt8], of track: PlainTrack, now: Instant) {
        guard let header = try? RTPHeader(parsing: packet.span.bytes) else {
            violations.append("no RTP")
            return
        }
        if header.ssrc != track.ssrc || header.payloadType != track.payloadType || header.headerLength != 12 {
            violations.append("wrong header")
        }
        let payload = Array(packet[header.headerLength..<(header.headerLength + header.payloadLength)])
        let isVideo = track.ssrc == Self.videoSSRC
        if isVideo {
            firstVideo = firstVideo ?? header
            video.receive(
                sequence: header.sequence, timestamp: header.timestamp, marker: header.marker, payload: payload,
                part: TestMedia.readVideo(payload), isRetransmission: false, now: now)
        } else {
            firstAudio = firstAudio ?? header
            audio.receive(
                sequence: header.sequence, timestamp: header.timestamp, marker: header.marker, payload: payload,
                part: TestMedia.readAudio(payload), isRetransmission: false, now: now)
        }
        statistics[header.ssrc, default: ReceiverStatistics()].receive(
            sequence: header.sequence, timestamp: header.timestamp, arrival: now,
            clockRate: isVideo ? TestIDs.videoClock : TestIDs.audioClock)
    }

    private func take(rtcp packet: [UInt8], now: Instant) {
        do {
            try RTCP.parse(packet.span.bytes) { item in
                switch item {
                case .senderReport(let report):
                    self.reports.append((now, report))
                    self.statistics[report.ssrc]?.receiveSenderReport(ntp: report.ntp, arrival: now)
                case .bye(let ssrcs): self.goodbyes.formUnion(ssrcs)
                default: break
                }
            }
        } catch { violations.append("no RTCP: \(error)") }
    }

    /// A receiver report of its first track.
    func report(now: Instant, fractionLost: UInt8 = 0) -> [UInt8] {
        let ssrc = tracks[0].ssrc
        var bytes: [UInt8] = []
        var block = statistics[ssrc]?.reportBlock(ssrc: ssrc, now: now)
        block?.fractionLost = fractionLost
        if fractionLost > 0 { block?.cumulativeLost = 7 }
        RTCPWriter.receiverReport(ssrc: 1, blocks: block.map { [$0] } ?? [], into: &bytes)
        return bytes
    }
}

extension PlainCore.Cipher {
    /// The client's side of what we have.
    init(mirroring ours: SRTPKeyingMaterial) throws {
        let theirs = SRTPKeyingMaterial(
            profile: ours.profile, localKey: ours.remoteKey, localSalt: ours.remoteSalt, remoteKey: ours.localKey,
            remoteSalt: ours.localSalt)
        machine = try SRTPMachine(backend: .openSSL)
        inbound = try SRTPInbound(machine: machine, keys: theirs)
        outbound = try machine.makeOutbound(theirs)
    }

    /// Nil for a packet under other keys, or one that has come before.
    func open(_ packet: [UInt8], isRTCP: Bool) -> [UInt8]? {
        var bytes = packet
        let result = bytes.withUnsafeMutableBytes {
            isRTCP
                ? inbound.unprotectRTCP($0.baseAddress!, length: $0.count)
                : inbound.unprotectRTP($0.baseAddress!, length: $0.count)
        }
        guard case .ok(let length) = result else { return nil }
        return Array(bytes.prefix(length))
    }

    func protect(rtcp: [UInt8]) -> [UInt8] {
        var bytes = rtcp + [UInt8](repeating: 0, count: 32)
        let length = bytes.withUnsafeMutableBytes {
            machine.protectRTCP(outbound, packet: $0.baseAddress!, length: rtcp.count, capacity: $0.count)
        }
        return Array(bytes.prefix(length))
    }

    /// - Parameter rtp: with the usual header of twelve bytes.
    func protect(rtp: [UInt8], index: UInt64) -> [UInt8] {
        var bytes = rtp + [UInt8](repeating: 0, count: 32)
        let length = bytes.withUnsafeMutableBytes {
            let start = $0.baseAddress!
            return machine.protectRTP(
                outbound, packet: start, headerLength: 12, payload: UnsafeRawPointer(start + 12),
                payloadLength: rtp.count - 12, ssrc: UInt32(bigEndian: (start + 8).loadUnaligned(as: UInt32.self)),
                packetIndex: index)
        }
        machine.flush()
        return Array(bytes.prefix(length))
    }
}

extension SRTPTrackKeys {
    /// Of AES-CM, made of one byte each.
    static func test(ours: UInt8, theirs: UInt8) -> SRTPTrackKeys {
        SRTPTrackKeys(
            SRTPKeyingMaterial(
                profile: .aes128CMHMACSHA1_80, localKey: .init(repeating: ours, count: 16),
                localSalt: .init(repeating: ours ^ 0xff, count: 14), remoteKey: .init(repeating: theirs, count: 16),
                remoteSalt: .init(repeating: theirs ^ 0xff, count: 14)), ledger: SRTPKeyLedger())
    }
}

extension World {
    func add(_ client: PlainCore, publisher: UInt64) throws -> PlainPlayer {
        for track in client.tracks {
            plainClients[client.at(track.rtpPort)] = client
            plainClients[client.at(track.rtcpPort)] = client
        }
        return try plain.addPlayer(
            id: client.id, publisher: publisher, client: client.address, local: World.server, tracks: client.tracks,
            listener: client.listener)
    }

    /// A datagram to one of the ports of plain RTP.
    func injectPlain(_ bytes: [UInt8], from address: SocketAddress, isRTCP: Bool, worker: Int = 0) {
        let time = now
        workers[worker].turn(now: now) {
            bytes.withUnsafeBytes {
                workers[worker].handlePlain($0, remote: address, isRTCP: isRTCP, arrival: time)
            }
        }
    }

    /// What `MediaEngine.close(peer:)` does.
    func close(plain id: UInt64) {
        guard let registration = directory.remove(peer: id) else { return }
        registration.closeMedia()
        mailboxes[registration.owner.load(ordering: .acquiring)].post(.close(peer: id))
    }
}
