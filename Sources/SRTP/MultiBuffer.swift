#if arch(x86_64)
    import CIPsecMB
    import Wire

    /// ipsec-mb for one thread: direct AES-GCM and AES-CTR calls, and HMAC-SHA1 of many packets at a time (one
    /// packet's hash is a chain that leaves most of the core idle).
    final class MultiBuffer {
        /// Room for one peer's key of outgoing RTP and, in counter mode, its HMAC states.
        static func keyRoom(isCounterMode: Bool) -> Int {
            isCounterMode ? macOffset + HMACSHA1.stateLength : gcmStride
        }
        /// Room for one AES-GCM key.
        static let gcmStride = (MemoryLayout<gcm_key_data>.size + 63) & ~63
        /// Room for the round keys of AES-128 in counter mode.
        static let counterRoom = 11 * 16
        /// AES-CM in an outbound room: round keys, then the states of HMAC-SHA1.
        fileprivate static let macOffset = counterRoom

        static let isSupported: Bool = {
            guard let manager = alloc_mb_mgr(0) else { return false }
            defer { free_mb_mgr(manager) }
            var architecture = IMB_ARCH_NONE
            init_mb_mgr_auto(manager, &architecture)
            return imb_get_errno(manager) == 0 && architecture != IMB_ARCH_NONE && architecture != IMB_ARCH_NOAESNI
        }()

        /// What the packet path uses, as plain memory: no reference is counted there.
        struct Core {
            let gcm128Encrypt: aes_gcm_enc_dec_t
            let gcm256Encrypt: aes_gcm_enc_dec_t
            let gcm128Decrypt: aes_gcm_enc_dec_t
            let gcm256Decrypt: aes_gcm_enc_dec_t
            let gcm128Expand: aes_gcm_pre_t
            let gcm256Expand: aes_gcm_pre_t
            let counterExpand: keyexp_t
            let cipherBurst: submit_cipher_burst_t
            let context: UnsafeMutablePointer<gcm_context_data>
            let manager: UnsafeMutablePointer<IMB_MGR>
            /// The one job of a direct AES-CTR call; what never changes is filled in.
            let cipherJob: UnsafeMutablePointer<IMB_JOB>
            /// 16 bytes for a counter block, then a key that is used once (`gcmStride`).
            let scratch: UnsafeMutableRawPointer
            let hasher: UnsafeMutablePointer<HashRunner>
            /// Tags of packets that go out.
            var outgoing: HashBatch
        }
        let core: UnsafeMutablePointer<Core>
        fileprivate static let onceOffset = 64
        fileprivate static let decryptionKeys = 15 * 16

        init() throws(SRTPError) {
            guard Self.isSupported, let manager = alloc_mb_mgr(0) else {
                throw .backendUnavailable(SRTPBackendKind.ipsecMB.rawValue)
            }
            var architecture = IMB_ARCH_NONE
            init_mb_mgr_auto(manager, &architecture)
            guard let e128 = manager.pointee.gcm128_enc, let e256 = manager.pointee.gcm256_enc,
                let d128 = manager.pointee.gcm128_dec, let d256 = manager.pointee.gcm256_dec,
                let p128 = manager.pointee.gcm128_pre, let p256 = manager.pointee.gcm256_pre,
                let expand = manager.pointee.keyexp_128, let burst = manager.pointee.submit_cipher_burst_nocheck,
                let runner = HashRunner(manager: manager, architecture: architecture)
            else {
                free_mb_mgr(manager)
                throw .backendUnavailable(SRTPBackendKind.ipsecMB.rawValue)
            }
            let hasher = UnsafeMutablePointer<HashRunner>.allocate(capacity: 1)
            hasher.initialize(to: runner)
            let job = UnsafeMutablePointer<IMB_JOB>.allocate(capacity: 1)
            job.initialize(to: IMB_JOB())
            job.pointee.cipher_mode = IMB_CIPHER_CNTR
            job.pointee.cipher_direction = IMB_DIR_ENCRYPT
            job.pointee.key_len_in_bytes = 16
            job.pointee.iv_len_in_bytes = 16
            let scratch = UnsafeMutableRawPointer.allocate(
                byteCount: Self.onceOffset + Self.gcmStride + Self.decryptionKeys, alignment: 64)
            job.pointee.iv = UnsafePointer(scratch.assumingMemoryBound(to: UInt8.self))
            core = .allocate(capacity: 1)
            core.initialize(
                to: Core(
                    gcm128Encrypt: e128, gcm256Encrypt: e256, gcm128Decrypt: d128, gcm256Decrypt: d256,
                    gcm128Expand: p128, gcm256Expand: p256, counterExpand: expand, cipherBurst: burst,
                    context: .allocate(capacity: 1), manager: manager, cipherJob: job, scratch: scratch,
                    hasher: hasher, outgoing: HashBatch()))
        }

        deinit {
            free_mb_mgr(core.pointee.manager)
            core.pointee.hasher.pointee.destroy()
            core.pointee.hasher.deallocate()
            core.pointee.outgoing.destroy()
            core.pointee.context.deallocate()
            core.pointee.cipherJob.deallocate()
            eraseMemory(core.pointee.scratch, Self.onceOffset + Self.gcmStride + Self.decryptionKeys)
            core.pointee.scratch.deallocate()
            core.deallocate()
        }

        // MARK: - Keys

        /// Expands the RTP keys into `room` (`keyRoom` bytes, 64-byte aligned).
        func expand(_ keys: SessionKeys, into room: UnsafeMutableRawPointer) {
            if keys.profile == .aes128CMHMACSHA1_80 {
                core.pointee.expandCounter(keys.rtpKey, into: room)
                HMACSHA1.expand(keys.rtpAuth, into: room + Self.macOffset)
            } else {
                core.pointee.expandGCM(keys.rtpKey, is256: keys.profile == .aeadAES256GCM, into: room)
            }
        }

        @inline(__always)
        fileprivate static func gcmKey(_ p: UnsafeMutableRawPointer) -> UnsafeMutablePointer<gcm_key_data> {
            p.assumingMemoryBound(to: gcm_key_data.self)
        }
    }

    extension MultiBuffer.Core {
        // MARK: - Keys

        /// - Parameters:
        ///   - key: 16 or 32 bytes.
        ///   - room: `gcmStride` bytes, 64-byte aligned.
        func expandGCM(_ key: UnsafeRawPointer, is256: Bool, into room: UnsafeMutableRawPointer) {
            (is256 ? gcm256Expand : gcm128Expand)(key, MultiBuffer.gcmKey(room))
        }

        /// - Parameters:
        ///   - key: 16 bytes.
        ///   - room: `counterRoom` bytes, 16-byte aligned.
        func expandCounter(_ key: UnsafeRawPointer, into room: UnsafeMutableRawPointer) {
            // Counter mode only encrypts; the library insists on making both.
            let unused = onceRoom + MultiBuffer.gcmStride
            counterExpand(key, room, unused)
            eraseMemory(unused, MultiBuffer.decryptionKeys)
        }

        /// Room for a key that one packet needs and no other: RTCP's, which is rare.
        var onceRoom: UnsafeMutableRawPointer { scratch + MultiBuffer.onceOffset }

        // MARK: - AES-GCM

        /// Encrypts, or decrypts and computes the tag: comparing it is the caller's part.
        @inline(__always)
        func gcm(
            room: UnsafeMutableRawPointer, is256: Bool, decrypt: Bool, nonce: UnsafeRawPointer, aad: UnsafeRawPointer,
            aadLength: Int, source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, length: Int,
            tag: UnsafeMutableRawPointer
        ) {
            let key = MultiBuffer.gcmKey(room)
            let work = decrypt ? (is256 ? gcm256Decrypt : gcm128Decrypt) : is256 ? gcm256Encrypt : gcm128Encrypt
            work(
                key, context, destination.assumingMemoryBound(to: UInt8.self),
                source.assumingMemoryBound(to: UInt8.self), UInt64(length), nonce.assumingMemoryBound(to: UInt8.self),
                aad.assumingMemoryBound(to: UInt8.self), UInt64(aadLength), tag.assumingMemoryBound(to: UInt8.self), 16)
        }

        // MARK: - AES-CM and HMAC-SHA1

        /// AES-128 in counter mode, at once, in either direction; `source` may be `destination`.
        @inline(__always)
        func counter(
            keys: UnsafeRawPointer, salt: Salt, ssrc: UInt32, index: UInt64, source: UnsafeRawPointer,
            destination: UnsafeMutableRawPointer, length: Int
        ) {
            guard length > 0 else { return }
            salt.writeCounter(scratch, ssrc: ssrc, index: index)
            cipherJob.pointee.enc_keys = keys
            cipherJob.pointee.src = source.assumingMemoryBound(to: UInt8.self)
            cipherJob.pointee.dst = destination.assumingMemoryBound(to: UInt8.self)
            cipherJob.pointee.msg_len_to_cipher_in_bytes = UInt64(length)
            _ = cipherBurst(manager, cipherJob, 1, IMB_CIPHER_CNTR, IMB_DIR_ENCRYPT, IMB_KEY_128_BYTES)
        }

        /// Encrypts the payload at once and queues the packet for its tag. Behind the payload, the roll-over counter
        /// is written; the 10-byte tag overwrites it when the packet's batch is hashed, at the latest by `flush()`.
        @inline(__always)
        mutating func submitCounterMode(
            room: UnsafeMutableRawPointer, packet: UnsafeMutableRawPointer, headerLength: Int,
            payload: UnsafeRawPointer, payloadLength: Int, salt: Salt, ssrc: UInt32, index: UInt64
        ) {
            counter(
                keys: room, salt: salt, ssrc: ssrc, index: index, source: payload, destination: packet + headerLength,
                length: payloadLength)
            let length = headerLength + payloadLength
            PacketLayout.store32(UInt32(truncatingIfNeeded: index >> 16), at: packet + length)
            outgoing.append(packet, length: length + 4, states: room + MultiBuffer.macOffset)
            if outgoing.isFull { finishOutgoing() }
        }

        @inline(__always)
        mutating func flush() {
            if !outgoing.isEmpty { finishOutgoing() }
        }

        @inline(never)
        private mutating func finishOutgoing() {
            _ = hasher.pointee.run(&outgoing)
            for i in 0..<outgoing.count {
                let tag = outgoing.end(of: i) - 4
                tag.copyMemory(from: outgoing.digest(i), byteCount: 10)
            }
            outgoing.removeAll()
        }
    }
#endif
