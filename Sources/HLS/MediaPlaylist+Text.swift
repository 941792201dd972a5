import Wire

extension MediaPlaylist {
    /// Version of the protocol that a playlist with these tags needs (§8): no more than that, or old players refuse it.
    private static let versionForFractions = 3
    private static let versionForMap = 6
    private static let versionForSkip = 9

    /// The playlist's text (§4.1): UTF-8, lines end in LF.
    ///
    /// - Parameter skipping: leave out what is beyond the skip boundary (a Playlist Delta Update, §6.2.5.1). Is ignored
    ///   if the playlist has ended or if nothing can be left out.
    package func text(skipping: Bool = false) -> [UInt8] {
        let skipped = skipping ? skippableSegments : 0
        var out = TextOutput(reserving: 512 + 128 * (segments.count - skipped))
        out.add("#EXTM3U\n#EXT-X-VERSION:")
        out.add(version(hasSkip: skipped > 0))
        out.add("\n#EXT-X-TARGETDURATION:")
        out.add(targetDuration)
        addServerControl(&out)
        out.add("\n#EXT-X-MEDIA-SEQUENCE:")
        out.add(mediaSequence)
        if discontinuitySequence > 0 || segments.contains(where: \.isDiscontinuity) || open?.isDiscontinuity == true {
            out.add("\n#EXT-X-DISCONTINUITY-SEQUENCE:")
            out.add(discontinuitySequence)
        }
        if hasIndependentSegments { out.add("\n#EXT-X-INDEPENDENT-SEGMENTS") }
        out.add("\n")
        if skipped > 0 {
            out.add("#EXT-X-SKIP:SKIPPED-SEGMENTS=")
            out.add(skipped)
            out.add("\n")
        }
        var map = skipped > 0 ? segments[skipped - 1].map : nil
        for segment in segments[skipped...] { add(segment, lastMap: &map, to: &out) }
        if let open { add(open, lastMap: &map, to: &out) }
        if isEnded {
            out.add("#EXT-X-ENDLIST\n")
        } else if let preloadHint, partTarget != nil {
            out.add("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"")
            out.add(preloadHint)
            out.add("\"\n")
        }
        for report in renditionReports { add(report, to: &out) }
        return out.bytes
    }

    /// How many segments from the beginning an update may leave out: those that end further from the end of the last
    /// whole segment than the skip boundary. 0 = the whole playlist must be sent.
    package var skippableSegments: Int {
        guard !isEnded, partTarget != nil else { return 0 }
        let boundary = Interval.seconds(ServerControl.skipTargets * Int64(targetDuration))
        var fromEnd = Interval.zero
        for (index, segment) in segments.enumerated().reversed() {
            fromEnd = fromEnd + segment.duration
            // What begins beyond the boundary may still reach into it; what lies before that does not.
            if fromEnd > boundary { return index }
        }
        return 0
    }

    private func version(hasSkip: Bool) -> Int {
        if hasSkip { return Self.versionForSkip }
        let hasMap = segments.contains { $0.map != nil } || open?.map != nil
        return hasMap ? Self.versionForMap : Self.versionForFractions
    }

    private func addServerControl(_ out: inout TextOutput) {
        let target = Interval.seconds(Int64(targetDuration))
        guard let partTarget else { return }
        out.add("\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=")
        out.addSeconds(partTarget * ServerControl.partHoldBackTargets)
        out.add(",HOLD-BACK=")
        out.addSeconds(target * ServerControl.holdBackTargets)
        out.add(",CAN-SKIP-UNTIL=")
        out.addSeconds(target * ServerControl.skipTargets)
        out.add("\n#EXT-X-PART-INF:PART-TARGET=")
        out.addSeconds(partTarget)
    }

    private func add(_ segment: Segment, lastMap: inout String?, to out: inout TextOutput) {
        addHead(
            isDiscontinuity: segment.isDiscontinuity, map: segment.map, lastMap: &lastMap,
            programDate: segment.programDate, to: &out)
        if segment.isGap { out.add("#EXT-X-GAP\n") }
        for part in segment.parts { add(part, to: &out) }
        out.add("#EXTINF:")
        out.addSeconds(segment.duration)
        out.add(",\n")
        out.add(segment.uri)
        out.add("\n")
    }

    private func add(_ segment: OpenSegment, lastMap: inout String?, to out: inout TextOutput) {
        guard !segment.parts.isEmpty else { return }
        addHead(
            isDiscontinuity: segment.isDiscontinuity, map: segment.map, lastMap: &lastMap,
            programDate: segment.programDate, to: &out)
        for part in segment.parts { add(part, to: &out) }
    }

    /// Tags that apply to a segment and to its parts: they stand before both.
    private func addHead(
        isDiscontinuity: Bool, map: String?, lastMap: inout String?, programDate: Int64?, to out: inout TextOutput
    ) {
        if isDiscontinuity { out.add("#EXT-X-DISCONTINUITY\n") }
        if let map, map != lastMap {
            out.add("#EXT-X-MAP:URI=\"")
            out.add(map)
            out.add("\"\n")
            lastMap = map
        }
        if let programDate {
            out.add("#EXT-X-PROGRAM-DATE-TIME:")
            out.addDate(unixNanoseconds: programDate)
            out.add("\n")
        }
    }

    private func add(_ part: Part, to out: inout TextOutput) {
        out.add("#EXT-X-PART:DURATION=")
        out.addSeconds(part.duration)
        out.add(",URI=\"")
        out.add(part.uri)
        out.add("\"")
        if part.isIndependent { out.add(",INDEPENDENT=YES") }
        if part.isGap { out.add(",GAP=YES") }
        out.add("\n")
    }

    private func add(_ report: RenditionReport, to out: inout TextOutput) {
        out.add("#EXT-X-RENDITION-REPORT:URI=\"")
        out.add(report.uri)
        out.add("\",LAST-MSN=")
        out.add(report.lastSequenceNumber)
        if let part = report.lastPart {
            out.add(",LAST-PART=")
            out.add(part)
        }
        out.add("\n")
    }
}
