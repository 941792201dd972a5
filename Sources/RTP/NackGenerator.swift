import Wire

/// Finds out which packets of one source are missing and when to ask for each (RFC 4585 §6.2.1). Works on extended
/// numbers, which do not wrap. A packet in order costs one comparison; memory is taken at the first loss.
///
/// Packets of one batch come in before any request is made; what overtakes on the network needs `reorderWait`.
package struct NackGenerator: Sendable {
    /// Packets missing at one time. More than that, and a key frame is cheaper.
    package static let maxMissing = 500
    /// Requests for one packet.
    package static let maxTries: UInt8 = 10
    /// Shortest time between two requests for one packet; the round-trip time if that is longer.
    package static let minRetry = Interval.milliseconds(10)
    /// On short paths each request waits half as long again as the one before, up to this: else all tries would fall
    /// into one short burst of losses.
    package static let maxBackoff = Interval.milliseconds(100)
    /// A packet missing for this long is given up: players' buffers have moved past it.
    package static let patience = Interval.seconds(1)
    /// Entries of one NACK message (17 numbers each at best), so that it fits a datagram: 800 bytes.
    package static let maxEntries = 200

    /// Time that a packet may be overtaken by before it is asked for.
    private let reorderWait: Interval

    private struct Missing: BitwiseCopyable {
        var number: Int64
        var since: Instant
        var next: Instant
        var asked: Instant
        var tries: UInt8
    }

    /// Rising by number.
    private var missing: [Missing] = []
    private var highest: Int64 = -1
    private var needsKeyFrame = false

    /// Numbers asked for, repetitions included.
    package private(set) var requested: UInt64 = 0
    /// Missing packets that came after all.
    package private(set) var recovered: UInt64 = 0
    /// Missing packets that were given up.
    package private(set) var abandoned: UInt64 = 0

    package init(reorderWait: Interval = .zero) { self.reorderWait = reorderWait }

    package var missingCount: Int { missing.count }

    /// Takes note of a packet, whether new, late, or a retransmission.
    /// - Returns: the time from the request to its answer, when the packet answers the only one made (Karn's rule).
    @discardableResult
    package mutating func receive(_ number: Int64, isRetransmission: Bool = false, now: Instant) -> Interval? {
        if number == highest &+ 1 || highest < 0 {
            highest = max(number, 0)
        } else if number > highest {
            noteGap(from: highest &+ 1, to: number, now: now)
            highest = number
        } else if !missing.isEmpty {
            let i = place(of: number)
            if i < missing.count, missing[i].number == number {
                let item = missing.remove(at: i)
                recovered &+= 1
                if isRetransmission, item.tries == 1 { return now - item.asked }
            }
        }
        return nil
    }

    private mutating func noteGap(from first: Int64, to end: Int64, now: Instant) {
        let gap = end &- first
        guard gap <= Int64(Self.maxMissing) else {
            abandoned &+= UInt64(missing.count)
            missing.removeAll(keepingCapacity: true)
            needsKeyFrame = true
            return
        }
        if missing.capacity == 0 { missing.reserveCapacity(Self.maxMissing) }
        let excess = missing.count + Int(gap) - Self.maxMissing
        if excess > 0 {
            missing.removeFirst(excess)
            abandoned &+= UInt64(excess)
            needsKeyFrame = true
        }
        for number in first..<end {
            missing.append(Missing(number: number, since: now, next: now + reorderWait, asked: now, tries: 0))
        }
    }

    /// Index of the first entry that is not below `number`.
    private func place(of number: Int64) -> Int {
        var low = 0
        var high = missing.count
        while low < high {
            let middle = (low + high) / 2
            if missing[middle].number < number { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Numbers to ask for now, rising, few enough for one NACK message; what does not fit is due at the next call.
    package mutating func due(now: Instant, roundTrip: Interval) -> [UInt16] {
        guard !missing.isEmpty else { return [] }
        let shortest = max(roundTrip, Self.minRetry)
        var out: [UInt16] = []
        var entries = 0
        var entry: Int64 = .min / 2
        var kept = 0
        for i in missing.indices {
            var item = missing[i]
            let isDue = item.next <= now
            if now - item.since >= Self.patience || isDue && item.tries >= Self.maxTries {
                abandoned &+= 1
                needsKeyFrame = true
                continue
            }
            if isDue, item.number - entry <= 16 || entries < Self.maxEntries {
                if item.number - entry > 16 {
                    entry = item.number
                    entries += 1
                }
                item.tries += 1
                item.next = now + Self.retry(after: item.tries, shortest)
                item.asked = now
                out.append(UInt16(truncatingIfNeeded: item.number))
                requested &+= 1
            }
            missing[kept] = item
            kept += 1
        }
        missing.removeLast(missing.count - kept)
        return out
    }

    /// Grows by half with each try: 10, 15, 22.5 … ms.
    private static func retry(after tries: UInt8, _ shortest: Interval) -> Interval {
        guard shortest < maxBackoff else { return shortest }
        var wait = shortest.nanoseconds
        for _ in 1..<max(1, tries) { wait += wait / 2 }
        return min(maxBackoff, .nanoseconds(wait))
    }

    /// Whether packets were given up since the last call, so that decoding needs a new start.
    package mutating func takeNeedsKeyFrame() -> Bool {
        defer { needsKeyFrame = false }
        return needsKeyFrame
    }
}
