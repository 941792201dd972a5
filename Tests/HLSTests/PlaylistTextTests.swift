import HLS
import MediaFormats
import Testing
import Wire

@Suite struct PlaylistTextTests {
    private func segment(_ number: Int, parts: Int = 0, map: String? = "init-1-t.mp4") -> MediaPlaylist.Segment {
        MediaPlaylist.Segment(
            uri: "\(number)-t.m4s", duration: .seconds(2),
            parts: (0..<parts).map {
                MediaPlaylist.Part(uri: "\(number).\($0)-t.m4s", duration: .milliseconds(500), isIndependent: $0 == 0)
            }, programDate: 1_700_000_000_123_000_000 + Int64(number) * 2_000_000_000, map: map)
    }

    @Test func lowLatencyPlaylistIsWrittenWordForWord() {
        var list = MediaPlaylist(
            targetDuration: 2, partTarget: .milliseconds(500), mediaSequence: 7, discontinuitySequence: 3,
            segments: [segment(7), segment(8, parts: 4)])
        list.segments[1].isDiscontinuity = true
        list.segments[1].map = "init-2-u.mp4"
        list.open = .init(
            parts: [.init(uri: "9.0-t.m4s", duration: .milliseconds(500), isIndependent: true)],
            programDate: 1_700_000_018_123_000_000, map: "init-2-u.mp4")
        list.preloadHint = "9.1-t.m4s"
        list.renditionReports = [.init(uri: "../audio/live.m3u8", lastSequenceNumber: 9, lastPart: 0)]
        #expect(
            string(list.text()) == """
                #EXTM3U
                #EXT-X-VERSION:6
                #EXT-X-TARGETDURATION:2
                #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.50000,HOLD-BACK=6.00000,CAN-SKIP-UNTIL=12.00000
                #EXT-X-PART-INF:PART-TARGET=0.50000
                #EXT-X-MEDIA-SEQUENCE:7
                #EXT-X-DISCONTINUITY-SEQUENCE:3
                #EXT-X-MAP:URI="init-1-t.mp4"
                #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:34.123Z
                #EXTINF:2.00000,
                7-t.m4s
                #EXT-X-DISCONTINUITY
                #EXT-X-MAP:URI="init-2-u.mp4"
                #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:36.123Z
                #EXT-X-PART:DURATION=0.50000,URI="8.0-t.m4s",INDEPENDENT=YES
                #EXT-X-PART:DURATION=0.50000,URI="8.1-t.m4s"
                #EXT-X-PART:DURATION=0.50000,URI="8.2-t.m4s"
                #EXT-X-PART:DURATION=0.50000,URI="8.3-t.m4s"
                #EXTINF:2.00000,
                8-t.m4s
                #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:38.123Z
                #EXT-X-PART:DURATION=0.50000,URI="9.0-t.m4s",INDEPENDENT=YES
                #EXT-X-PRELOAD-HINT:TYPE=PART,URI="9.1-t.m4s"
                #EXT-X-RENDITION-REPORT:URI="../audio/live.m3u8",LAST-MSN=9,LAST-PART=0

                """)
    }

    @Test func transportStreamsWithoutPartsNeedOnlyVersionThree() {
        let list = MediaPlaylist(targetDuration: 2, segments: [segment(0, map: nil)])
        let text = string(list.text())
        #expect(text.contains("#EXT-X-VERSION:3\n"))
        #expect(!tags(text).contains("#EXT-X-SERVER-CONTROL") && !tags(text).contains("#EXT-X-PART-INF"))
    }

    @Test func endedPlaylistSaysSoAndHintsAtNothing() {
        var list = MediaPlaylist(targetDuration: 2, partTarget: .milliseconds(500), segments: [segment(0, parts: 1)])
        list.preloadHint = "1.0-t.m4s"
        list.isEnded = true
        let text = string(list.text(skipping: true))
        #expect(tags(text).contains("#EXT-X-ENDLIST"))
        #expect(!tags(text).contains("#EXT-X-PRELOAD-HINT"))
        // A live playlist never gets a type (§6.2.2), and what has ended is sent whole (§6.2.5.1).
        #expect(!tags(text).contains("#EXT-X-PLAYLIST-TYPE") && !tags(text).contains("#EXT-X-SKIP"))
    }

    @Test func gapsAreMarkedOnSegmentsAndParts() {
        var list = MediaPlaylist(targetDuration: 2, partTarget: .milliseconds(500), segments: [segment(0, parts: 1)])
        list.segments[0].isGap = true
        list.segments[0].parts[0].isGap = true
        let text = string(list.text())
        #expect(text.contains("#EXT-X-GAP\n#EXT-X-PART:DURATION=0.50000,URI=\"0.0-t.m4s\",INDEPENDENT=YES,GAP=YES\n"))
    }

    @Test func deltaUpdateLeavesOutWhatIsBeyondTheSkipBoundaryOnly() {
        var list = MediaPlaylist(
            targetDuration: 2, partTarget: .milliseconds(500), mediaSequence: 100,
            segments: (0..<10).map { segment($0) })
        // Six target durations are twelve seconds: six segments of two; the seventh from the end lies beyond.
        #expect(list.skippableSegments == 3)
        let text = string(list.text(skipping: true))
        #expect(text.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n"))
        #expect(text.contains("#EXT-X-VERSION:9\n"))
        #expect(text.contains("#EXT-X-MEDIA-SEQUENCE:100\n"))
        #expect(text.split(separator: "\n").count { $0.hasPrefix("#EXTINF") } == 7)
        #expect(!text.contains("#EXT-X-MAP"))
        list.segments = Array(list.segments[3...])
        #expect(list.skippableSegments == 0)
        #expect(string(list.text(skipping: true)) == string(list.text()))
    }

    /// What a player makes of an update and of the playlist that it had is the playlist that it could have loaded.
    @Test func deltaUpdateAndOldPlaylistMakeTheWholeOne() throws {
        var dice = Dice(4)
        var list = MediaPlaylist(targetDuration: 2, partTarget: .milliseconds(500))
        var map = 1
        for number in 0..<40 {
            var next = segment(number)
            next.duration = .milliseconds(Int64.random(in: 700...2_400, using: &dice))
            if Int.random(in: 0..<6, using: &dice) == 0 {
                map += 1
                next.isDiscontinuity = true
            }
            next.map = "init-\(map)-t.mp4"
            let old = list
            list.segments.append(next)
            if list.segments.count > 12 {
                if list.segments.removeFirst().isDiscontinuity { list.discontinuitySequence += 1 }
                list.mediaSequence += 1
            }
            let skipped = list.skippableSegments
            guard skipped > 0 else { continue }
            let delta = string(list.text(skipping: true))
            var lines = delta.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            let skip = try #require(lines.firstIndex { $0.hasPrefix("#EXT-X-SKIP") })
            // The segments left out are in the playlist before, one place later.
            let known = Array(old.segments.suffix(from: Int(list.mediaSequence - old.mediaSequence)).prefix(skipped))
            #expect(known == Array(list.segments.prefix(skipped)))
            var head = list
            head.segments = known
            let filled = string(head.text()).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            let start = try #require(filled.firstIndex { $0.hasPrefix("#EXT-X-MAP") || $0 == "#EXT-X-DISCONTINUITY" })
            lines.replaceSubrange(skip...skip, with: filled[start..<(filled.count - 1)])
            let whole = string(list.text()).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            // Only the version differs, which an update must raise.
            #expect(
                lines.filter { !$0.hasPrefix("#EXT-X-VERSION") } == whole.filter { !$0.hasPrefix("#EXT-X-VERSION") })
        }
    }

    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"), (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ]) func datesAreOfTheGregorianCalendar(milliseconds: Int, text: String) {
        var out = TextOutput()
        out.addDate(unixNanoseconds: Int64(milliseconds) * 1_000_000)
        #expect(string(out.bytes) == text)
    }

    @Test func secondsAreRounded() {
        for (nanoseconds, text) in [
            (0, "0.00000"), (4_999, "0.00000"), (5_000, "0.00001"), (333_333_333, "0.33333"),
            (1_999_996_000, "2.00000"),
            (12_345_678_901, "12.34568"),
        ] {
            var out = TextOutput()
            out.addSeconds(.nanoseconds(Int64(nanoseconds)))
            #expect(string(out.bytes) == text)
        }
    }

    @Test func advancePartLimitIsThreeSecondsOfParts() {
        #expect(ServerControl.advancePartLimit(partTarget: .milliseconds(315)) == 10)
        #expect(ServerControl.advancePartLimit(partTarget: .milliseconds(1_000)) == 3)
        #expect(ServerControl.advancePartLimit(partTarget: .milliseconds(500)) == 6)
    }
}

@Suite struct MultivariantTests {
    @Test func variantsAndSoundGroupAreWrittenWordForWord() {
        let list = MultivariantPlaylist(
            variants: [
                .init(
                    uri: "main/live.m3u8", bandwidth: 2_100_000, averageBandwidth: 1_900_000,
                    codecs: ["avc1.64000d", "opus", "mp4a.40.2"], resolution: VideoSize(width: 1280, height: 720),
                    frameRate: 29.97003, audioGroup: "audio")
            ],
            audio: [
                .init(group: "audio", name: "opus", uri: "audio-opus/live.m3u8", channels: 2, isDefault: true),
                .init(group: "audio", name: "aac", uri: "audio-aac/live.m3u8", channels: 2, isDefault: false),
            ])
        #expect(
            string(list.text(query: "s=1")) == """
                #EXTM3U
                #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="opus",AUTOSELECT=YES,DEFAULT=YES,CHANNELS="2",URI="audio-opus/live.m3u8?s=1"
                #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="aac",AUTOSELECT=YES,DEFAULT=NO,CHANNELS="2",URI="audio-aac/live.m3u8?s=1"
                #EXT-X-STREAM-INF:BANDWIDTH=2100000,AVERAGE-BANDWIDTH=1900000,CODECS="avc1.64000d,opus,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO="audio"
                main/live.m3u8?s=1

                """)
    }

    @Test func averageIsNeverAboveThePeakAndNothingIsZero() {
        let list = MultivariantPlaylist(variants: [.init(uri: "a", bandwidth: 0, averageBandwidth: 9)])
        #expect(string(list.text()) == "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1\na\n")
    }
}
