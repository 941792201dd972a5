import Wire

/// Cipher work of one thread: not to be shared. Protects packets of many peers; peers' keys are `SRTPOutbound` handles.
package final class SRTPMachine {
    package let backend: SRTPBackendKind
    #if arch(x86_64)
        let multiBuffer: MultiBuffer?
        let core: UnsafeMutablePointer<MultiBuffer.Core>?
    #endif
    let scratch: UnsafeMutableRawPointer
    let rtcpCiphers = RekeyedCiphers()
    /// Of peers whose packets go out as they are (plain RTP): one handle for all of them, not to be destroyed.
    package let clear: SRTPOutbound
    /// Received packets that wait for each other.
    var unprotectBatch: UnsafeMutablePointer<UnprotectBatch>?

    /// What an `SRTPOutbound` points to. RTCP's key and HMAC states follow as they were derived, at `keyOffset` the
    /// RTP key as the multi-buffer library wants it.
    struct State {
        /// The profile in two flags: comparing an enumeration of another module costs calls.
        let isCounterMode: Bool
        let is256: Bool
        let rtcpOverhead: Int
        var rtpSalt: Salt
        var rtcpSalt: Salt
        var rtcpIndex: UInt32
        /// RTP on OpenSSL.
        var cipher: Unmanaged<OpenSSLCipher>?
        var reference: Unmanaged<LibSRTP>?
        /// No cipher, no tag.
        var isClear = false
    }
    private static let rtcpKeyOffset = (MemoryLayout<State>.size + 15) & ~15
    private static let rtcpMACOffset = rtcpKeyOffset + 32
    static let keyOffset = (rtcpMACOffset + HMACSHA1.stateLength + 63) & ~63

    package init(backend: SRTPBackendKind) throws(SRTPError) {
        self.backend = backend
        #if arch(x86_64)
            multiBuffer = backend == .ipsecMB ? try MultiBuffer() : nil
            core = multiBuffer?.core
        #else
            guard backend != .ipsecMB else { throw .backendUnavailable(backend.rawValue) }
        #endif
        scratch = .allocate(byteCount: 128, alignment: 64)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: MemoryLayout<State>.size, alignment: 64)
        memory.initializeMemory(
            as: State.self,
            to: State(
                isCounterMode: false, is256: false, rtcpOverhead: 0, rtpSalt: Salt(), rtcpSalt: Salt(), rtcpIndex: 0,
                isClear: true))
        clear = SRTPOutbound(state: memory, lines: Int32((MemoryLayout<State>.size + 63) / 64))
    }

    deinit {
        clear.state.deallocate()
        unprotectBatch?.pointee.destroy()
        unprotectBatch?.deallocate()
        scratch.deallocate()
    }

    // MARK: - Keys

    /// - Parameter lastRTCP: The last index of SRTCP under these keys. libsrtp2 counts for itself, and begins anew.
    package func makeOutbound(_ keys: SRTPKeyingMaterial, lastRTCP: UInt32) throws(SRTPError) -> SRTPOutbound {
        let outbound = try makeOutbound(keys)
        outbound.state.assumingMemoryBound(to: State.self).pointee.rtcpIndex = lastRTCP & SRTPLimits.maxRTCPIndex
        return outbound
    }

    /// Of the last SRTCP packet that was protected; 0: there was none.
    package func lastRTCP(_ outbound: SRTPOutbound) -> UInt32 {
        outbound.state.assumingMemoryBound(to: State.self).pointee.rtcpIndex
    }

    package func makeOutbound(_ keys: SRTPKeyingMaterial) throws(SRTPError) -> SRTPOutbound {
        let session = try SessionKeys(profile: keys.profile, masterKey: keys.localKey, masterSalt: keys.localSalt)
        var reference: LibSRTP?
        if backend == .libsrtp2 {
            reference = try LibSRTP(profile: keys.profile, key: keys.localKey, salt: keys.localSalt, outbound: true)
        }
        return try makeOutbound(session: session, reference: reference)
    }

    /// With session keys as they are: what the vectors of the RFCs give. Not for libsrtp2, which derives its own.
    package func makeOutbound(session: SessionKeys) throws(SRTPError) -> SRTPOutbound {
        guard backend != .libsrtp2 else { throw .backendUnavailable(backend.rawValue) }
        return try makeOutbound(session: session, reference: nil)
    }

    private func makeOutbound(session: SessionKeys, reference: LibSRTP?) throws(SRTPError) -> SRTPOutbound {
        var state = State(
            isCounterMode: session.profile == .aes128CMHMACSHA1_80, is256: session.profile == .aeadAES256GCM,
            rtcpOverhead: session.profile.rtcpOverhead, rtpSalt: Salt(session.rtpSalt),
            rtcpSalt: Salt(session.rtcpSalt), rtcpIndex: 0)
        switch backend {
        case .ipsecMB: break
        case .openSSL:
            state.cipher = .passRetained(
                try OpenSSLCipher(
                    kind: .init(session.profile), key: session.rtpKey, authKey: session.rtpAuth, encrypt: true))
        case .libsrtp2: state.reference = reference.map { .passRetained($0) }
        }
        let length = blockLength(isCounterMode: state.isCounterMode)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: length, alignment: 64)
        memory.initializeMemory(as: State.self, to: state)
        (memory + Self.rtcpKeyOffset).copyMemory(from: session.rtcpKey, byteCount: session.rtcpKey.count)
        HMACSHA1.expand(session.rtcpAuth, into: memory + Self.rtcpMACOffset)
        #if arch(x86_64)
            multiBuffer?.expand(session, into: memory + Self.keyOffset)
        #endif
        return SRTPOutbound(state: memory, lines: Int32((length + 63) / 64))
    }

    /// The handle and all its copies are invalid afterwards.
    package func destroy(_ outbound: SRTPOutbound) {
        flush()
        let state = outbound.state.assumingMemoryBound(to: State.self)
        state.pointee.cipher?.release()
        state.pointee.reference?.release()
        // Keys must not stay behind in freed memory.
        eraseMemory(outbound.state, blockLength(isCounterMode: state.pointee.isCounterMode))
        outbound.state.deallocate()
    }

    private func blockLength(isCounterMode: Bool) -> Int {
        #if arch(x86_64)
            if multiBuffer != nil { return Self.keyOffset + MultiBuffer.keyRoom(isCounterMode: isCounterMode) }
        #endif
        return Self.keyOffset
    }

    // MARK: - RTP

    /// Protects one RTP packet. No allocation, no reference counting.
    ///
    /// - Parameters:
    ///   - packet: room for header, payload and tag; holds `headerLength` bytes of header (CSRCs and extensions
    ///     included) already.
    ///   - payload: what to encrypt; may be `packet + headerLength` itself, else must not overlap it.
    ///   - packetIndex: 48 bits, roll-over counter and sequence number.
    /// - Returns: the length with tag, known at once, while the bytes are final only after `flush()`; 0 on failure.
    @inline(__always)
    package func protectRTP(
        _ outbound: SRTPOutbound, packet: UnsafeMutableRawPointer, headerLength: Int, payload: UnsafeRawPointer,
        payloadLength: Int, ssrc: UInt32, packetIndex: UInt64
    ) -> Int {
        let state = outbound.state.assumingMemoryBound(to: State.self)
        let destination = packet + headerLength
        #if arch(x86_64)
            if let core {
                let keys = outbound.state + Self.keyOffset
                if state.pointee.isCounterMode {
                    core.pointee.submitCounterMode(
                        room: keys, packet: packet, headerLength: headerLength, payload: payload,
                        payloadLength: payloadLength, salt: state.pointee.rtpSalt, ssrc: ssrc, index: packetIndex)
                    return headerLength + payloadLength + 10
                }
                if state.pointee.isClear { return pass(payload, payloadLength, to: destination) + headerLength }
                state.pointee.rtpSalt.writeAEADNonce(scratch, ssrc: ssrc, index: packetIndex)
                core.pointee.gcm(
                    room: keys, is256: state.pointee.is256, decrypt: false,
                    nonce: scratch, aad: packet, aadLength: headerLength, source: payload, destination: destination,
                    length: payloadLength, tag: destination + payloadLength)
                return headerLength + payloadLength + 16
            }
        #endif
        return protectRTPSlowly(
            state, packet: packet, headerLength: headerLength, payload: payload, payloadLength: payloadLength,
            ssrc: ssrc, packetIndex: packetIndex)
    }

    /// - Returns: the length.
    @inline(__always)
    private func pass(_ payload: UnsafeRawPointer, _ length: Int, to destination: UnsafeMutableRawPointer) -> Int {
        if payload != UnsafeRawPointer(destination) { destination.copyMemory(from: payload, byteCount: length) }
        return length
    }

    @inline(never)
    private func protectRTPSlowly(
        _ state: UnsafeMutablePointer<State>, packet: UnsafeMutableRawPointer, headerLength: Int,
        payload: UnsafeRawPointer, payloadLength: Int, ssrc: UInt32, packetIndex: UInt64
    ) -> Int {
        let destination = packet + headerLength
        if state.pointee.isClear { return pass(payload, payloadLength, to: destination) + headerLength }
        if let reference = state.pointee.reference {
            if payload != UnsafeRawPointer(destination) {
                destination.copyMemory(from: payload, byteCount: payloadLength)
            }
            return reference._withUnsafeGuaranteedRef {
                $0.protectRTP(packet, length: headerLength + payloadLength)
            }
        }
        guard let cipher = state.pointee.cipher else { return 0 }
        return cipher._withUnsafeGuaranteedRef { cipher in
            let tag = destination + payloadLength
            guard state.pointee.isCounterMode else {
                state.pointee.rtpSalt.writeAEADNonce(scratch, ssrc: ssrc, index: packetIndex)
                let done = cipher.gcm(
                    nonce: scratch, aad: packet, aadLength: headerLength, source: payload, destination: destination,
                    length: payloadLength, tag: tag)
                return done ? headerLength + payloadLength + 16 : 0
            }
            state.pointee.rtpSalt.writeCounter(scratch, ssrc: ssrc, index: packetIndex)
            cipher.counter(scratch, source: payload, destination: destination, length: payloadLength)
            cipher.authenticate(
                packet, length: headerLength + payloadLength, then: UInt32(truncatingIfNeeded: packetIndex >> 16),
                into: scratch)
            tag.copyMemory(from: scratch, byteCount: 10)
            return headerLength + payloadLength + 10
        }
    }

    /// Finishes the packets that multi-buffer jobs still hold.
    @inline(__always)
    package func flush() {
        #if arch(x86_64)
            core?.pointee.flush()
        #endif
    }

    // MARK: - RTCP

    /// Protects a compound RTCP packet in place, at once, under the next index.
    /// - Returns: the new length; 0 when `capacity` is too small or the packet is shorter than a header.
    package func protectRTCP(_ outbound: SRTPOutbound, packet: UnsafeMutableRawPointer, length: Int, capacity: Int)
        -> Int
    {
        let state = outbound.state.assumingMemoryBound(to: State.self)
        let header = PacketLayout.rtcpHeaderLength
        guard length >= header, length + state.pointee.rtcpOverhead <= capacity else { return 0 }
        if state.pointee.isClear { return length }
        if let reference = state.pointee.reference {
            return reference._withUnsafeGuaranteedRef { $0.protectRTCP(packet, length: length) }
        }
        state.pointee.rtcpIndex = (state.pointee.rtcpIndex + 1) & SRTPLimits.maxRTCPIndex
        let index = state.pointee.rtcpIndex
        let word = index | 0x8000_0000
        let ssrc = PacketLayout.bigEndian32(packet + 4)
        let body = packet + header
        let key = outbound.state + Self.rtcpKeyOffset
        if state.pointee.isCounterMode {
            guard
                rtcpCounter(
                    key: key, salt: state.pointee.rtcpSalt, ssrc: ssrc, index: UInt64(index), body: body,
                    length: length - header)
            else { return 0 }
            PacketLayout.store32(word, at: packet + length)
            HMACSHA1.authenticate(
                outbound.state + Self.rtcpMACOffset, packet, length: length + 4, then: nil, into: scratch)
            (packet + length + 4).copyMemory(from: scratch, byteCount: 10)
            return length + 14
        }
        // RFC 7714 §9.2: header and index word are authenticated, the word travels behind the tag.
        state.pointee.rtcpSalt.writeAEADNonce(scratch, ssrc: ssrc, index: UInt64(index))
        let aad = scratch + 32
        aad.copyMemory(from: packet, byteCount: header)
        PacketLayout.store32(word, at: aad + header)
        let tag = packet + length
        let done = rtcpGCM(
            key: key, is256: state.pointee.is256, encrypt: true, nonce: scratch, aad: aad, aadLength: header + 4,
            body: body, length: length - header, tag: tag)
        PacketLayout.store32(word, at: tag + 16)
        return done ? length + 20 : 0
    }
}
