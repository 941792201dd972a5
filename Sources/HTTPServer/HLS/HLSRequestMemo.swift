import Glibc
import NIOCore

/// The last requests, read once: when a part is there, all viewers ask for the same in the same words.
struct HLSRequestMemo {
    private static let most = 8
    private static let maxBytes = 1_024

    private struct Known {
        let head: [UInt8]
        let request: HLSRequest
    }

    private var known: [Known] = []
    /// The oldest.
    private var next = 0

    /// - Returns: The request that the bytes begin with, and the length of its head; nil if it has to be read.
    func find(_ bytes: ByteBuffer) -> (request: HLSRequest, length: Int)? {
        bytes.withUnsafeReadableBytes { bytes in
            guard let start = bytes.baseAddress else { return nil }
            for known in known where known.head.count <= bytes.count {
                guard memcmp(known.head, start, known.head.count) == 0 else { continue }
                return (known.request, known.head.count)
            }
            return nil
        }
    }

    /// - Parameter head: whole, of a request without a body.
    mutating func keep(_ request: HLSRequest, head: ByteBuffer) {
        guard head.readableBytes <= Self.maxBytes else { return }
        let new = Known(head: Array(head.readableBytesView), request: request)
        if known.count < Self.most {
            known.append(new)
        } else {
            known[next] = new
            next = (next + 1) % Self.most
        }
    }
}
