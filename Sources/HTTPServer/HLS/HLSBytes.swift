import CZlib
import HLS
import NIOCore
import Synchronization

/// Bytes of HLS in the form in which NIO sends them: copied once when they are made, then shared by all responses.
package final class HLSBytes: StoredBytes {
    /// Playlists are some KiB of much the same text: level 5 takes half a tenth of a millisecond and finds nearly all.
    private static let level: Int32 = 5

    let buffer: ByteBuffer
    /// Made at the first request that takes gzip.
    private let compressed = Mutex<ByteBuffer?>(nil)
    /// For connections that can send from it; see `HLSMemoryFiles`.
    let memoryFile = Mutex(HLSMemoryFile.Place())

    package init(_ bytes: [UInt8]) { buffer = ByteBuffer(bytes: bytes) }

    package var count: Int { buffer.readableBytes }
    package var bytes: [UInt8] { Array(buffer.readableBytesView) }

    /// Nil when memory is short.
    var gzip: ByteBuffer? {
        compressed.withLock { compressed in
            if compressed == nil { compressed = Self.compress(buffer) }
            return compressed
        }
    }

    private static func compress(_ buffer: ByteBuffer) -> ByteBuffer? {
        let room = weir_gzip_bound(buffer.readableBytes)
        var out = ByteBufferAllocator().buffer(capacity: room)
        let length = buffer.withUnsafeReadableBytes { source in
            out.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { target in
                guard let from = source.baseAddress, let to = target.baseAddress else { return 0 }
                return weir_gzip(
                    from.assumingMemoryBound(to: UInt8.self), source.count, to.assumingMemoryBound(to: UInt8.self),
                    target.count, level)
            }
        }
        return length > 0 ? out : nil
    }
}

extension HLSBytes {
    /// The bytes as they are kept, or a copy of others.
    static func of(_ bytes: any StoredBytes) -> HLSBytes { bytes as? HLSBytes ?? HLSBytes(bytes.bytes) }
}
