import COpenSSL

/// A BIO over queues of datagrams: OpenSSL's memory BIO runs neighbouring datagrams together.
@safe package final class DatagramQueue {
    package var incoming: [[UInt8]] = []
    package var outgoing: [[UInt8]] = []

    package init() {}

    // Made once, never changed.
    nonisolated(unsafe) private static let method: OpaquePointer? = {
        guard let method = unsafe BIO_meth_new(weir_bio_type(), "datagram queue") else { return nil }
        unsafe BIO_meth_set_create(method) { bio in
            unsafe BIO_set_init(bio, 1)
            return 1
        }
        unsafe BIO_meth_set_read(method) { bio, out, length in
            guard let bio = unsafe bio, let out = unsafe out, let queue = unsafe DatagramQueue.of(bio) else {
                return -1
            }
            unsafe weir_bio_clear_retry(bio)
            guard !queue.incoming.isEmpty else {
                unsafe weir_bio_retry_read(bio)
                return -1
            }
            let datagram = queue.incoming.removeFirst()
            let count = min(datagram.count, Int(length))
            unsafe datagram.withUnsafeBytes { source in
                guard let base = source.baseAddress else { return }
                unsafe UnsafeMutableRawPointer(out).copyMemory(from: base, byteCount: count)
            }
            return CInt(count)
        }
        unsafe BIO_meth_set_write(method) { bio, bytes, length in
            guard let bio = unsafe bio, let bytes = unsafe bytes, let queue = unsafe DatagramQueue.of(bio) else {
                return -1
            }
            queue.outgoing.append(unsafe [UInt8](UnsafeRawBufferPointer(start: bytes, count: Int(length))))
            return length
        }
        unsafe BIO_meth_set_ctrl(method) { _, command, _, _ in
            command == CInt(WEIR_BIO_FLUSH) ? 1 : 0
        }
        return unsafe method
    }()

    private static func of(_ bio: OpaquePointer) -> DatagramQueue? {
        guard let data = unsafe BIO_get_data(bio) else { return nil }
        return unsafe Unmanaged<DatagramQueue>.fromOpaque(data).takeUnretainedValue()
    }

    /// The BIO does not own the queue: its maker keeps both alive.
    package func makeBIO() -> OpaquePointer? {
        guard let method = unsafe Self.method, let bio = unsafe BIO_new(method) else { return nil }
        unsafe BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        return unsafe bio
    }
}
