import CFiles
import Glibc
import NIOCore
import Synchronization

/// A part or a segment in a file of the kernel's memory, behind the head of its answer: `sendfile` gives a viewer both by one
/// system call, and no bytes are copied.
final class HLSMemoryFile: Sendable {
    /// Where `HLSBytes` has its file.
    struct Place {
        var file: HLSMemoryFile?
        fileprivate var requests = 0
        /// It had one, and others needed the room.
        fileprivate var isRefused = false
    }

    /// Of the answer that the head is of.
    let name: String
    let headLength: Int
    let count: Int
    let made: NIODeadline
    private let descriptor: CInt
    /// By event loop: one handle must not be used by two at a time.
    private let handles = Mutex<[ObjectIdentifier: NIOFileHandle]>([:])

    /// Nil when memory or descriptors are short.
    fileprivate init?(name: String, head: ByteBuffer, body: ByteBuffer, now: NIODeadline) {
        descriptor = weir_memory_file("weir-hls")
        guard descriptor >= 0 else { return nil }
        self.name = name
        (headLength, count, made) = (head.readableBytes, body.readableBytes, now)
        guard write(head), write(body) else {
            close(descriptor)
            return nil
        }
    }

    deinit {
        for handle in handles.withLock({ $0.values }) { _ = try? handle.takeDescriptorOwnership() }
        close(descriptor)
    }

    private func write(_ buffer: ByteBuffer) -> Bool {
        buffer.withUnsafeReadableBytes { bytes in
            var bytes = bytes
            while !bytes.isEmpty {
                let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return false }
                bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
            }
            return true
        }
    }

    /// - Parameter range: counted from the first byte of the head. The file must be kept until it has been sent.
    func region(_ range: Range<Int>, on loop: any EventLoop) -> FileRegion {
        let handle = handles.withLock { handles in
            if let handle = handles[ObjectIdentifier(loop)] { return handle }
            let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: descriptor)
            handles[ObjectIdentifier(loop)] = handle
            return handle
        }
        return FileRegion(fileHandle: handle, readerIndex: range.lowerBound, endIndex: range.upperBound)
    }
}

/// Gives what several viewers ask for a memory file, and takes it from the oldest when there are too many.
final class HLSMemoryFiles: Sendable {
    /// What is smaller is copied faster than a page is mapped.
    static let leastBytes = 16_384
    private static let maxFiles = 1_024
    private static let maxBytes = 128 << 20
    /// One viewer's copy costs less than a file.
    private static let leastRequests = 2

    private struct Entry {
        weak var bytes: HLSBytes?
        let count: Int
    }

    private struct State {
        /// Oldest first. What is gone by itself stays until its turn.
        var entries = CircularBuffer<Entry>()
        var count = 0
    }

    private let state = Mutex(State())

    /// The file of these bytes, from their second request on.
    ///
    /// - Parameter head: of the answer of that name, if a file is made.
    func file(of bytes: HLSBytes, name: String, now: NIODeadline, head: () -> ByteBuffer) -> HLSMemoryFile? {
        guard bytes.count >= Self.leastBytes else { return nil }
        var isNew = false
        let file = bytes.memoryFile.withLock { place -> HLSMemoryFile? in
            if let file = place.file { return file }
            place.requests += 1
            guard !place.isRefused, place.requests >= Self.leastRequests else { return nil }
            place.file = HLSMemoryFile(name: name, head: head(), body: bytes.buffer, now: now)
            isNew = place.file != nil
            place.isRefused = !isNew
            return place.file
        }
        if isNew { add(bytes) }
        return file
    }

    private func add(_ bytes: HLSBytes) {
        var taken: [Entry] = []
        state.withLock { state in
            state.entries.append(Entry(bytes: bytes, count: bytes.count))
            state.count += bytes.count
            while state.entries.count > Self.maxFiles || state.count > Self.maxBytes,
                let oldest = state.entries.popFirst()
            {
                state.count -= oldest.count
                taken.append(oldest)
            }
        }
        for entry in taken {
            entry.bytes?.memoryFile.withLock { place in
                place.file = nil
                place.isRefused = true
            }
        }
    }
}
