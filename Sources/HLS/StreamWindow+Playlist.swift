import Wire

/// What the window looks like to players.
extension StreamWindow {
    package enum Position: Sendable, Hashable {
        /// The playlist has it.
        case here
        /// It is still to come.
        case ahead
        /// Nobody who has read our playlists can ask for it (§6.2.5.2).
        case tooFar
    }

    package func playlist(rendition: Int) -> MediaPlaylist {
        let reach = reach(rendition) ?? Reach(first: nextNumber, number: nextNumber, parts: 0)
        let whole = segments(reach)
        let isEnded = isEnded(rendition)
        let sequence = whole.first?.number ?? reach.number
        var list = MediaPlaylist(
            targetDuration: settings.targetDuration, partTarget: settings.partTarget, mediaSequence: sequence,
            discontinuitySequence: discontinuitySequence(before: sequence), isEnded: isEnded)
        let open = reach.parts > 0 ? segment(reach.number) : nil
        let openParts = open.map { Array(parts(of: $0, rendition).prefix(reach.parts)) } ?? []
        var fromEnd = openParts.reduce(Interval.zero) { $0 + $1.duration }
        var entries: [MediaPlaylist.Segment] = []
        entries.reserveCapacity(whole.count)
        let listed = settings.target * ServerControl.partListTargets
        for segment in whole.reversed() {
            let listsParts = settings.partTarget != nil && fromEnd <= listed
            fromEnd = fromEnd + segment.duration
            entries.append(
                MediaPlaylist.Segment(
                    uri: name(of: segment), duration: segment.duration,
                    parts: listsParts ? parts(of: segment, rendition) : [], programDate: segment.programDate,
                    map: mapName(segment.map), isDiscontinuity: segment.isDiscontinuity,
                    isGap: segment.media[rendition] == nil))
        }
        list.segments = entries.reversed()
        guard settings.partTarget != nil else { return list }
        if let open {
            list.open = MediaPlaylist.OpenSegment(
                parts: openParts, programDate: open.programDate, map: mapName(open.map),
                isDiscontinuity: open.isDiscontinuity)
        }
        if !isEnded { list.preloadHint = hint(reach) }
        list.renditionReports = renditions.indices.filter { $0 != rendition }.compactMap(report)
        return list
    }

    /// Of the first segment in a playlist that begins with that number.
    private func discontinuitySequence(before number: UInt64) -> UInt64 {
        let left = segments.prefix { $0.number < number }.count(where: \.isDiscontinuity)
        return discontinuitySequence &+ UInt64(left)
    }

    /// Name of the part that comes next.
    private func hint(_ reach: Reach) -> String {
        HLSPath.Resource.part(
            rendition: "", sequenceNumber: reach.number, part: UInt64(reach.parts),
            token: segment(reach.number)?.token ?? nextToken
        ).fileName(isTS: isTransportStream)
    }

    private func name(of segment: Segment) -> String {
        HLSPath.Resource.segment(rendition: "", sequenceNumber: segment.number, token: segment.token)
            .fileName(isTS: isTransportStream)
    }

    private func mapName(_ number: UInt64) -> String? {
        guard !isTransportStream, let map = maps[number] else { return nil }
        return HLSPath.Resource.map(rendition: "", number: number, token: map.token).fileName()
    }

    private func parts(of segment: Segment, _ rendition: Int) -> [MediaPlaylist.Part] {
        segment.parts.enumerated().map { index, part in
            let name = HLSPath.Resource.part(
                rendition: "", sequenceNumber: segment.number, part: UInt64(index), token: segment.token)
            return MediaPlaylist.Part(
                uri: name.fileName(isTS: isTransportStream), duration: part.duration,
                isIndependent: part.isIndependent[rendition], isGap: part.media[rendition] == nil)
        }
    }

    private func report(on rendition: Int) -> MediaPlaylist.RenditionReport? {
        guard let reach = reach(rendition) else { return nil }
        let uri = "../\(renditions[rendition])/live.m3u8"
        if reach.parts > 0 {
            return MediaPlaylist.RenditionReport(
                uri: uri, lastSequenceNumber: reach.number, lastPart: reach.parts - 1)
        }
        guard let last = segments(reach).last, !last.parts.isEmpty else { return nil }
        return MediaPlaylist.RenditionReport(
            uri: uri, lastSequenceNumber: last.number, lastPart: last.parts.count - 1)
    }

    /// Where a segment, or a part, is that a request waits for. A part that a whole segment does not have is the first
    /// of the next one (§6.2.5.2). Who comes from another rendition may ask a late one for what it will soon have.
    package func position(segment number: UInt64, part: UInt64?, rendition: Int = 0) -> Position {
        // After the end the directives do not count.
        guard !isEnded(rendition), let reach = reach(rendition) else { return .here }
        let current = open?.number ?? nextNumber
        let limit = current &+ (ServerControl.sequenceNumbersAhead - 1)
        guard number <= limit else { return .tooFar }
        guard let part else { return number < reach.number ? .here : .ahead }
        if number < current, let segment = segments.last(where: { $0.number == number }), part >= segment.parts.count {
            return position(segment: number + 1, part: 0, rendition: rendition)
        }
        if (number, part) < (reach.number, UInt64(reach.parts)) { return .here }
        guard number >= current else { return .ahead }
        let count = number == current ? UInt64(open?.parts.count ?? 0) : 0
        let advance = ServerControl.advancePartLimit(partTarget: settings.partTarget ?? .zero)
        return part < count || part - count < UInt64(advance) ? .ahead : .tooFar
    }

    // MARK: Resources

    package enum Found: Sendable {
        case media(MediaBytes)
        /// Announced by a preload hint: it will be there soon.
        case ahead
        case nothing
    }

    package func find(_ resource: HLSPath.Resource) -> Found {
        switch resource {
        case .multivariant, .playlist: return .nothing
        case .map(let rendition, let number, let token):
            guard let index = renditions.firstIndex(of: rendition), let map = maps[number], map.token == token,
                let bytes = map.media[index]
            else { return .nothing }
            return .media(.memory([bytes]))
        case .segment(let rendition, let number, let token):
            guard let index = renditions.firstIndex(of: rendition), let segment = segment(number),
                segment.token == token, segment.media.indices.contains(index), let media = segment.media[index]
            else { return .nothing }
            return .media(media)
        case .part(let rendition, let number, let part, let token):
            return find(part: part, of: number, token: token, rendition: rendition)
        }
    }

    private func find(part: UInt64, of number: UInt64, token: String, rendition: String) -> Found {
        guard let index = renditions.firstIndex(of: rendition), settings.partTarget != nil, let reach = reach(index)
        else { return .nothing }
        if number == nextNumber { return !isEnded && part == 0 && token == nextToken ? .ahead : .nothing }
        guard let segment = segment(number), segment.token == token else { return .nothing }
        let isOpen = segment.number == open?.number
        guard (number, part) < (reach.number, UInt64(reach.parts)) else {
            let isHinted = isOpen && !isEnded && part == UInt64(segment.parts.count)
            return isHinted || part < UInt64(segment.parts.count) ? .ahead : .nothing
        }
        guard part < UInt64(segment.parts.count), let bytes = segment.parts[Int(part)].media[index] else {
            return .nothing
        }
        return .media(.memory([bytes]))
    }

    /// One that is being made, is in the window, or has left it lately.
    private func segment(_ number: UInt64) -> Segment? {
        if open?.number == number { return open }
        guard let first = segments.first?.number, number >= first else {
            return removed.first { $0.segment.number == number }?.segment
        }
        let index = number - first
        return index < UInt64(segments.count) ? segments[Int(index)] : nil
    }
}
