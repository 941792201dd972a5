import HLS
import MediaFormats
import Testing
import Wire

@Suite struct WindowTests {
    private func window(_ change: (inout StreamWindow.Settings) -> Void = { _ in }) -> StreamWindow {
        var settings = StreamWindow.Settings()
        settings.partTarget = .milliseconds(500)
        change(&settings)
        return StreamWindow(renditions: ["main", "audio"], settings: settings, makeToken: countedTokens())
    }

    private func part(_ bytes: Int = 10) -> StreamWindow.Part {
        let media: any StoredBytes = PlainBytes([UInt8](repeating: 1, count: bytes))
        return StreamWindow.Part(duration: .milliseconds(500), media: [media, media], isIndependent: [true, true])
    }

    /// A segment of four parts, two seconds long, that ends at `now`.
    private func add(
        _ window: inout StreamWindow, now: Interval, isDiscontinuity: Bool = false, bytes: Int = 10,
        isOpen: Bool = false
    ) {
        let isFirst = window.segments.isEmpty && window.open == nil
        window.begin(
            at: window.endTime, programDate: now.nanoseconds, isDiscontinuity: isDiscontinuity,
            maps: isFirst || isDiscontinuity ? [PlainBytes([7]), PlainBytes([8])] : nil)
        for _ in 0..<(isOpen ? 2 : 4) { window.add(part(bytes)) }
        if !isOpen { window.endSegment(now: .at(now)) }
    }

    @Test func livePlaylistKeepsItsNumberOfSegmentsAndCountsOn() {
        var window = window()
        for index in 1...20 { add(&window, now: .seconds(2 * Int64(index)), isDiscontinuity: index == 5) }
        let list = window.playlist(rendition: 0)
        #expect(list.segments.count == 8 && list.mediaSequence == 12)
        // The fifth segment has left with its discontinuity.
        #expect(list.discontinuitySequence == 1)
        #expect(list.segments.allSatisfy { !$0.isDiscontinuity })
    }

    @Test func numbersOfSegmentsAndOfTheirDiscontinuitiesNeverChange() {
        var window = window()
        var dice = Dice(3)
        var known: [UInt64: (uri: String, discontinuity: UInt64)] = [:]
        var last = (media: UInt64(0), discontinuity: UInt64(0))
        for index in 1...200 {
            add(&window, now: .seconds(2 * Int64(index)), isDiscontinuity: Int.random(in: 0..<5, using: &dice) == 0)
            let list = window.playlist(rendition: 0)
            #expect(list.mediaSequence >= last.media && list.discontinuitySequence >= last.discontinuity)
            last = (list.mediaSequence, list.discontinuitySequence)
            var discontinuity = list.discontinuitySequence
            for (place, segment) in list.segments.enumerated() {
                if segment.isDiscontinuity { discontinuity += 1 }
                let number = list.mediaSequence + UInt64(place)
                if let before = known[number] {
                    #expect(before.uri == segment.uri && before.discontinuity == discontinuity)
                }
                known[number] = (segment.uri, discontinuity)
            }
        }
    }

    @Test func nothingLeavesThatWouldMakeThePlaylistShorterThanThreeTargetDurations() {
        var window = window { $0.liveSegments = 1 }
        for index in 1...20 {
            add(&window, now: .seconds(2 * Int64(index)))
            #expect(window.duration == .seconds(min(6, 2 * Int64(index))))
        }
    }

    @Test func partsAreListedForThreeTargetDurationsOnly() {
        var window = window()
        for index in 1...8 { add(&window, now: .seconds(2 * Int64(index))) }
        add(&window, now: .seconds(18), isOpen: true)
        let list = window.playlist(rendition: 0)
        // One second of the open segment, then 2, 4: the fourth begins five seconds from the end.
        #expect(list.segments.map { $0.parts.count } == [0, 0, 0, 0, 0, 4, 4, 4])
        #expect(list.open?.parts.count == 2)
    }

    @Test func segmentsThatHaveLeftCanStillBeLoadedForAsLongAsTheDraftWants() throws {
        var window = window()
        for index in 1...8 { add(&window, now: .seconds(2 * Int64(index))) }
        let first = HLSPath.Resource.segment(rendition: "main", sequenceNumber: 0, token: "t0")
        add(&window, now: .seconds(18))
        #expect(window.playlist(rendition: 0).mediaSequence == 1)
        // It appeared at 2 s; its own two seconds and the longest playlist's eighteen later it may go.
        for (now, isThere) in [
            (Interval.seconds(19), true), (.milliseconds(21_900), true), (.milliseconds(22_100), false),
        ] {
            window.trim(now: .at(now))
            let isFound = if case .media = window.find(first) { true } else { false }
            #expect(isFound == isThere)
        }
    }

    @Test func resourcesAreFoundByTheirWholeNameOnly() {
        var window = window()
        add(&window, now: .seconds(2))
        add(&window, now: .seconds(4), isOpen: true)
        func kind(_ resource: HLSPath.Resource) -> String {
            switch window.find(resource) {
            case .media(let media): "media \(media.count)"
            case .ahead: "ahead"
            case .nothing: "nothing"
            }
        }
        #expect(kind(.segment(rendition: "main", sequenceNumber: 0, token: "t0")) == "media 40")
        #expect(kind(.segment(rendition: "main", sequenceNumber: 0, token: "t1")) == "nothing")
        #expect(kind(.segment(rendition: "other", sequenceNumber: 0, token: "t0")) == "nothing")
        #expect(kind(.segment(rendition: "main", sequenceNumber: 1, token: "t1")) == "nothing")
        #expect(kind(.part(rendition: "audio", sequenceNumber: 0, part: 3, token: "t0")) == "media 10")
        #expect(kind(.part(rendition: "main", sequenceNumber: 0, part: 4, token: "t0")) == "nothing")
        let open = window.open?.token ?? ""
        #expect(kind(.part(rendition: "main", sequenceNumber: 1, part: 1, token: open)) == "media 10")
        #expect(kind(.part(rendition: "main", sequenceNumber: 1, part: 2, token: open)) == "ahead")
        #expect(kind(.part(rendition: "main", sequenceNumber: 1, part: 3, token: open)) == "nothing")
        #expect(kind(.part(rendition: "main", sequenceNumber: 1, part: 2, token: "x")) == "nothing")
        #expect(kind(.part(rendition: "main", sequenceNumber: .max, part: .max, token: "x")) == "nothing")
        #expect(kind(.map(rendition: "audio", number: 1, token: "t1")) == "media 1")
        #expect(kind(.map(rendition: "audio", number: 1, token: "t2")) == "nothing")
        window.endSegment(now: .at(.seconds(4)))
        window.end()
        #expect(kind(.part(rendition: "main", sequenceNumber: 2, part: 0, token: "t3")) == "nothing")
    }

    @Test func hintNamesWhatTheNextPartWillBeCalled() throws {
        var window = window()
        add(&window, now: .seconds(2))
        for _ in 0..<3 {
            let hint = try #require(window.playlist(rendition: 0).preloadHint)
            if window.open == nil {
                window.begin(at: window.endTime, programDate: 0, isDiscontinuity: false, maps: nil)
            }
            window.add(part())
            #expect(window.playlist(rendition: 0).open?.parts.last?.uri == hint)
        }
        window.end()
        #expect(window.playlist(rendition: 0).preloadHint == nil)
    }

    @Test func positionsFollowTheDraft() {
        var window = window()
        for index in 1...10 { add(&window, now: .seconds(2 * Int64(index))) }
        add(&window, now: .seconds(22), isOpen: true)
        // Whole: 2...9 listed; open: 10 with parts 0 and 1.
        #expect(window.position(segment: 0, part: nil) == .here)
        #expect(window.position(segment: 9, part: nil) == .here)
        #expect(window.position(segment: 10, part: nil) == .ahead)
        #expect(window.position(segment: 11, part: nil) == .ahead)
        #expect(window.position(segment: 12, part: nil) == .tooFar)
        #expect(window.position(segment: .max, part: .max) == .tooFar)
        #expect(window.position(segment: 10, part: 1) == .here)
        #expect(window.position(segment: 10, part: 2) == .ahead)
        // Parts of half a second: six ahead of the last one.
        #expect(window.position(segment: 10, part: 7) == .ahead)
        #expect(window.position(segment: 10, part: 8) == .tooFar)
        // Beyond the last part of a whole segment: the first of the next one.
        #expect(window.position(segment: 9, part: 4) == .here)
        #expect(window.position(segment: 9, part: 400) == .here)
        window.endSegment(now: .at(.seconds(21)))
        #expect(window.position(segment: 10, part: 2) == .ahead)
        #expect(window.position(segment: 11, part: 0) == .ahead)
        window.end()
        #expect(window.position(segment: .max, part: nil) == .here)
    }

    @Test func windowForGoingBackKeepsItsTimeAndSpillsToDisk() throws {
        var window = window {
            $0.backwards = .seconds(60)
            $0.memoryLimit = 1_000
            $0.diskLimit = 1 << 20
        }
        var store = SpillStore(directory: "/tmp")
        for index in 1...50 {
            let now = Interval.seconds(2 * Int64(index))
            add(&window, now: now, bytes: 20)
            while let segment = window.nextToSpill(now: .at(now)) {
                let media = try segment.media.map { media -> FileBytes? in
                    guard case .memory(let pieces)? = media else { return nil }
                    return try store.store(pieces)
                }
                window.spilled(segment.number, to: media)
            }
        }
        #expect(window.segments.count == 30 && window.duration == .seconds(60))
        // What is younger than six target durations stays: 7 segments of 160 bytes.
        #expect(window.memory <= 1_120 && window.disk > 3_000)
        let oldest = window.segments[0]
        let found = window.find(.segment(rendition: "main", sequenceNumber: oldest.number, token: oldest.token))
        guard case .media(.file(let stretch)) = found else {
            Issue.record("the oldest segment is on disk")
            return
        }
        #expect(try stretch.file.read(at: stretch.offset, count: stretch.count) == [UInt8](repeating: 1, count: 80))
        for index in 51...200 { add(&window, now: .seconds(2 * Int64(index)), bytes: 20) }
        #expect(window.disk == 0)
    }

    @Test func memoryLimitWithoutDiskShortensTheWindowButNotBelowWhatPlayersNeed() {
        var window = window {
            $0.backwards = .seconds(600)
            $0.memoryLimit = 2_000
        }
        for index in 1...60 { add(&window, now: .seconds(2 * Int64(index)), bytes: 40) }
        #expect(window.duration == .seconds(6))
    }

    @Test func windowThatCannotSpillEndsWithMemory() throws {
        var window = window {
            $0.backwards = .seconds(600)
            $0.memoryLimit = 2_000
            $0.diskLimit = 1 << 20
        }
        for index in 1...40 { add(&window, now: .seconds(2 * Int64(index)), bytes: 40) }
        #expect(window.memory > 4_000)
        window.cannotSpill()
        #expect(window.nextToSpill(now: .at(.seconds(80))) == nil)
        for index in 41...60 { add(&window, now: .seconds(2 * Int64(index)), bytes: 40) }
        #expect(window.duration == .seconds(6))
    }

    @Test func bandwidthIsThePeakSegmentsAndTheAverageOfAll() {
        var window = window()
        add(&window, now: .seconds(2), bytes: 1_000)
        add(&window, now: .seconds(4), bytes: 3_000)
        add(&window, now: .seconds(6), bytes: 1_000)
        // 12,000 bytes in two seconds; 20,000 in six.
        #expect(window.rates[0].largest == 48_000)
        #expect(window.rates[0].average == 26_667)
    }
}

@Suite struct SpillFileTests {
    @Test func bytesComeBackAsTheyWereWrittenAndTheFileHasNoName() throws {
        var store = SpillStore(directory: "/tmp")
        let first = try store.store([PlainBytes([1, 2]), PlainBytes([3])])
        let second = try store.store([PlainBytes([4, 5, 6, 7])])
        #expect(try first.file.read(at: first.offset, count: first.count) == [1, 2, 3])
        #expect(try second.file.read(at: second.offset, count: second.count) == [4, 5, 6, 7])
        #expect(first.file === second.file)
        #expect(try second.file.read(at: second.offset, count: 100) == [4, 5, 6, 7])
    }

    @Test func missingDirectoryIsAnError() {
        #expect(throws: SpillFile.Failure.self) { try SpillFile(directory: "/nonexistent/x") }
    }
}
