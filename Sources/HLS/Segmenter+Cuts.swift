import MediaFormats
import Wire

/// Where parts and segments end.
extension Segmenter {
    /// Ends what must end before a frame of the lead that is decoded at `time`.
    ///
    /// - Parameters:
    ///   - previous: when the frame before it was decoded: a part may still end there.
    ///   - tracks: they change with this frame, so a segment must begin with it.
    mutating func decide(
        at time: Interval, isKeyFrame: Bool, previous: Interval?, tracks: [OutputTrack?]? = nil
    ) {
        while true {
            let segmentLimit = segmentStart + settings.longestSegment
            let limit = min(partStart + settings.partTarget, segmentLimit)
            if time > limit {
                closeLate(previous: previous)
                continue
            }
            let isDue = isKeyFrame && wantsCut(at: time)
            if tracks != nil || isDue {
                let tracks = tracks ?? (isJoining ? lanes.map(\.output) : nil)
                isJoining = false
                let next = SegmentStart(
                    time: time, programDate: date(at: time), isDiscontinuity: tracks != nil, isIndependent: true,
                    tracks: tracks)
                close(at: time, isFinal: true, next: next)
                noteCut(isForced: false)
            } else if time - partStart >= aim {
                close(at: time, isFinal: time >= segmentLimit, next: nil)
                if time >= segmentLimit { noteCut(isForced: true) }
            }
            return
        }
    }

    /// A part ends at the first picture from here on: the one nearest to the duration aimed at.
    private var aim: Interval {
        let interval = lead.map { lanes[$0].interval } ?? .zero
        return max(settings.leastPart, settings.partDuration - .nanoseconds(interval.nanoseconds / 2))
    }

    /// Ends a part although no picture begins where it should end: where the one before began, or in its midst.
    mutating func closeLate(previous: Interval? = nil) {
        let segmentLimit = segmentStart + settings.longestSegment
        let limit = min(partStart + settings.partTarget, segmentLimit)
        var end = min(partStart + settings.partDuration, segmentLimit)
        if let previous, previous <= limit, previous - partStart >= settings.leastPart { end = previous }
        if let lead, let held = lanes[lead].held, held.decodeTime < end {
            // Nobody knows when the next one comes: until then this one is shown.
            flushHeld(until: nil)
            lanes[lead].pending[lanes[lead].pending.count - 1].duration = max(
                lanes[lead].interval, end - held.decodeTime)
        }
        let isFinal = end >= segmentLimit
        close(at: end, isFinal: isFinal, next: nil)
        if isFinal { noteCut(isForced: true) }
    }

    /// Whether a segment should end at a key frame here.
    private func wantsCut(at time: Interval) -> Bool {
        let age = time - segmentStart
        guard let lead else { return false }
        let wanted = wantedDuration
        guard lanes[lead].isVideo else { return age >= wanted - .nanoseconds(lanes[lead].interval.nanoseconds / 2) }
        if age.nanoseconds >= wanted.nanoseconds / 5 * 4 { return true }
        // A segment that nobody can begin with is ended as soon as one can be.
        if !segmentIsIndependent { return true }
        // The next key frame may be too late, if the publisher sends them when it likes.
        guard isUnanswered, let interval = keyFrameInterval else { return false }
        return age.nanoseconds >= wanted.nanoseconds / 3 && age + interval > settings.longestSegment
    }

    private var wantedDuration: Interval {
        segmentCount < settings.quickSegments
            ? min(settings.quickDuration, settings.segmentDuration) : settings.segmentDuration
    }

    /// - Parameter next: how the segment begins that follows; nil: in the midst of things.
    mutating func close(at end: Interval, isFinal: Bool, next: SegmentStart?) {
        guard end > partStart || isFinal else { return }
        if end == partStart, let empty = begin {
            // A segment without anything: the next one takes its place.
            guard var next else { return }
            next.isDiscontinuity = next.isDiscontinuity || empty.isDiscontinuity
            next.tracks = next.tracks ?? empty.tracks
            begin = next
            return
        }
        decisions.append(Decision(begin: begin, start: partStart, end: end, isFinal: isFinal))
        begin = nil
        partStart = end
        guard isFinal else { return }
        segmentStart = end
        segmentCount += 1
        let isIndependent = next?.isIndependent ?? (lead.map { !lanes[$0].isVideo } ?? false)
        segmentIsIndependent = isIndependent
        begin =
            next
            ?? SegmentStart(
                time: end, programDate: date(at: end), isDiscontinuity: false, isIndependent: isIndependent,
                tracks: nil)
    }

    private mutating func noteCut(isForced: Bool) {
        guard let lead, lanes[lead].isVideo else { return }
        if isForced {
            counts.forcedCuts += 1
            (forcedInRow, keyedInRow) = (forcedInRow + 1, 0)
            // Once may be a lost packet.
            if forcedInRow >= 2, !hasLongGroups {
                hasLongGroups = true
                events.append(.longGroups(true))
            }
        } else {
            (forcedInRow, keyedInRow) = (0, keyedInRow + 1)
            // Each forced cut is followed by one at the key frame that came too late.
            if keyedInRow >= 4, hasLongGroups {
                hasLongGroups = false
                events.append(.longGroups(false))
            }
        }
    }

    // MARK: Key frames

    mutating func noteKeyFrame(at time: Interval, now: Instant, isFirst: Bool) {
        if let lastKeyFrame, !isFirst, time > lastKeyFrame { keyFrameInterval = time - lastKeyFrame }
        lastKeyFrame = time
        if let first = firstRequestAt { isUnanswered = now - first > Self.keyFramePatience }
        firstRequestAt = nil
        requestedAt = nil
    }

    mutating func askForKeyFrame(now: Instant) {
        guard let wanted = lead ?? preferredLead, lanes[wanted].isVideo else { return }
        if isStarted, !awaitsKeyFrame {
            guard leadNow(now) - segmentStart >= wantedDuration - Self.keyFrameLead else { return }
        }
        if let requestedAt, now - requestedAt < Self.keyFrameRetry { return }
        if firstRequestAt == nil { firstRequestAt = now }
        requestedAt = now
        events.append(.needKeyFrame)
    }

    // MARK: Giving out

    /// Gives out what has been decided, as far as all tracks have come.
    mutating func execute(now: Instant) {
        while let decision = decisions.first {
            let isOverdue = leadNow(now) >= decision.end + settings.lateness
            let isComplete = lanes.indices.allSatisfy { index in
                let lane = lanes[index]
                guard index != lead, lane.output != nil, !lane.isVideo, !lane.isIdle, let next = lane.next else {
                    return true
                }
                return next >= decision.end
            }
            guard isComplete || isOverdue else { return }
            give(decision, isLast: false)
        }
    }

    mutating func give(_ decision: Decision, isLast: Bool) {
        decisions.removeFirst()
        if let begin = decision.begin, decision.end > decision.start { events.append(.beginSegment(begin)) }
        var samples: [[Sample]] = []
        for index in lanes.indices {
            if !isLast, !lanes[index].isVideo, lanes[index].output != nil, let next = lanes[index].next,
                next < decision.end
            {
                // Less than a frame is no gap yet.
                fill(index, until: decision.end - OpusSilence.duration)
                if index != lead { lanes[index].isIdle = true }
            }
            let count = lanes[index].pending.prefix { $0.decodeTime < decision.end }.count
            samples.append(lanes[index].output == nil ? [] : Array(lanes[index].pending[..<count]))
            lanes[index].pending.removeFirst(count)
        }
        if decision.end > decision.start {
            events.append(
                .part(Part(start: decision.start, duration: decision.end - decision.start, samples: samples)))
        }
        if decision.isFinal { events.append(.endSegment) }
    }
}
