import Wire

/// How one direction of a link treats datagrams.
struct LinkConditions: Sendable {
    var delay = Interval.milliseconds(10)
    /// Evenly distributed addition to the delay; overtaking within it is what reorders.
    var jitter = Interval.zero
    /// Parts of one.
    var loss = 0.0
    var duplication = 0.0
    /// A datagram held back for `reorderDelay` longer than its fellows.
    var reordering = 0.0
    var reorderDelay = Interval.milliseconds(8)

    static let perfect = LinkConditions()
    /// The link of proof 3: loss, jitter, overtaking and duplicates at once.
    static let bad = LinkConditions(
        jitter: .milliseconds(3), loss: 0.05, duplication: 0.01, reordering: 0.02)
}

/// One direction of a lossy link. Each has a random source of its own, so that the fate of a datagram does not depend
/// on the order in which other links are used.
struct VirtualLink {
    var conditions: LinkConditions
    /// While set, datagrams are lost that it picks: losses that a test aims at.
    var drop: (([UInt8]) -> Bool)?
    private var random: SeededRandom
    private(set) var carried = 0
    private(set) var lost = 0

    init(conditions: LinkConditions = .perfect, seed: UInt64) {
        self.conditions = conditions
        random = SeededRandom(seed: seed)
    }

    /// When the datagram arrives: never, once, or twice.
    mutating func deliveries(of datagram: [UInt8], at now: Instant) -> [Instant] {
        carried += 1
        if drop?(datagram) == true || happens(conditions.loss) {
            lost += 1
            return []
        }
        var out = [arrival(now)]
        if happens(conditions.duplication) { out.append(arrival(now)) }
        return out
    }

    /// Draws nothing for what never happens: a perfect link leaves its random source alone.
    private mutating func happens(_ probability: Double) -> Bool {
        probability > 0 && Double.random(in: 0..<1, using: &random) < probability
    }

    private mutating func arrival(_ now: Instant) -> Instant {
        var at = now + conditions.delay
        if conditions.jitter > .zero {
            at = at + .nanoseconds(Int64.random(in: 0...conditions.jitter.nanoseconds, using: &random))
        }
        if happens(conditions.reordering) { at = at + conditions.reorderDelay }
        return at
    }
}

/// What happens when: a binary heap, first in first out among equal times.
struct EventQueue<Element> {
    private var heap: [(at: Instant, order: Int, element: Element)] = []
    private var nextOrder = 0

    var next: Instant? { heap.first?.at }
    var isEmpty: Bool { heap.isEmpty }

    mutating func insert(_ element: Element, at: Instant) {
        heap.append((at, nextOrder, element))
        nextOrder += 1
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard isBefore(child, parent) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func pop() -> (at: Instant, element: Element)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && isBefore(child, least) {
                    least = child
                }
                guard least != parent else { break }
                heap.swapAt(parent, least)
                parent = least
            }
        }
        return (first.at, first.element)
    }

    private func isBefore(_ a: Int, _ b: Int) -> Bool {
        (heap[a].at, heap[a].order) < (heap[b].at, heap[b].order)
    }
}
