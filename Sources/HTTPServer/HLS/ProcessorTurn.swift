import Glibc
import NIOCore

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
