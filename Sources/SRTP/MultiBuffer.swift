#if arch(x86_64)
    import CIPsecMB
    import Wire

    /// ipsec-mb for one thread: direct AES-GCM calls, and AES-CTR + HMAC-SHA1 as jobs that the library runs several
    /// at a time (HMAC-SHA1 of one packet is a chain that leaves most of the core idle).
    ///
    /// Bytes of jobs are final after `flush()`.
    final class MultiBuffer {
        /// Room for keys of either profile, RTP and RTCP, from a 64-byte aligned address.
        static let keyRoom = 2 * gcmStride
        fileprivate static let gcmStride = (MemoryLayout<gcm_key_data>.size + 63) & ~63
        // AES-CM: round keys (11 × 16), then the HMAC states after the inner and the outer pad.
        fileprivate static let innerOffset = 256
        fileprivate static let outerOffset = 320
        /// More than the library's queue holds, so that the scratch of a job outlives it.
        fileprivate static let jobSlots = 512
        fileprivate static let slotSize = 64
        fileprivate static let tagOffset = 16

        static let isSupported: Bool = {
            guard let manager = alloc_mb_mgr(0) else { return false }
            defer { free_mb_mgr(manager) }
            var architecture = IMB_ARCH_NONE
            init_mb_mgr_auto(manager, &architecture)
            return imb_get_errno(manager) == 0 && architecture != IMB_ARCH_NONE && architecture != IMB_ARCH_NOAESNI
        }()

        /// What the packet path uses, as plain memory: no reference is counted there.
        struct Core {
            let manager: UnsafeMutablePointer<IMB_MGR>
            let gcm128Encrypt: aes_gcm_enc_dec_t
            let gcm256Encrypt: aes_gcm_enc_dec_t
            let gcm128Decrypt: aes_gcm_enc_dec_t
            let gcm256Decrypt: aes_gcm_enc_dec_t
            let nextJob: get_next_job_t
            let submit: submit_job_t
            let flushJob: flush_job_t
            let context: UnsafeMutablePointer<gcm_context_data>
            let scratch: UnsafeMutableRawPointer
            var slot = 0
            var waiting = 0
        }
        let core: UnsafeMutablePointer<Core>
        private var manager: UnsafeMutablePointer<IMB_MGR> { core.pointee.manager }

        init() throws(SRTPError) {
            guard Self.isSupported, let manager = alloc_mb_mgr(0) else {
                throw .backendUnavailable(SRTPBackendKind.ipsecMB.rawValue)
            }
            init_mb_mgr_auto(manager, nil)
            guard let e128 = manager.pointee.gcm128_enc, let e256 = manager.pointee.gcm256_enc,
                let d128 = manager.pointee.gcm128_dec, let d256 = manager.pointee.gcm256_dec,
                let next = manager.pointee.get_next_job, let submit = manager.pointee.submit_job_nocheck,
                let flush = manager.pointee.flush_job
            else {
                free_mb_mgr(manager)
                throw .backendUnavailable(SRTPBackendKind.ipsecMB.rawValue)
            }
            core = .allocate(capacity: 1)
            core.initialize(
                to: Core(
                    manager: manager, gcm128Encrypt: e128, gcm256Encrypt: e256, gcm128Decrypt: d128,
                    gcm256Decrypt: d256, nextJob: next, submit: submit, flushJob: flush,
                    context: .allocate(capacity: 1),
                    scratch: .allocate(byteCount: Self.jobSlots * Self.slotSize, alignment: 64)))
        }

        deinit {
            free_mb_mgr(manager)
            core.pointee.context.deallocate()
            core.pointee.scratch.deallocate()
            core.deallocate()
        }

        // MARK: - Keys

        /// Expands the RTP keys and, for AES-GCM, the RTCP keys into `room` (`keyRoom` bytes, 64-byte aligned).
        func expand(_ keys: SessionKeys, into room: UnsafeMutableRawPointer) throws(SRTPError) {
            let pre = keys.profile == .aeadAES256GCM ? manager.pointee.gcm256_pre : manager.pointee.gcm128_pre
            guard let pre, let expand = manager.pointee.keyexp_128, let oneBlock = manager.pointee.sha1_one_block else {
                throw .library("ipsec-mb lacks a key function")
            }
            guard keys.profile == .aes128CMHMACSHA1_80 else {
                pre(keys.rtpKey, Self.gcmKey(room))
                pre(keys.rtcpKey, Self.gcmKey(room + Self.gcmStride))
                return
            }
            let decryption = UnsafeMutableRawPointer.allocate(byteCount: 16 * 15, alignment: 64)
            defer { decryption.deallocate() }
            expand(keys.rtpKey, room, decryption)
            for (pad, offset) in [(UInt8(0x36), Self.innerOffset), (UInt8(0x5c), Self.outerOffset)] {
                var block = [UInt8](repeating: pad, count: 64)
                for (i, byte) in keys.rtpAuth.prefix(64).enumerated() { block[i] ^= byte }
                oneBlock(block, room + offset)
            }
        }

        @inline(__always)
        fileprivate static func gcmKey(_ p: UnsafeMutableRawPointer) -> UnsafeMutablePointer<gcm_key_data> {
            p.assumingMemoryBound(to: gcm_key_data.self)
        }
    }

    extension MultiBuffer.Core {
        // MARK: - AES-GCM

        /// Encrypts, or decrypts and computes the tag: comparing it is the caller's part.
        @inline(__always)
        func gcm(
            room: UnsafeMutableRawPointer, isRTCP: Bool, is256: Bool, decrypt: Bool, nonce: UnsafeRawPointer,
            aad: UnsafeRawPointer, aadLength: Int, source: UnsafeRawPointer, destination: UnsafeMutableRawPointer,
            length: Int, tag: UnsafeMutableRawPointer
        ) {
            let function =
                decrypt ? (is256 ? gcm256Decrypt : gcm128Decrypt) : (is256 ? gcm256Encrypt : gcm128Encrypt)
            function(
                MultiBuffer.gcmKey(isRTCP ? room + MultiBuffer.gcmStride : room), context,
                destination.assumingMemoryBound(to: UInt8.self), source.assumingMemoryBound(to: UInt8.self),
                UInt64(length), nonce.assumingMemoryBound(to: UInt8.self), aad.assumingMemoryBound(to: UInt8.self),
                UInt64(aadLength), tag.assumingMemoryBound(to: UInt8.self), 16)
        }

        // MARK: - AES-CM with HMAC-SHA1

        /// Queues a packet whose plain payload and, behind it, roll-over counter (4 bytes) already lie in place. The
        /// 10-byte tag overwrites the counter when the job is done.
        @inline(__always)
        mutating func submitCounterMode(
            room: UnsafeMutableRawPointer, packet: UnsafeMutableRawPointer, headerLength: Int, payloadLength: Int,
            salt: Salt, ssrc: UInt32, index: UInt64
        ) {
            let own = scratch + slot * MultiBuffer.slotSize
            slot = (slot + 1) % MultiBuffer.jobSlots
            salt.writeCounter(own, ssrc: ssrc, index: index)
            guard let job = nextJob(manager) else { return }
            let bytes = packet.assumingMemoryBound(to: UInt8.self)
            job.pointee.cipher_mode = IMB_CIPHER_CNTR
            job.pointee.cipher_direction = IMB_DIR_ENCRYPT
            job.pointee.chain_order = IMB_ORDER_CIPHER_HASH
            job.pointee.hash_alg = IMB_AUTH_HMAC_SHA_1
            job.pointee.enc_keys = UnsafeRawPointer(room)
            job.pointee.dec_keys = UnsafeRawPointer(room)
            job.pointee.key_len_in_bytes = 16
            job.pointee.src = UnsafePointer(bytes)
            job.pointee.dst = bytes + headerLength
            job.pointee.cipher_start_src_offset_in_bytes = UInt64(headerLength)
            job.pointee.msg_len_to_cipher_in_bytes = UInt64(payloadLength)
            job.pointee.hash_start_src_offset_in_bytes = 0
            job.pointee.msg_len_to_hash_in_bytes = UInt64(headerLength + payloadLength + 4)
            job.pointee.iv = UnsafePointer(own.assumingMemoryBound(to: UInt8.self))
            job.pointee.iv_len_in_bytes = 16
            job.pointee.auth_tag_output = (own + MultiBuffer.tagOffset).assumingMemoryBound(to: UInt8.self)
            job.pointee.auth_tag_output_len_in_bytes = 20
            job.pointee.u.HMAC._hashed_auth_key_xor_ipad =
                UnsafePointer((room + MultiBuffer.innerOffset).assumingMemoryBound(to: UInt8.self))
            job.pointee.u.HMAC._hashed_auth_key_xor_opad =
                UnsafePointer((room + MultiBuffer.outerOffset).assumingMemoryBound(to: UInt8.self))
            job.pointee.user_data = UnsafeMutableRawPointer(bytes + headerLength + payloadLength)
            waiting += 1
            if let done = submit(manager) { complete(done) }
        }

        mutating func flush() {
            while waiting > 0 {
                guard let done = flushJob(manager) else {
                    waiting = 0
                    return
                }
                complete(done)
            }
        }

        @inline(__always)
        private mutating func complete(_ job: UnsafeMutablePointer<IMB_JOB>) {
            waiting -= 1
            guard let tag = job.pointee.auth_tag_output, let place = job.pointee.user_data else { return }
            place.copyMemory(from: tag, byteCount: 10)
        }
    }
#endif
