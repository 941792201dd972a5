import COpenSSL
import Wire

/// The receiving side of one peer: keys, roll-over counters and replay windows. Used on the machine's thread only.
///
/// All of it lies in one block of some 300 bytes. What a key expands to is made when the first packet needs it: most
/// peers only play, and players send nothing but RTCP.
package final class SRTPInbound {
    struct State: BitwiseCopyable {
        /// The profile in two flags: comparing an enumeration of another module costs calls.
        let isCounterMode: Bool
        let is256: Bool
        var rtpSalt: Salt
        var rtcpSalt: Salt
        var rtp = SourceTable()
        var rtcp = SourceTable()
        /// Expanded RTP key of the multi-buffer library.
        var room: UnsafeMutableRawPointer?
        /// RTP on OpenSSL.
        var cipher: Unmanaged<OpenSSLCipher>?
        var reference: Unmanaged<LibSRTP>?
        /// Packets of this peer in the machine's batch that are not finished.
        var pending = 0

        @inline(__always) var rtpTagLength: Int { isCounterMode ? 10 : 16 }
        @inline(__always) var rtcpOverhead: Int { isCounterMode ? 14 : 20 }
    }
    // Behind the state: session keys and HMAC states (CM) as they were derived.
    static let rtpKeyOffset = (MemoryLayout<State>.size + 15) & ~15
    static let rtpMACOffset = rtpKeyOffset + 32
    private static let rtcpKeyOffset = rtpMACOffset + HMACSHA1.stateLength + 8
    private static let rtcpMACOffset = rtcpKeyOffset + 32
    private static let blockLength = rtcpMACOffset + HMACSHA1.stateLength

    let machine: SRTPMachine
    let block: UnsafeMutableRawPointer
    @inline(__always)
    var state: UnsafeMutablePointer<State> { block.assumingMemoryBound(to: State.self) }

    package init(machine: SRTPMachine, keys: SRTPKeyingMaterial) throws(SRTPError) {
        let session = try SessionKeys(profile: keys.profile, masterKey: keys.remoteKey, masterSalt: keys.remoteSalt)
        self.machine = machine
        var initial = State(
            isCounterMode: keys.profile == .aes128CMHMACSHA1_80, is256: keys.profile == .aeadAES256GCM,
            rtpSalt: Salt(session.rtpSalt), rtcpSalt: Salt(session.rtcpSalt))
        if machine.backend == .libsrtp2 {
            initial.reference = .passRetained(
                try LibSRTP(profile: keys.profile, key: keys.remoteKey, salt: keys.remoteSalt, outbound: false))
        }
        block = .allocate(byteCount: Self.blockLength, alignment: 16)
        block.initializeMemory(as: State.self, to: initial)
        for (key, offset) in [(session.rtpKey, Self.rtpKeyOffset), (session.rtcpKey, Self.rtcpKeyOffset)] {
            (block + offset).copyMemory(from: key, byteCount: key.count)
        }
        if initial.isCounterMode {
            HMACSHA1.expand(session.rtpAuth, into: block + Self.rtpMACOffset)
            HMACSHA1.expand(session.rtcpAuth, into: block + Self.rtcpMACOffset)
        }
    }

    deinit {
        // The batch points here.
        if state.pointee.pending > 0 { machine.finishPendingUnprotects() }
        #if arch(x86_64)
            if let room = state.pointee.room {
                eraseMemory(room, roomLength)
                room.deallocate()
            }
        #endif
        state.pointee.cipher?.release()
        state.pointee.reference?.release()
        state.pointee.rtp.destroy()
        state.pointee.rtcp.destroy()
        eraseMemory(block, Self.blockLength)
        block.deallocate()
    }

    // MARK: - Keys

    #if arch(x86_64)
        private var roomLength: Int {
            state.pointee.isCounterMode ? MultiBuffer.counterRoom : MultiBuffer.gcmStride
        }

        /// The RTP key as the multi-buffer library wants it.
        @inline(__always)
        func expandedKey(_ core: UnsafeMutablePointer<MultiBuffer.Core>) -> UnsafeMutableRawPointer {
            state.pointee.room ?? expandKey(core)
        }

        @inline(never)
        private func expandKey(_ core: UnsafeMutablePointer<MultiBuffer.Core>) -> UnsafeMutableRawPointer {
            let room = UnsafeMutableRawPointer.allocate(byteCount: roomLength, alignment: 64)
            let key = block + Self.rtpKeyOffset
            if state.pointee.isCounterMode {
                core.pointee.expandCounter(key, into: room)
            } else {
                core.pointee.expandGCM(key, is256: state.pointee.is256, into: room)
            }
            state.pointee.room = room
            return room
        }
    #endif

    /// RTP on OpenSSL; `nil` when it is out of memory.
    private var openSSL: OpenSSLCipher? {
        if let cipher = state.pointee.cipher { return cipher.takeUnretainedValue() }
        let made = try? OpenSSLCipher(kind: kind, key: block + Self.rtpKeyOffset, encrypt: false)
        state.pointee.cipher = made.map { .passRetained($0) }
        return made
    }

    private var kind: OpenSSLCipher.Kind {
        state.pointee.isCounterMode ? .counter128 : state.pointee.is256 ? .gcm256 : .gcm128
    }

    // MARK: - RTP

    /// Authenticates and decrypts in place. State for an SSRC is made only after authentication. Of a packet that is
    /// refused, the bytes are meaningless.
    package func unprotectRTP(_ packet: UnsafeMutableRawPointer, length: Int) -> SRTPResult {
        if let reference = state.pointee.reference {
            return reference._withUnsafeGuaranteedRef { $0.unprotectRTP(packet, length: length) }
        }
        if state.pointee.pending > 0 { machine.finishPendingUnprotects() }
        let plain = length - state.pointee.rtpTagLength
        guard plain >= 12, let header = PacketLayout.rtpHeaderLength(packet, length: plain) else { return .malformed }
        let ssrc = PacketLayout.bigEndian32(packet + 8)
        let sequence = PacketLayout.bigEndian16(packet + 2)
        guard let known = state.pointee.rtp.find(ssrc) else {
            guard !state.pointee.rtp.isFull else { return .tooManySources }
            guard let index = openFirst(packet, header: header, plain: plain, ssrc: ssrc, sequence: sequence) else {
                return .authenticationFailed
            }
            state.pointee.rtp.append(ssrc, first: index)
            return .ok(length: plain)
        }
        let window = state.pointee.rtp.window(known)
        guard let index = window.pointee.estimate(sequence), window.pointee.isFresh(index) else { return .replayed }
        guard open(packet, header: header, plain: plain, ssrc: ssrc, index: index) else { return .authenticationFailed }
        window.pointee.accept(index)
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
        if state.pointee.isCounterMode {
            HMACSHA1.authenticate(
                block + Self.rtpMACOffset, packet, length: plain, then: UInt32(truncatingIfNeeded: index >> 16),
                into: scratch)
            guard constantTimeEqual(scratch, packet + plain, count: 10) else { return false }
            #if arch(x86_64)
                if let core = machine.core {
                    core.pointee.counter(
                        keys: expandedKey(core), salt: state.pointee.rtpSalt, ssrc: ssrc, index: index,
                        source: body, destination: body, length: plain - header)
                    return true
                }
            #endif
            guard let openSSL else { return false }
            state.pointee.rtpSalt.writeCounter(scratch, ssrc: ssrc, index: index)
            openSSL.counter(scratch, source: body, destination: body, length: plain - header)
            return true
        }
        state.pointee.rtpSalt.writeAEADNonce(scratch, ssrc: ssrc, index: index)
        #if arch(x86_64)
            if let core = machine.core {
                let computed = scratch + 64
                core.pointee.gcm(
                    room: expandedKey(core), is256: state.pointee.is256, decrypt: true,
                    nonce: scratch, aad: packet, aadLength: header, source: body, destination: body,
                    length: plain - header, tag: computed)
                return constantTimeEqual(computed, packet + plain, count: 16)
            }
        #endif
        guard let openSSL else { return false }
        return openSSL.gcm(
            nonce: scratch, aad: packet, aadLength: header, source: body, destination: body, length: plain - header,
            tag: packet + plain)
    }

    // MARK: - RTCP

    /// Authenticates and decrypts a compound packet in place. Unencrypted SRTCP (E = 0) is refused: nothing that we
    /// negotiate allows it.
    package func unprotectRTCP(_ packet: UnsafeMutableRawPointer, length: Int) -> SRTPResult {
        if let reference = state.pointee.reference {
            return reference._withUnsafeGuaranteedRef { $0.unprotectRTCP(packet, length: length) }
        }
        let header = PacketLayout.rtcpHeaderLength
        let plain = length - state.pointee.rtcpOverhead
        guard plain >= header, packet.load(as: UInt8.self) >> 6 == 2 else { return .malformed }
        let isCounterMode = state.pointee.isCounterMode
        let word = PacketLayout.bigEndian32(packet + (isCounterMode ? plain : length - 4))
        guard word & 0x8000_0000 != 0 else { return .malformed }
        let index = UInt64(word & SRTPLimits.maxRTCPIndex)
        let ssrc = PacketLayout.bigEndian32(packet + 4)
        let known = state.pointee.rtcp.find(ssrc)
        if let known {
            guard state.pointee.rtcp.window(known).pointee.isFresh(index) else { return .replayed }
        } else if state.pointee.rtcp.isFull {
            return .tooManySources
        }
        let scratch = machine.scratch
        let key = block + Self.rtcpKeyOffset
        let body = packet + header
        if isCounterMode {
            HMACSHA1.authenticate(
                block + Self.rtcpMACOffset, packet, length: plain + 4, then: nil, into: scratch)
            guard constantTimeEqual(scratch, packet + plain + 4, count: 10),
                machine.rtcpCounter(
                    key: key, salt: state.pointee.rtcpSalt, ssrc: ssrc, index: index, body: body,
                    length: plain - header)
            else { return .authenticationFailed }
        } else {
            state.pointee.rtcpSalt.writeAEADNonce(scratch, ssrc: ssrc, index: index)
            let aad = scratch + 32
            aad.copyMemory(from: packet, byteCount: header)
            PacketLayout.store32(word, at: aad + header)
            guard
                machine.rtcpGCM(
                    key: key, is256: state.pointee.is256, encrypt: false, nonce: scratch, aad: aad,
                    aadLength: header + 4, body: body, length: plain - header, tag: packet + plain)
            else { return .authenticationFailed }
        }
        if let known {
            state.pointee.rtcp.window(known).pointee.accept(index)
        } else {
            state.pointee.rtcp.append(ssrc, first: index)
        }
        return .ok(length: plain)
    }
}

/// Overwrites key memory in a way that the optimiser does not remove.
func eraseMemory(_ memory: UnsafeMutableRawPointer, _ length: Int) { OPENSSL_cleanse(memory, length) }
