import MediaFormats
import Wire

/// How frames get on the output's line.
extension Segmenter {
    mutating func take(_ frame: MediaFrame, now: Instant) {
        clock = max(clock, now)
        let index = frame.track
        if let sets = frame.parameterSets { lanes[index].parameterSets = sets }
        if index == preferredLead, index != lead, isStarted, frame.isKeyFrame {
            // The picture has come after all, or again.
            if let tracks = configured(by: frame) { return changeLead(to: index, frame, tracks, now: now) }
        }
        if !isStarted || awaitsKeyFrame {
            begin(with: frame, now: now)
        } else if index == lead {
            takeLead(frame, now: now)
        } else if !lanes[index].isVideo {
            takeSound(frame, at: frame.time + offset)
        }
    }

    /// The tracks with what the frame says of its own; nil if its track cannot be described, or if nothing has changed.
    private func configured(by frame: MediaFrame) -> [OutputTrack?]? {
        let lane = lanes[frame.track]
        guard frame.isKeyFrame else { return nil }
        let isNew = lane.output == nil || frame.parameterSets != nil || lane.description.codec == .vp9
        var output = lane.output
        if isNew, let configuration = CodecConfiguration(lane.description, keyFrame: frame) {
            output = OutputTrack(
                configuration: configuration, size: lane.output?.size, rotation: lane.output?.rotation ?? .none)
        }
        if lane.isVideo, output != nil {
            output?.size = frame.size ?? lane.output?.size
            output?.rotation = frame.rotation
        }
        guard let output, output != lane.output else { return nil }
        var tracks = lanes.map(\.output)
        tracks[frame.track] = output
        return tracks
    }

    // MARK: Beginnings

    /// Nothing is on the line yet, or a new line is to begin.
    private mutating func begin(with frame: MediaFrame, now: Instant) {
        let index = frame.track
        if let tracks = configured(by: frame) { lanes[index].output = tracks[index] }
        if index == preferredLead, frame.isKeyFrame, lanes[index].output != nil {
            startLine(with: frame, lead: index, now: now)
        } else if lanes[index].isVideo {
            counts.beforeKeyFrame += 1
            askForKeyFrame(now: now)
        } else if let first = firstArrival, now - first >= Self.picturePatience, !isStarted, lanes[index].output != nil
        {
            // Announced, but no picture comes: the sound leads until one does.
            startLine(with: frame, lead: index, now: now)
        } else {
            let time = frame.time
            // In stream time until the line begins.
            let sample = Sample(data: frame.data, time: time, duration: frame.duration ?? lanes[index].interval)
            if lanes[index].pending.count < Self.maxWaiting { lanes[index].pending.append(sample) }
            askForKeyFrame(now: now)
        }
    }

    private mutating func startLine(with frame: MediaFrame, lead index: Int, now: Instant) {
        let start = partStart
        offset = start - frame.time
        lead = index
        awaitsKeyFrame = false
        if isStarted { counts.discontinuities += 1 }
        isStarted = true
        lineStart = start
        dateAnchor = (start, unixTimeAtZero &+ frame.time.nanoseconds)
        segmentStart = start
        // A picture that has not been described has no place in the output, also if sound leads now.
        let tracks = lanes.enumerated().map { $1.isVideo && $0 != index ? nil : $1.output }
        begin = SegmentStart(
            time: start, programDate: date(at: start), isDiscontinuity: nextIsDiscontinuity, isIndependent: true,
            tracks: tracks)
        nextIsDiscontinuity = false
        segmentIsIndependent = true
        for other in lanes.indices where !lanes[other].isVideo {
            let waiting = lanes[other].pending
            lanes[other].pending = []
            lanes[other].next = start
            lanes[other].isIdle = false
            guard other != index else { continue }
            for var sample in waiting where sample.time + sample.duration + offset > start {
                sample.time = sample.time + offset
                place(sample, in: other)
            }
        }
        lanes[index].pending = []
        lanes[index].held = nil
        leadTime = start
        leadArrival = now
        noteKeyFrame(at: start, now: now, isFirst: true)
        if lanes[index].isVideo {
            lanes[index].held = Sample(data: frame.data, time: start, duration: .zero)
            lanes[index].next = start
            lanes[index].beginDecoding(at: start)
        } else {
            takeSound(frame, at: start)
        }
    }

    /// Ends what is on the line now; the next frame that can be decoded alone begins another one.
    mutating func endLine() {
        guard let lead else { return }
        flushHeld(until: nil)
        let last = max(lanes[lead].next ?? partStart, partStart)
        let end = lanes[lead].isVideo ? lanes[lead].pending.last.map(\.end) ?? last : last
        decide(at: max(end, partStart), isKeyFrame: false, previous: nil)
        close(at: max(end, partStart), isFinal: true, next: nil)
    }

    private mutating func changeLead(to index: Int, _ frame: MediaFrame, _ tracks: [OutputTrack?], now: Instant) {
        let time = max(frame.time + offset, partStart)
        decide(at: time, isKeyFrame: false, previous: nil)
        close(at: time, isFinal: true, next: nil)
        execute(now: now)
        lanes[index].output = tracks[index]
        lead = index
        begin = SegmentStart(
            time: time, programDate: date(at: time), isDiscontinuity: true, isIndependent: true,
            tracks: tracks)
        segmentIsIndependent = true
        lanes[index].held = Sample(data: frame.data, time: time, duration: .zero)
        lanes[index].next = time
        lanes[index].beginDecoding(at: time)
        leadTime = time
        leadArrival = now
        noteKeyFrame(at: time, now: now, isFirst: true)
    }

    // MARK: The lead

    private mutating func takeLead(_ frame: MediaFrame, now: Instant) {
        guard let lead else { return }
        let time = frame.time + offset
        let expected = leadNow(now)
        if frame.flags.contains(.discontinuity) || time - expected > Self.longestJump
            || expected - time > Self.longestJump
        {
            endLine()
            while let decision = decisions.first { give(decision, isLast: true) }
            for index in lanes.indices { lanes[index].pending = [] }
            nextIsDiscontinuity = true
            awaitsKeyFrame = true
            return begin(with: frame, now: now)
        }
        guard lanes[lead].isVideo else {
            noteLead(time, now: now)
            return takeSound(frame, at: time)
        }
        let tracks = configured(by: frame)
        let previous = lanes[lead].held?.decodeTime
        let after = (previous ?? lanes[lead].next).map { $0 + Self.leastStep } ?? time
        let decodeTime = max(lanes[lead].decodeTimes.next(time), after)
        flushHeld(until: decodeTime)
        if frame.isKeyFrame { noteKeyFrame(at: decodeTime, now: now, isFirst: false) }
        decide(
            at: decodeTime, isKeyFrame: frame.isKeyFrame, previous: previous, tracks: tracks)
        if let tracks { lanes[lead].output = tracks[lead] }
        lanes[lead].held = Sample(
            data: frame.data, time: time, decodeTime: decodeTime, duration: .zero, isKeyFrame: frame.isKeyFrame)
        lanes[lead].next = decodeTime
        noteLead(decodeTime, now: now)
        askForKeyFrame(now: now)
    }

    private mutating func noteLead(_ time: Interval, now: Instant) {
        // The estimate may fall back by what a late frame is behind, but not by what pictures are out of order.
        guard time >= leadTime else { return }
        leadTime = time
        leadArrival = now
    }

    /// The newest picture gets its duration: until the next one, or as long as the one before.
    mutating func flushHeld(until next: Interval?) {
        guard let lead, var held = lanes[lead].held else { return }
        held.duration = next.map { $0 - held.decodeTime } ?? lanes[lead].interval
        if next != nil { lanes[lead].interval = min(held.duration, Self.longestJump) }
        lanes[lead].pending.append(held)
        lanes[lead].held = nil
    }

    // MARK: Sound

    private mutating func takeSound(_ frame: MediaFrame, at time: Interval) {
        let index = frame.track
        if lanes[index].output == nil {
            // AAC that is described by its first frame: its track joins where the next segment begins anew.
            guard let tracks = configured(by: frame) else { return }
            lanes[index].output = tracks[index]
            lanes[index].next = nil
            isJoining = true
            return
        }
        place(
            Sample(data: frame.data, time: time, duration: frame.duration ?? lanes[index].interval), in: index)
    }

    /// Puts a frame of sound behind the others: what is missing before it becomes silence.
    private mutating func place(_ sample: Sample, in index: Int) {
        var sample = sample
        sample.decodeTime = sample.time
        let half = Interval.nanoseconds(sample.duration.nanoseconds / 2)
        if let next = lanes[index].next {
            guard sample.time + half >= next else {
                if sample.time < lineStart { counts.beforeKeyFrame += 1 } else { counts.late += 1 }
                lanes[index].isIdle = false
                return
            }
            // Of another clock: of no use here, and nothing that memory should be filled for.
            guard sample.time - leadNow(clock) < Self.longestJump || index == lead else {
                counts.late += 1
                return
            }
            fill(index, until: sample.time - half)
        }
        lanes[index].isIdle = false
        lanes[index].next = sample.time + sample.duration
        if index == lead { decide(at: sample.time, isKeyFrame: true, previous: lanes[index].pending.last?.decodeTime) }
        lanes[index].pending.append(sample)
    }

    /// Silence, where the codec has a frame for it, so that what follows stays in time with the picture: players put
    /// one frame of sound behind the other whatever their times are.
    mutating func fill(_ index: Int, until end: Interval) {
        guard let next = lanes[index].next, next < end, case .opus(let channels)? = lanes[index].output?.configuration
        else { return }
        var time = next
        while time < end {
            lanes[index].pending.append(
                Sample(data: OpusSilence.frame(channels: channels), time: time, duration: OpusSilence.duration))
            time = time + OpusSilence.duration
            counts.silence += 1
        }
        lanes[index].next = time
    }

    /// The date of a segment that begins there; later ones count from it.
    mutating func date(at time: Interval) -> Int64 {
        let passed = (time - dateAnchor.time).nanoseconds
        let expected = dateAnchor.unix &+ passed
        let error = unixTimeAtZero &+ (time - offset).nanoseconds &- expected
        let most = max(0, passed) / Self.dateSlew
        let date = expected &+ min(max(error, -most), most)
        dateAnchor = (time, date)
        return date
    }
}

/// A frame of Opus in which nothing is heard (RFC 6716 §3.1): CELT, full band, 20 ms.
package enum OpusSilence {
    package static let duration = Interval.milliseconds(20)

    package static func frame(channels: Int) -> [UInt8] { channels == 1 ? [0xf8, 0xff, 0xfe] : [0xfc, 0xff, 0xfe] }
}
