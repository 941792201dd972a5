import Wire

/// One finished packet of a batch, plain data.
package struct SRTPUnprotected: BitwiseCopyable {
    /// As submitted.
    package let packet: UnsafeMutableRawPointer
    package let userData: UInt64
    package fileprivate(set) var result: SRTPResult
}

extension SRTPLimits {
    /// Packets in one batch.
    package static let maxUnprotectBatch = 256
    /// Packets this near the highest index are queued: even when all before them in the batch turn out to be
    /// authentic, which moves the highest index by as much, their own index remains the one that was estimated.
    static let maxQueuedDistance: Int64 = 0x3fff
}

/// Packets that were submitted and not yet handed back: plain memory, made at the first submission.
struct UnprotectBatch {
    /// An AES-CM packet whose HMAC is in `hashes`, at the same position.
    private struct Pending: BitwiseCopyable {
        let state: UnsafeMutablePointer<SRTPInbound.State>
        let index: UInt64
        let ssrc: UInt32
        let source: Int32
        let slot: Int32
        let header: Int32
        let plain: Int32
        let tagStart: UInt64
        let tagEnd: UInt16
    }
    private static let capacity = SRTPLimits.maxUnprotectBatch
    private let results: UnsafeMutablePointer<SRTPUnprotected>
    private var count = 0
    #if arch(x86_64)
        private let core: UnsafeMutablePointer<MultiBuffer.Core>?
        private let pending: UnsafeMutablePointer<Pending>
        private var hashes = HashBatch()

        init(core: UnsafeMutablePointer<MultiBuffer.Core>?) {
            self.core = core
            results = .allocate(capacity: Self.capacity)
            pending = .allocate(capacity: HashBatch.capacity)
        }

        func destroy() {
            results.deallocate()
            pending.deallocate()
            hashes.destroy()
        }
    #else
        init() { results = .allocate(capacity: Self.capacity) }
        func destroy() { results.deallocate() }
    #endif

    @inline(__always) var isFull: Bool { count == Self.capacity }

    @inline(__always)
    mutating func append(_ packet: UnsafeMutableRawPointer, userData: UInt64, result: SRTPResult) {
        (results + count).initialize(to: SRTPUnprotected(packet: packet, userData: userData, result: result))
        count += 1
    }

    /// Hands everything back that is in the batch.
    mutating func complete() -> UnsafeBufferPointer<SRTPUnprotected> {
        finish()
        defer { count = 0 }
        return UnsafeBufferPointer(start: results, count: count)
    }

    #if arch(x86_64)
        /// Queues a packet of a known source.
        @inline(__always)
        mutating func queue(
            _ packet: UnsafeMutableRawPointer, userData: UInt64, header: Int, plain: Int, ssrc: UInt32, source: Int,
            index: UInt64, state: UnsafeMutablePointer<SRTPInbound.State>, mac: UnsafeRawPointer
        ) {
            if hashes.isFull { finish() }
            let tag = packet + plain
            (pending + hashes.count).initialize(
                to: Pending(
                    state: state, index: index, ssrc: ssrc, source: Int32(source), slot: Int32(count),
                    header: Int32(header), plain: Int32(plain), tagStart: tag.loadUnaligned(as: UInt64.self),
                    tagEnd: tag.loadUnaligned(fromByteOffset: 8, as: UInt16.self)))
            // RFC 3711 §4.2: the roll-over counter is authenticated behind the packet. Its tag is kept above.
            PacketLayout.store32(UInt32(truncatingIfNeeded: index >> 16), at: tag)
            hashes.append(packet, length: plain + 4, states: mac)
            state.pointee.pending += 1
            append(packet, userData: userData, result: .authenticationFailed)
        }
    #endif

    /// Authenticates, decrypts and judges what is queued, in the order of submission.
    @inline(never)
    mutating func finish() {
        #if arch(x86_64)
            guard !hashes.isEmpty, let core else { return }
            let isHashed = core.pointee.hasher.pointee.run(&hashes)
            for i in 0..<hashes.count {
                let packet = pending + i
                let state = packet.pointee.state
                state.pointee.pending -= 1
                let window = state.pointee.rtp.window(Int(packet.pointee.source))
                let result = results + Int(packet.pointee.slot)
                let digest = hashes.digest(i)
                let difference =
                    digest.load(as: UInt64.self) ^ packet.pointee.tagStart
                    | UInt64(digest.load(fromByteOffset: 8, as: UInt16.self) ^ packet.pointee.tagEnd)
                guard window.pointee.isFresh(packet.pointee.index) else {
                    result.pointee.result = .replayed
                    continue
                }
                guard isHashed, difference == 0, let room = state.pointee.room else { continue }
                let body = result.pointee.packet + Int(packet.pointee.header)
                core.pointee.counter(
                    keys: room, salt: state.pointee.rtpSalt, ssrc: packet.pointee.ssrc, index: packet.pointee.index,
                    source: body, destination: body, length: Int(packet.pointee.plain - packet.pointee.header))
                window.pointee.accept(packet.pointee.index)
                result.pointee.result = .ok(length: Int(packet.pointee.plain))
            }
            hashes.removeAll()
        #endif
    }
}

extension SRTPInbound {
    /// Queues an RTP packet for `SRTPMachine.completeUnprotected`, which is much cheaper a packet than `unprotectRTP`
    /// for AES-CM. The outcome is the same as that of `unprotectRTP` on all packets one by one in this order.
    /// No allocation and no reference counting per packet.
    ///
    /// - Parameters:
    ///   - packet: all of its bytes must stay in place until the batch is complete.
    ///   - userData: handed back with the result.
    /// - Returns: `false` when the batch is full (`SRTPLimits.maxUnprotectBatch`): nothing has been done then.
    package func submitUnprotectRTP(_ packet: UnsafeMutableRawPointer, length: Int, userData: UInt64) -> Bool {
        let batch = machine.unprotectBatch ?? machine.makeUnprotectBatch()
        guard !batch.pointee.isFull else { return false }
        #if arch(x86_64)
            let state = self.state
            if let core = machine.core, state.pointee.isCounterMode {
                let plain = length - state.pointee.rtpTagLength
                guard plain >= 12, let header = PacketLayout.rtpHeaderLength(packet, length: plain) else {
                    batch.pointee.append(packet, userData: userData, result: .malformed)
                    return true
                }
                let ssrc = PacketLayout.bigEndian32(packet + 8)
                let sequence = PacketLayout.bigEndian16(packet + 2)
                if let source = state.pointee.rtp.find(ssrc) {
                    let window = state.pointee.rtp.window(source)
                    if abs(window.pointee.distance(sequence)) <= SRTPLimits.maxQueuedDistance {
                        guard let index = window.pointee.estimate(sequence), window.pointee.isFresh(index) else {
                            batch.pointee.append(packet, userData: userData, result: .replayed)
                            return true
                        }
                        _ = expandedKey(core)
                        batch.pointee.queue(
                            packet, userData: userData, header: header, plain: plain, ssrc: ssrc, source: source,
                            index: index, state: state, mac: block + Self.rtpMACOffset)
                        return true
                    }
                }
            }
        #endif
        let result = unprotectRTP(packet, length: length)
        batch.pointee.append(packet, userData: userData, result: result)
        return true
    }
}

extension SRTPMachine {
    /// Finishes the submitted packets of all inbounds of this machine and empties the batch.
    /// - Returns: results in the order of submission, valid until the next submission; empty when there was none.
    package func completeUnprotected() -> UnsafeBufferPointer<SRTPUnprotected> {
        unprotectBatch?.pointee.complete() ?? UnsafeBufferPointer(start: nil, count: 0)
    }

    func finishPendingUnprotects() { unprotectBatch?.pointee.finish() }

    @inline(never)
    func makeUnprotectBatch() -> UnsafeMutablePointer<UnprotectBatch> {
        let made = UnsafeMutablePointer<UnprotectBatch>.allocate(capacity: 1)
        #if arch(x86_64)
            made.initialize(to: UnprotectBatch(core: core))
        #else
            made.initialize(to: UnprotectBatch())
        #endif
        unprotectBatch = made
        return made
    }
}
