import MediaFiles
import Recording
import Testing
import Wire

@Suite struct FileNameTests {
    private func values(_ name: String, fileName: String? = nil) -> FileNameTemplate.Values {
        .init(
            identity: .init(
                streamName: name, mediaSessionID: "5ab3", sessionID: "/10.0.0.1:5/x?", login: "alice",
                fileName: fileName), start: 1_700_000_000_123, end: 1_700_000_061_456, duration: .milliseconds(61_333),
            audioCodec: "opus", videoCodec: nil)
    }

    @Test func allElementsAreFilledIn() throws {
        let template = try #require(
            FileNameTemplate(
                "{streamName}_{startTime}_{endTime}_{startTimeMillis}_{endTimeMillis}_{mediaSessionId}_{login}_"
                    + "{audioCodec}_{videoCodec}_{duration}_{durationMillis}_{sessionId}"))
        #expect(
            template.base(values("cam"))
                == "cam_1700000000_1700000061_1700000000123_1700000061456_5ab3_alice_opus_none_61_61333_"
                + "LzEwLjAuMC4xOjUveD8")
        #expect(!template.isKnownAtStart)
        #expect(FileNameTemplate.standard.isKnownAtStart)
        #expect(FileNameTemplate.standard.base(values("cam")) == "stream-5ab3-alice")
    }

    @Test(arguments: ["", "{stream}", "{streamName", "a}b", "{}", "{{login}}"])
    func faultyTemplatesAreRefused(_ text: String) {
        #expect(FileNameTemplate(text) == nil)
    }

    @Test(arguments: [
        ("../../etc/x", "~2E.~2F..~2Fetc~2Fx"), ("$(id)", "~24~28id~29"), ("a\u{0}b", "a~00b"), (".", "~2E"),
        ("..", "~2E."), ("😀", "~F0~9F~98~80"), ("a b%41&c#d?", "a~20b~2541~26c~23d~3F"), ("", "recording"),
        ("~41", "~7E41"), ("-rf-x", "~2Drf-x"), ("naïve", "na~C3~AFve"), ("back\\slash\n", "back~5Cslash~0A"),
    ])
    func unsafeCharactersAreEncoded(_ name: String, _ expected: String) {
        #expect(FileNameTemplate.streamName.base(values(name)) == expected)
        #expect(FileNameTemplate.standard.base(values("x", fileName: name)) == expected)
    }

    @Test func lettersOfAllScriptsMayStayButNothingElse() {
        let base = FileNameTemplate.streamName.base(values("naïve 日本/😀"), keepsUnicode: true)
        #expect(base == "naïve~20日本~2F~F0~9F~98~80")
        #expect(FileNameTemplate.streamName.base(values("a\u{202e}b"), keepsUnicode: true) == "a~E2~80~AEb")
    }

    @Test func namesAreCutAt255BytesBetweenCharacters() {
        for name in ["x", "😀", "é"].map({ String(repeating: $0, count: 300) }) {
            for keeps in [false, true] {
                let base = FileNameTemplate.streamName.base(values(name), keepsUnicode: keeps)
                let whole = FileNameTemplate.fileName(base: base, number: "_12-3", fileExtension: "webm")
                #expect(whole.utf8.count <= 255 && whole.utf8.count > 240)
                #expect(whole.hasSuffix("_12-3.webm"))
                let rest = whole.dropLast("_12-3.webm".count)
                if let tilde = rest.lastIndex(of: "~") { #expect(rest.distance(from: tilde, to: rest.endIndex) >= 3) }
            }
        }
    }

    @Test func formatsAreReadAsWCSWritesThem() {
        #expect(RecordingSettings.formats(parsing: "h264-mp4, vp8-webm") == [.h264: .mp4, .vp8: .webm])
        #expect(RecordingSettings.formats(parsing: "vp8-mp4") == nil)
        #expect(RecordingSettings.formats(parsing: "opus-mp4") == nil)
        #expect(RecordingSettings.formats(parsing: "h264") == nil)
        #expect(RecordingSettings().format(for: [.opus, .vp8]) == .webm)
        #expect(RecordingSettings().format(for: [.opus]) == .mp4)
    }
}
