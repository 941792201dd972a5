import Wire

/// When pictures are to be decoded, for files and players that want to know: in the order in which they come, not after
/// they are shown, and as late as that allows. Where pictures are in order, that is when they are shown.
package struct DecodeTimes: Sendable {
    /// A decoded picture buffer has at most 16.
    private static let maxDepth = 16

    private let mayReorder: Bool
    private let leastStep: Interval
    /// How many pictures may come before one that is shown earlier: as the stream says, or as it turned out.
    private var depth = 0
    /// When pictures are shown that may still be waited for by others: the latest `depth` + 1, ascending.
    private var shown: [Interval] = []
    private var last: Interval?

    /// - Parameters:
    ///   - parameterSets: of the track, in the form of `TrackDescription.parameterSets`.
    ///   - leastStep: between two pictures. The first ones are so close to each other, however long they are shown.
    package init(_ codec: Codec, parameterSets: [[UInt8]], leastStep: Interval) {
        mayReorder = codec == .h264 || codec == .h265
        self.leastStep = leastStep
        guard mayReorder else { return }
        for set in parameterSets where NALUnits.kind(codec, set.first ?? 0) == .sequenceParameterSet {
            let count = NALUnits.reorderedPictures(codec, sequenceParameterSet: unsafe set.span.bytes) ?? 0
            depth = min(max(depth, count), Self.maxDepth)
        }
    }

    /// - Parameter time: when the next picture is shown.
    /// - Returns: when it is decoded: later than all before it. Not after `time`, unless pictures are more out of order
    ///   than the stream says, and then for no longer than it takes to find that out.
    package mutating func next(_ time: Interval) -> Interval {
        if let last, time < last, mayReorder, depth < Self.maxDepth { depth += 1 }
        if shown.count > depth { shown.removeFirst() }
        shown.insert(time, at: shown.firstIndex { $0 > time } ?? shown.count)
        var due = shown[0]
        if let last { due = max(due, last + leastStep) }
        last = due
        return due
    }
}
