import RTP
import SRTP
import Synchronization
import Wire

/// SRTP of plain RTP clients, whose keys signalling has told (RTP/SAVP). A player's packets are protected by its worker's
/// machine, as a WebRTC player's are: its lanes have another handle than the clear one. What a publisher sends is opened
/// where it is heard.
struct PlainProtection {
    let ledger: SRTPKeyLedger
    let outbound: SRTPOutbound
    let inbound: SRTPInbound
    /// Of what this player has sent, for who has the key after it.
    var progress: SRTPKeyLedger.Progress
}

extension PlainState {
    func protection(ofTrack track: Int) -> PlainProtection? {
        player.tracks.firstIndex { $0.track == track }.flatMap { protections[$0] }
    }
}

extension Worker {
    enum TakenKeys {
        /// Of each track of the player; nil: it has none.
        case taken([PlainProtection?])
        case inUse
        case failed
    }

    /// All keys of the player or none.
    func takeKeys(of player: PlainPlayer) -> TakenKeys {
        var out: [PlainProtection?] = []
        func undo(_ outcome: TakenKeys) -> TakenKeys {
            for case let protection? in out { giveBack(protection) }
            return outcome
        }
        for track in player.tracks {
            guard let keys = track.keys else {
                out.append(nil)
                continue
            }
            guard let progress = keys.ledger.take() else { return undo(.inUse) }
            do {
                // libsrtp2 counts for itself and would begin anew.
                guard machine.backend != .libsrtp2 || progress.isUnused else {
                    throw SRTPError.backendUnavailable(machine.backend.rawValue)
                }
                let inbound = try SRTPInbound(machine: machine, keys: keys.material)
                let outbound = try machine.makeOutbound(keys.material, lastRTCP: progress.lastRTCP)
                out.append(
                    PlainProtection(ledger: keys.ledger, outbound: outbound, inbound: inbound, progress: progress))
            } catch {
                keys.ledger.giveBack(progress)
                return undo(.failed)
            }
        }
        return .taken(out)
    }

    private func giveBack(_ protection: PlainProtection) {
        var progress = protection.progress
        progress.lastRTCP = machine.lastRTCP(protection.outbound)
        machine.destroy(protection.outbound)
        protection.ledger.giveBack(progress)
    }

    /// How far its lanes have come, before they go.
    func noteProgress(of peer: Peer) {
        guard let plain = peer.plain, let stream = peer.stream else { return }
        for (i, own) in plain.player.tracks.enumerated() where plain.protections[i] != nil {
            guard let lane = stream.lane(of: peer, track: own.track), lane.pointee.lastIndex >= 0 else { continue }
            plain.protections[i]?.progress.nextRTP = lane.pointee.lastIndex &+ 1
        }
    }

    /// Its lanes are gone, and what they sent is with the kernel.
    func giveBackKeys(of plain: PlainState) {
        for case let protection? in plain.protections { giveBack(protection) }
        plain.protections = plain.protections.map { _ in nil }
    }

    /// Players that follow one of their session which had not ended yet.
    func beginWithKeys() {
        guard !awaitingKeys.isEmpty else { return }
        let waiting = awaitingKeys
        awaitingKeys = []
        for (registration, deadline) in waiting { begin(plain: registration, deadline: deadline) }
    }

    /// RTCP of a plain player of this worker, as it came.
    func takePlainRTCP(_ packet: RawSpan, track: Int, peer: Peer, arrival: Instant) {
        guard let plain = peer.plain else { return }
        guard let inbound = plain.protection(ofTrack: track)?.inbound else {
            plain.player.noteSign(now: now)
            handleRTCP(packet, peer: peer, arrival: arrival)
            return
        }
        var bytes = packet.copied()
        let result = bytes.withUnsafeMutableBytes { buffer in
            buffer.baseAddress.map { inbound.unprotectRTCP($0, length: buffer.count) } ?? .malformed
        }
        guard case .ok(let length) = result else {
            counters.count(result)
            return
        }
        plain.player.noteSign(now: now)
        handleRTCP(bytes.span.bytes.extracting(first: length), peer: peer, arrival: arrival)
    }
}

extension EngineCounters {
    /// An SRTP packet that was refused.
    func count(_ result: SRTPResult) {
        switch result {
        case .ok: break
        case .replayed: replayed.bump()
        case .authenticationFailed: authenticationFailed.bump()
        case .malformed, .tooManySources: malformed.bump()
        }
    }
}

/// SRTP of a publisher, which may be heard by any worker: it has a machine of its own, used by one thread at a time. That is
/// OpenSSL's, which needs little memory; and a publisher is one.
final class PlainCipher: @unchecked Sendable {
    private struct Track {
        let track: Int
        let ledger: SRTPKeyLedger
        let inbound: SRTPInbound
        let outbound: SRTPOutbound
        let progress: SRTPKeyLedger.Progress
    }
    private let machine: SRTPMachine
    // All that follows is touched under the lock, the machine too.
    private let lock = Mutex(())
    private var tracks: [Track] = []
    private var scratch = [UInt8](repeating: 0, count: PacketSlab.slotSize)
    private var isOver = false

    /// - Throws: `.unavailable` for keys that are in use, or when the cipher library is out of memory.
    init(_ wanted: [PlainTrack]) throws(PlainError) {
        guard let machine = try? SRTPMachine(backend: .openSSL) else { throw .unavailable }
        self.machine = machine
        for track in wanted {
            guard let keys = track.keys else { continue }
            guard let progress = keys.ledger.take() else {
                end()
                throw .unavailable
            }
            guard let inbound = try? SRTPInbound(machine: machine, keys: keys.material),
                let outbound = try? machine.makeOutbound(keys.material, lastRTCP: progress.lastRTCP)
            else {
                keys.ledger.giveBack(progress)
                end()
                throw .unavailable
            }
            tracks.append(
                Track(
                    track: track.track, ledger: keys.ledger, inbound: inbound, outbound: outbound, progress: progress))
        }
    }

    /// - Returns: why the packet is not its publisher's; nil: `body` had it, and its bytes are plain.
    func open(
        _ packet: UnsafeRawBufferPointer, track: Int, isRTCP: Bool, _ body: (RawSpan) -> Void
    ) -> SRTPResult? {
        lock.withLock { _ in
            guard !isOver else { return nil }
            guard let inbound = tracks.first(where: { $0.track == track })?.inbound else {
                body(packet.bytes)
                return nil
            }
            guard packet.count <= scratch.count else { return .malformed }
            return scratch.withUnsafeMutableBytes { scratch in
                scratch.copyMemory(from: packet)
                guard let start = scratch.baseAddress else { return .malformed }
                let result =
                    isRTCP
                    ? inbound.unprotectRTCP(start, length: packet.count)
                    : inbound.unprotectRTP(start, length: packet.count)
                guard case .ok(let length) = result else { return result }
                body(UnsafeRawBufferPointer(rebasing: scratch[..<length]).bytes)
                return nil
            }
        }
    }

    /// Empty for a packet that cannot be protected.
    func protect(rtcp: [UInt8], track: Int) -> [UInt8] {
        lock.withLock { _ in
            guard !isOver else { return [] }
            guard let outbound = tracks.first(where: { $0.track == track })?.outbound else { return rtcp }
            var bytes = rtcp
            bytes.append(contentsOf: repeatElement(0, count: 64))
            let length = bytes.withUnsafeMutableBytes { buffer in
                buffer.baseAddress.map {
                    machine.protectRTCP(outbound, packet: $0, length: rtcp.count, capacity: buffer.count)
                } ?? 0
            }
            return Array(bytes.prefix(length))
        }
    }

    /// The keys are free again. Idempotent; nothing more is opened.
    func end() {
        lock.withLock { _ in
            for track in tracks {
                var progress = track.progress
                progress.lastRTCP = machine.lastRTCP(track.outbound)
                machine.destroy(track.outbound)
                track.ledger.giveBack(progress)
            }
            tracks = []
            isOver = true
        }
    }
}
