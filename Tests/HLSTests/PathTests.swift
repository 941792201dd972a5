import HLS
import Testing

@Suite struct PathTests {
    @Test(arguments: [
        ("/cam/cam.m3u8", HLSPath(stream: "cam", resource: .multivariant)),
        ("/cam/index.m3u8", HLSPath(stream: "cam", resource: .multivariant)),
        ("/a%20b%26/a%20b%26.m3u8", HLSPath(stream: "a b&", resource: .multivariant)),
        ("/%D0%BA/%d0%ba.m3u8", HLSPath(stream: "к", resource: .multivariant)),
        ("/cam/main/live.m3u8", HLSPath(stream: "cam", resource: .playlist(rendition: "main"))),
        ("/main/main/live.m3u8", HLSPath(stream: "main", resource: .playlist(rendition: "main"))),
        ("/cam/main/init-3-x9.mp4", HLSPath(stream: "cam", resource: .map(rendition: "main", number: 3, token: "x9"))),
        (
            "/cam/audio-opus/17-x9.m4s",
            HLSPath(stream: "cam", resource: .segment(rendition: "audio-opus", sequenceNumber: 17, token: "x9"))
        ),
        (
            "/cam/main/18446744073709551615.4-x9.ts",
            HLSPath(
                stream: "cam",
                resource: .part(rendition: "main", sequenceNumber: .max, part: 4, token: "x9"))
        ),
    ]) func pathsOfOursAreRead(text: String, path: HLSPath) {
        #expect(HLSPath(text) == path)
    }

    @Test(arguments: [
        "", "/", "/cam", "/cam/", "//cam.m3u8", "/cam/other.m3u8", "cam/cam.m3u8", "/../..m3u8", "/cam/../live.m3u8",
        "/cam/%2e%2e/live.m3u8", "/%2e%2e/index.m3u8", "/a%2fb/a%2fb.m3u8", "/cam/main%2f/live.m3u8",
        "/cam/main/..%2flive.m3u8", "/cam/main/%00", "/cam%00/index.m3u8", "/a%5cb/index.m3u8", "/cam/MAIN/live.m3u8",
        "/cam/main/live.m3u8/", "/cam/main/x/live.m3u8", "/cam/main/17.m4s", "/cam/main/17-.m4s", "/cam/main/-x.m4s",
        "/cam/main/17-x9.mp3", "/cam/main/17-x9", "/cam/main/17.1.2-x9.m4s", "/cam/main/17.-x9.m4s",
        "/cam/main/+7-x9.m4s", "/cam/main/18446744073709551616-x9.m4s", "/cam/main/17-X9.m4s", "/cam/main/init--x.mp4",
        "/cam/main/init-x.mp4", "/%2f%2fx/index.m3u8", "/a%2f..%2fb%3a%2f%2fc/index.m3u8", "/%3a%2f%2fx/index.m3u8",
        "/..%2fx%3a%2f%2fy/index.m3u8", "/rtsp%3a%2f%2fh%2fx/rtsp%3a%2f%2fh%2fy.m3u8", "/rtsp%3a%2f%2fh%5cx/index.m3u8",
        "/rtsp%3a%2f%2fh/main/..%2flive.m3u8", "/rtsp%3a%2f%2fh%00/index.m3u8", "/rtsp://h/x/rtsp://h/x.m3u8",
        "/%ff/index.m3u8", "/%4/index.m3u8", "/%zz/index.m3u8", "/a%0ab/index.m3u8",
    ]) func everythingElseIsNoPath(text: String) {
        #expect(HLSPath(text) == nil)
    }

    @Test func longPathsAreRefused() {
        #expect(HLSPath("/" + String(repeating: "a", count: HLSPath.maxBytes) + "/index.m3u8") == nil)
        // Found by fuzzing: a name that, encoded twice, is longer than any path of ours.
        for (count, isName) in [(255, true), (256, false)] {
            #expect((HLSPath("/" + String(repeating: "a", count: count) + "/index.m3u8") != nil) == isName)
        }
        let token = String(repeating: "a", count: HLSPath.maxTokenBytes + 1)
        #expect(HLSPath("/cam/main/1-\(token).m4s") == nil)
    }

    @Test func namesOfFilesAreReadAsTheyAreWritten() {
        let resources: [HLSPath.Resource] = [
            .playlist(rendition: "main"), .map(rendition: "main", number: 2, token: "q"),
            .segment(rendition: "main", sequenceNumber: 8, token: "q"),
            .part(rendition: "main", sequenceNumber: 8, part: 11, token: "q"),
        ]
        for resource in resources {
            for isTS in [false, true] {
                #expect(HLSPath("/s/main/\(resource.fileName(isTS: isTS))")?.resource == resource)
            }
        }
    }

    /// Cameras' URLs: their slashes are encoded, so that paths have the same number of parts as with any name.
    @Test(arguments: [
        "rtsp://host/live", "rtsps://ann:p%2Fw@host:322/a/b?c=d&e", "rtsp://[::1]/../x", "vod-live://a b.mp4",
    ])
    func aURLMayBeAName(name: String) {
        let encoded = HLSPath.encode(name)
        let main = HLSPath("/\(encoded)/\(encoded).m3u8")
        #expect(main == HLSPath(stream: name, resource: .multivariant) && main?.isOfURL == true)
        #expect(HLSPath("/\(encoded)/index.m3u8") == main)
        #expect(HLSPath("/\(encoded)/main/live.m3u8")?.resource == .playlist(rendition: "main"))
        #expect(HLSPath("/\(encoded)/main/17-x9.m4s")?.stream == name)
        #expect(HLSPath("/cam/cam.m3u8")?.isOfURL == false)
    }

    @Test func encodedNamesAreDecodedToThemselves() {
        for name in ["plain", "a b/c\"d", "zwölf", "100%", "q?x#y"] where !name.contains("/") {
            let encoded = HLSPath.encode(name)
            #expect(HLSPath("/\(encoded)/\(encoded).m3u8") == HLSPath(stream: name, resource: .multivariant))
        }
    }
}

@Suite struct DirectiveTests {
    @Test func directivesAreReadAmongOtherParameters() throws {
        let all = try DeliveryDirectives.parse(query: "token=a%20b&_HLS_msn=12&_HLS_part=3&_HLS_skip=YES&x")
        #expect(all == DeliveryDirectives(sequenceNumber: 12, part: 3, skip: .segments))
        #expect(try DeliveryDirectives.parse(query: "_HLS_skip=v2").skip == .segmentsAndDateRanges)
        #expect(try DeliveryDirectives.parse(query: "") == DeliveryDirectives())
        #expect(try DeliveryDirectives.parse(query: "_HLS_msn=18446744073709551615").sequenceNumber == .max)
    }

    @Test func unknownDirectivesAndValuesAreIgnored() throws {
        #expect(try DeliveryDirectives.parse(query: "_HLS_new=1&_HLS_skip=MAYBE&_hls_msn=x") == DeliveryDirectives())
    }

    @Test(
        arguments: [
            ("_HLS_msn=", .badNumber), ("_HLS_msn=-1", .badNumber), ("_HLS_msn=1.5", .badNumber),
            ("_HLS_msn=18446744073709551616", .badNumber), ("_HLS_msn=0x10", .badNumber),
            ("_HLS_msn=000000000000000000001", .badNumber), ("_HLS_msn=1&_HLS_part=%31", .badNumber),
            ("_HLS_part=1", .partWithoutSegment), ("_HLS_msn=1&_HLS_msn=1", .repeated),
            ("_HLS_skip=YES&_HLS_skip=v2", .repeated),
        ] as [(String, DeliveryDirectives.Failure)]) func badDirectivesAreRefused(
            query: String, failure: DeliveryDirectives.Failure
        )
    {
        #expect(throws: failure) { try DeliveryDirectives.parse(query: query) }
    }

    @Test func longQueriesAreRefused() {
        let query = String(repeating: "a", count: DeliveryDirectives.maxQueryBytes + 1)
        #expect(throws: DeliveryDirectives.Failure.tooLong) { try DeliveryDirectives.parse(query: query) }
    }
}
