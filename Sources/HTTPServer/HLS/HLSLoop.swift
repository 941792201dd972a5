import Glibc
import NIOCore

/// What the connections of one event loop share, on that loop.
final class HLSLoop {
    var requests = HLSRequestMemo()
    var turn = ProcessorTurn()
}

@available(*, unavailable)
extension HLSLoop: Sendable {}

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

/// Gives the processor away now and then while an event loop has much to say at once, as when a part is there for which a
/// thousand viewers have waited.
///
/// The kernel lets a thread that runs go on to the end of its turn, milliseconds, whoever waits and whatever the priorities
/// (EEVDF). A media thread on the same processor has packets to send sooner than that.
struct ProcessorTurn {
    /// A few answers.
    private static let length = TimeAmount.microseconds(100)

    private var began = NIODeadline.uptimeNanoseconds(0)

    /// To be called between two pieces of work, on the thread that does them.
    mutating func mayEnd() {
        guard NIODeadline.now() - began >= Self.length else { return }
        sched_yield()
        // Others' time is not ours.
        began = .now()
    }
}
