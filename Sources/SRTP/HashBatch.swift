#if arch(x86_64)
    import CIPsecMB
    import Wire

    /// Messages whose HMAC-SHA1 is wanted, in plain memory.
    struct HashBatch: BitwiseCopyable {
        /// As many as the library takes in one burst.
        static let capacity = Int(IMB_MAX_BURST_SIZE)
        private static let digestStride = 32

        struct Request: BitwiseCopyable {
            let bytes: UnsafeMutableRawPointer
            let length: Int
            /// States of HMAC-SHA1 (`HMACSHA1.stateLength` bytes).
            let states: UnsafeRawPointer
        }
        fileprivate let requests: UnsafeMutablePointer<Request>
        private let digests: UnsafeMutableRawPointer
        private(set) var count = 0
        /// Whether all messages take the same number of hash blocks.
        fileprivate var isUniform = true

        init() {
            requests = .allocate(capacity: Self.capacity)
            digests = .allocate(byteCount: Self.capacity * Self.digestStride, alignment: 64)
        }

        func destroy() {
            requests.deallocate()
            digests.deallocate()
        }

        var isEmpty: Bool { count == 0 }
        var isFull: Bool { count == Self.capacity }

        /// Call only when not full. Bytes and states must stay in place until the batch has been run.
        @inline(__always)
        mutating func append(_ bytes: UnsafeMutableRawPointer, length: Int, states: UnsafeRawPointer) {
            requests[count] = Request(bytes: bytes, length: length, states: states)
            if count > 0, Self.blocks(length) != Self.blocks(requests[0].length) { isUniform = false }
            count += 1
        }

        @inline(__always)
        mutating func removeAll() {
            count = 0
            isUniform = true
        }

        /// 20 bytes; meaningful after the batch has been run.
        @inline(__always)
        func digest(_ i: Int) -> UnsafeMutableRawPointer { digests + i * Self.digestStride }

        /// Address behind the message.
        @inline(__always)
        func end(of i: Int) -> UnsafeMutableRawPointer { requests[i].bytes + requests[i].length }

        /// Blocks of SHA-1: the message, one byte and its length in bits (8 bytes).
        @inline(__always)
        fileprivate static func blocks(_ length: Int) -> Int { (length + 9 + 63) / 64 }
    }

    /// Computes the HMACs of batches, many messages side by side.
    struct HashRunner {
        private let manager: UnsafeMutablePointer<IMB_MGR>
        private let burst: submit_hash_burst_t
        /// SHA extensions, two messages side by side: for the few messages that would leave most of the wide lanes
        /// idle. `nil` where `manager` does that itself or the processor has no such instructions.
        private let tailManager: UnsafeMutablePointer<IMB_MGR>?
        private let tailBurst: submit_hash_burst_t
        private let lanes: Int
        /// Up to so many messages the SHA extensions are faster than one round of all lanes.
        private let tailLimit: Int
        private let jobs: UnsafeMutablePointer<IMB_JOB>
        private let order: UnsafeMutablePointer<UInt8>
        private let places: UnsafeMutablePointer<UInt8>
        /// Longer messages (3 KiB) are sorted as if they had this many blocks.
        private static let maxBlocks = 48
        // Measured on Zen 4, 1,200 bytes: 16 lanes of AVX-512 take 3.35 µs however few are in use, 8 lanes of AVX2
        // 2.6 µs, the SHA extensions 0.42 µs a message.
        private static let tailLimit512 = 7
        private static let tailLimit256 = 5

        /// - Parameter manager: stays the caller's; ready for use.
        init?(manager: UnsafeMutablePointer<IMB_MGR>, architecture: IMB_ARCH) {
            guard let burst = manager.pointee.submit_hash_burst_nocheck else { return nil }
            var limit = 0
            switch architecture {
            case IMB_ARCH_AVX512: (lanes, limit) = (16, Self.tailLimit512)
            case IMB_ARCH_AVX2: (lanes, limit) = (8, Self.tailLimit256)
            default: lanes = 1
            }
            var tail: UnsafeMutablePointer<IMB_MGR>?
            if limit > 0, manager.pointee.features & UInt64(IMB_FEATURE_SHANI) != 0, let made = alloc_mb_mgr(0) {
                init_mb_mgr_sse(made)
                tail = made
            }
            self.manager = manager
            self.burst = burst
            tailManager = tail
            tailBurst = tail?.pointee.submit_hash_burst_nocheck ?? burst
            tailLimit = tail == nil ? 0 : limit
            jobs = .allocate(capacity: HashBatch.capacity)
            jobs.initialize(repeating: IMB_JOB(), count: HashBatch.capacity)
            for i in 0..<HashBatch.capacity {
                jobs[i].cipher_mode = IMB_CIPHER_NULL
                jobs[i].chain_order = IMB_ORDER_HASH_CIPHER
                jobs[i].hash_alg = IMB_AUTH_HMAC_SHA_1
                jobs[i].auth_tag_output_len_in_bytes = UInt64(HMACSHA1.digestLength)
            }
            order = .allocate(capacity: HashBatch.capacity)
            places = .allocate(capacity: Self.maxBlocks + 2)
        }

        func destroy() {
            if let tailManager { free_mb_mgr(tailManager) }
            jobs.deallocate()
            order.deallocate()
            places.deallocate()
        }

        /// Computes all digests.
        /// - Returns: `false` when the library refused; digests are meaningless then.
        func run(_ batch: inout HashBatch) -> Bool {
            let count = batch.count
            if batch.isUniform {
                for i in 0..<count { fill(jobs + i, batch, i) }
            } else {
                sort(batch)
                for i in 0..<count { fill(jobs + i, batch, Int(order[i])) }
            }
            let rest = count & (lanes - 1)
            let tail = rest <= tailLimit ? rest : 0
            var done = 0
            if count > tail { done = Int(burst(manager, jobs, UInt32(count - tail), IMB_AUTH_HMAC_SHA_1)) }
            if tail > 0, let tailManager {
                done += Int(tailBurst(tailManager, jobs + count - tail, UInt32(tail), IMB_AUTH_HMAC_SHA_1))
            }
            return done == count
        }

        @inline(__always)
        private func fill(_ job: UnsafeMutablePointer<IMB_JOB>, _ batch: HashBatch, _ i: Int) {
            let request = batch.requests + i
            job.pointee.src = UnsafePointer(request.pointee.bytes.assumingMemoryBound(to: UInt8.self))
            job.pointee.msg_len_to_hash_in_bytes = UInt64(request.pointee.length)
            job.pointee.auth_tag_output = batch.digest(i).assumingMemoryBound(to: UInt8.self)
            let states = request.pointee.states.assumingMemoryBound(to: UInt8.self)
            job.pointee.u.HMAC._hashed_auth_key_xor_ipad = states
            job.pointee.u.HMAC._hashed_auth_key_xor_opad = states + HMACSHA1.outerOffset
        }

        /// Longest first: lanes that hold messages of the same length end together, and the short ones come last,
        /// when lanes fall idle. A fifth less time for a mix of video and audio.
        private func sort(_ batch: HashBatch) {
            places.initialize(repeating: 0, count: Self.maxBlocks + 2)
            for i in 0..<batch.count { places[rank(batch, i) + 1] += 1 }
            for rank in 1...Self.maxBlocks { places[rank] += places[rank - 1] }
            for i in 0..<batch.count {
                let rank = rank(batch, i)
                order[Int(places[rank])] = UInt8(truncatingIfNeeded: i)
                places[rank] += 1
            }
        }

        @inline(__always)
        private func rank(_ batch: HashBatch, _ i: Int) -> Int {
            Self.maxBlocks - min(HashBatch.blocks(batch.requests[i].length), Self.maxBlocks)
        }
    }
#endif
