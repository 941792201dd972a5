import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Gives the processor away now and then while one event loop has much to say at once, as when a part is there for which a
/// thousand viewers have waited.
///
/// The kernel lets a thread that runs go on to the end of its turn, milliseconds, whoever waits and whatever the priorities
/// (EEVDF). A media thread on the same processor has packets to send sooner than that.
enum ProcessorTurn {
    /// Nanoseconds: a few answers.
    private static let length: UInt64 = 100_000

    /// When a turn of this thread began; of this thread only.
    private final class Turn: Sendable {
        let began = Atomic<UInt64>(0)
    }

    private static let current = ThreadSpecificVariable<Turn>()

    /// To be called between two pieces of work, on the thread that does them.
    static func mayEnd() {
        let turn: Turn
        if let known = current.currentValue {
            turn = known
        } else {
            turn = Turn()
            current.currentValue = turn
        }
        let now = NIODeadline.now().uptimeNanoseconds
        guard now >= turn.began.load(ordering: .relaxed) + length else { return }
        sched_yield()
        // Others' time is not ours.
        turn.began.store(NIODeadline.now().uptimeNanoseconds, ordering: .relaxed)
    }
}
