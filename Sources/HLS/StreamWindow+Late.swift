import Wire

/// Renditions whose media are made from the others' and come some time after them: the same segments and parts, with the
/// same numbers, times, dates and discontinuities, up to where they have come.
extension StreamWindow {
    /// How far a rendition goes.
    struct Reach: Sendable, Hashable {
        /// The first segment that it has.
        var first: UInt64
        /// The segment of which the next part is a part, and what of it there is.
        var number: UInt64
        var parts: Int
    }

    /// Nil: a late rendition that is not made now.
    func reach(_ rendition: Int) -> Reach? {
        guard rendition >= promptCount else {
            return Reach(first: 0, number: open?.number ?? nextNumber, parts: open?.parts.count ?? 0)
        }
        return late[rendition - promptCount]
    }

    func isLate(_ rendition: Int) -> Bool { rendition >= promptCount }

    /// A rendition is complete when nothing follows, and it has come to the end.
    func isEnded(_ rendition: Int) -> Bool {
        isEnded && (!isLate(rendition) || (reach(rendition)?.number ?? .max) >= nextNumber)
    }

    /// Whole segments that a rendition has.
    func segments(_ reach: Reach) -> ArraySlice<Segment> {
        guard let start = segments.first?.number else { return [] }
        let from = min(UInt64(segments.count), max(reach.first, start) - start)
        let to = min(UInt64(segments.count), max(reach.number, start) - start)
        return segments[Int(min(from, to))..<Int(to)]
    }

    /// A late rendition has segments from that number on.
    mutating func startLate(_ rendition: Int, at number: UInt64) {
        guard isLate(rendition) else { return }
        late[rendition - promptCount] = Reach(first: number, number: number, parts: 0)
        rates[rendition] = RateMeter()
        version += 1
    }

    /// A late rendition is not made any more: what there is of it is forgotten.
    mutating func stopLate(_ rendition: Int) {
        guard isLate(rendition), late[rendition - promptCount] != nil else { return }
        late[rendition - promptCount] = nil
        version += 1
        segments = segments.map { before in
            var segment = before
            drop(rendition, of: &segment)
            return segment
        }
        removed = removed.map { gone in
            var segment = gone.segment
            drop(rendition, of: &segment)
            return Removed(segment: segment, until: gone.until)
        }
        if var segment = open {
            open = nil
            drop(rendition, of: &segment)
            open = segment
        }
        for number in maps.keys { maps[number]?.media[rendition] = nil }
    }

    private mutating func drop(_ rendition: Int, of segment: inout Segment) {
        for part in segment.parts.indices {
            segment.parts[part].media[rendition] = nil
            segment.parts[part].isIndependent[rendition] = false
        }
        guard segment.media.indices.contains(rendition) else { return }
        let before = segment.memory
        if case .file(let stretch)? = segment.media[rendition] { disk -= stretch.count }
        segment.media[rendition] = nil
        memory -= before - segment.memory
    }

    /// The initialisation section of a late rendition.
    mutating func fillMap(_ rendition: Int, number: UInt64, _ media: any StoredBytes) {
        guard isLate(rendition) else { return }
        maps[number]?.media[rendition] = media
    }

    /// The next part of a late rendition is there.
    ///
    /// - Parameter media: nil: it will not be made, and is a gap.
    mutating func fill(
        _ rendition: Int, segment number: UInt64, part: Int, media: (any StoredBytes)?, isIndependent: Bool
    ) {
        guard isLate(rendition), var reach = late[rendition - promptCount], reach.number == number, reach.parts == part
        else { return }
        reach.parts += 1
        late[rendition - promptCount] = reach
        version += 1
        var duration = Interval.zero
        if open?.number == number, let count = open?.parts.count, part < count {
            open?.parts[part].media[rendition] = media
            open?.parts[part].isIndependent[rendition] = isIndependent
            duration = open?.parts[part].duration ?? .zero
        } else if let index = segments.firstIndex(where: { $0.number == number }), part < segments[index].parts.count {
            segments[index].parts[part].media[rendition] = media
            segments[index].parts[part].isIndependent[rendition] = isIndependent
            duration = segments[index].parts[part].duration
        }
        if let media { rates[rendition].add(media.count, duration: duration) }
        completeLate(rendition - promptCount)
    }

    /// A late rendition passes over what is left of a segment, and to that one.
    mutating func skipLate(_ rendition: Int, to number: UInt64) {
        guard isLate(rendition), let reach = late[rendition - promptCount], reach.number < number else { return }
        late[rendition - promptCount] = Reach(first: reach.first, number: number, parts: 0)
        version += 1
    }

    /// Makes a whole of the parts when the last one of a whole segment is there.
    mutating func completeLate(_ index: Int) {
        guard let reach = late[index], let first = segments.first?.number, let last = segments.last?.number else {
            return
        }
        // One that has left the window is no longer of interest.
        guard reach.number >= first else { return late[index]?.pass(to: first) ?? () }
        guard reach.number <= last else { return }
        let place = Int(reach.number - first)
        guard reach.parts >= segments[place].parts.count else { return }
        let before = segments[place].memory
        segments[place].media[promptCount + index] = segments[place].whole(promptCount + index)
        memory += segments[place].memory - before
        rates[promptCount + index].endSegment()
        late[index]?.pass(to: reach.number + 1)
    }
}

extension StreamWindow.Reach {
    mutating func pass(to number: UInt64) { (self.number, parts) = (number, 0) }
}
