import COpenSSL
import Wire

/// The receiving side of one peer: keys, roll-over counters and replay windows. Used on the machine's thread only.
package final class SRTPInbound {
    private struct Source {
        let ssrc: UInt32
        var window: ReplayWindow
    }

    private let machine: SRTPMachine
    private let profile: SRTPProfile
    private let rtpSalt: Salt
    private let rtcpSalt: Salt
    private let openSSL: OpenSSLKeys?
    private let reference: LibSRTP?
    /// Expanded keys of the multi-buffer library (AEAD profiles).
    private let room: UnsafeMutableRawPointer?
    private let roomLength: Int
    private var rtpSources: [Source] = []
    private var rtcpSources: [Source] = []

    package init(machine: SRTPMachine, keys: SRTPKeyingMaterial) throws(SRTPError) {
        let session = try SessionKeys(profile: keys.profile, masterKey: keys.remoteKey, masterSalt: keys.remoteSalt)
        self.machine = machine
        profile = keys.profile
        rtpSalt = Salt(session.rtpSalt)
        rtcpSalt = Salt(session.rtcpSalt)
        var memory: UnsafeMutableRawPointer?
        var length = 0
        #if arch(x86_64)
            // One packet at a time gives jobs nothing to run side by side: HMAC goes through OpenSSL.
            if let multiBuffer = machine.multiBuffer, keys.profile != .aes128CMHMACSHA1_80 {
                length = MultiBuffer.keyRoom
                let made = UnsafeMutableRawPointer.allocate(byteCount: length, alignment: 64)
                do { try multiBuffer.expand(session, into: made) } catch {
                    made.deallocate()
                    throw error
                }
                memory = made
            }
        #endif
        room = memory
        roomLength = length
        reference =
            machine.backend == .libsrtp2
            ? try LibSRTP(profile: keys.profile, key: keys.remoteKey, salt: keys.remoteSalt, outbound: false) : nil
        openSSL = memory == nil && reference == nil ? try OpenSSLKeys(session, encrypt: false) : nil
    }

    deinit {
        guard let room else { return }
        eraseMemory(room, roomLength)
        room.deallocate()
    }

    // MARK: - RTP

    /// Authenticates and decrypts in place. State for an SSRC is made only after authentication.
    package func unprotectRTP(_ packet: UnsafeMutableRawPointer, length: Int) -> SRTPResult {
        if let reference { return reference.unprotectRTP(packet, length: length) }
        let plain = length - profile.rtpTagLength
        guard plain >= 12, let header = PacketLayout.rtpHeaderLength(packet, length: plain) else { return .malformed }
        let ssrc = PacketLayout.bigEndian32(packet + 8)
        let sequence = PacketLayout.bigEndian16(packet + 2)
        let known = rtpSources.firstIndex { $0.ssrc == ssrc }
        var guess: UInt64 = 0
        if let known {
            guard let estimate = rtpSources[known].window.estimate(sequence), rtpSources[known].window.isFresh(estimate)
            else { return .replayed }
            guess = estimate
        } else if rtpSources.count >= SRTPLimits.maxSources {
            return .tooManySources
        }
        guard
            let index = known == nil
                ? openFirst(packet, header: header, plain: plain, ssrc: ssrc, sequence: sequence)
                : open(packet, header: header, plain: plain, ssrc: ssrc, index: guess) ? guess : nil
        else { return .authenticationFailed }
        if let known {
            rtpSources[known].window.accept(index)
        } else {
            var window = ReplayWindow(size: SRTPLimits.replayWindow)
            window.accept(index)
            rtpSources.append(Source(ssrc: ssrc, window: window))
        }
        return .ok(length: plain)
    }

    /// First packet of a source: its roll-over counter is 0, unless the source began shortly before 65,535 and its
    /// first packets were lost or overtaken (RFC 3711 §3.3.1 gives the receiver no other way to find out).
    private func openFirst(
        _ packet: UnsafeMutableRawPointer, header: Int, plain: Int, ssrc: UInt32, sequence: UInt16
    ) -> UInt64? {
        guard sequence < SRTPLimits.firstRolledOver else {
            return open(packet, header: header, plain: plain, ssrc: ssrc, index: UInt64(sequence))
                ? UInt64(sequence) : nil
        }
        return withUnsafeTemporaryAllocation(byteCount: plain - header, alignment: 16) { copy in
            // A failed attempt leaves the body decrypted with the wrong key stream.
            copy.copyMemory(from: UnsafeRawBufferPointer(start: packet + header, count: plain - header))
            for index in [UInt64(sequence), 1 << 16 | UInt64(sequence)] {
                if open(packet, header: header, plain: plain, ssrc: ssrc, index: index) { return index }
                UnsafeMutableRawBufferPointer(start: packet + header, count: plain - header)
                    .copyMemory(from: UnsafeRawBufferPointer(copy))
            }
            return nil
        }
    }

    private func open(_ packet: UnsafeMutableRawPointer, header: Int, plain: Int, ssrc: UInt32, index: UInt64) -> Bool {
        let scratch = machine.scratch
        let body = packet + header
        if profile == .aes128CMHMACSHA1_80 {
            guard let keys = openSSL?.rtp else { return false }
            keys.authenticate(packet, length: plain, then: UInt32(truncatingIfNeeded: index >> 16), into: scratch)
            guard constantTimeEqual(scratch, packet + plain, count: 10) else { return false }
            rtpSalt.writeCounter(scratch, ssrc: ssrc, index: index)
            keys.counter(scratch, source: body, destination: body, length: plain - header)
            return true
        }
        rtpSalt.writeAEADNonce(scratch, ssrc: ssrc, index: index)
        return openAEAD(
            isRTCP: false, aad: packet, aadLength: header, body: body, length: plain - header, tag: packet + plain)
    }

    /// The nonce lies at the beginning of the machine's scratch.
    private func openAEAD(
        isRTCP: Bool, aad: UnsafeRawPointer, aadLength: Int, body: UnsafeMutableRawPointer, length: Int,
        tag: UnsafeMutableRawPointer
    ) -> Bool {
        let scratch = machine.scratch
        #if arch(x86_64)
            if let room, let core = machine.core {
                let computed = scratch + 64
                core.pointee.gcm(
                    room: room, isRTCP: isRTCP, is256: profile == .aeadAES256GCM, decrypt: true, nonce: scratch,
                    aad: aad, aadLength: aadLength, source: body, destination: body, length: length, tag: computed)
                return constantTimeEqual(computed, tag, count: 16)
            }
        #endif
        guard let keys = isRTCP ? openSSL?.rtcp : openSSL?.rtp else { return false }
        return keys.gcm(
            nonce: scratch, aad: aad, aadLength: aadLength, source: body, destination: body, length: length, tag: tag)
    }

    // MARK: - RTCP

    /// Authenticates and decrypts a compound packet in place. Unencrypted SRTCP (E = 0) is refused: nothing that we
    /// negotiate allows it.
    package func unprotectRTCP(_ packet: UnsafeMutableRawPointer, length: Int) -> SRTPResult {
        if let reference { return reference.unprotectRTCP(packet, length: length) }
        let header = PacketLayout.rtcpHeaderLength
        let plain = length - profile.rtcpOverhead
        guard plain >= header, packet.load(as: UInt8.self) >> 6 == 2 else { return .malformed }
        let isCounterMode = profile == .aes128CMHMACSHA1_80
        let word = PacketLayout.bigEndian32(packet + (isCounterMode ? plain : length - 4))
        guard word & 0x8000_0000 != 0 else { return .malformed }
        let index = UInt64(word & SRTPLimits.maxRTCPIndex)
        let ssrc = PacketLayout.bigEndian32(packet + 4)
        let known = rtcpSources.firstIndex { $0.ssrc == ssrc }
        if let known {
            guard rtcpSources[known].window.isFresh(index) else { return .replayed }
        } else if rtcpSources.count >= SRTPLimits.maxSources {
            return .tooManySources
        }
        let scratch = machine.scratch
        let body = packet + header
        if isCounterMode {
            guard let keys = openSSL?.rtcp else { return .authenticationFailed }
            keys.authenticate(packet, length: plain + 4, then: nil, into: scratch)
            guard constantTimeEqual(scratch, packet + plain + 4, count: 10) else { return .authenticationFailed }
            rtcpSalt.writeCounter(scratch, ssrc: ssrc, index: index)
            keys.counter(scratch, source: body, destination: body, length: plain - header)
        } else {
            rtcpSalt.writeAEADNonce(scratch, ssrc: ssrc, index: index)
            let aad = scratch + 32
            aad.copyMemory(from: packet, byteCount: header)
            PacketLayout.store32(word, at: aad + header)
            guard
                openAEAD(
                    isRTCP: true, aad: aad, aadLength: header + 4, body: body, length: plain - header,
                    tag: packet + plain)
            else { return .authenticationFailed }
        }
        if let known {
            rtcpSources[known].window.accept(index)
        } else {
            var window = ReplayWindow(size: SRTPLimits.replayWindow)
            window.accept(index)
            rtcpSources.append(Source(ssrc: ssrc, window: window))
        }
        return .ok(length: plain)
    }
}

/// Overwrites key memory in a way that the optimiser does not remove.
func eraseMemory(_ memory: UnsafeMutableRawPointer, _ length: Int) { OPENSSL_cleanse(memory, length) }
