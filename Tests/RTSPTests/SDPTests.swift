import MediaFormats
import RTSP
import SDP
import Testing
import Wire

@Suite struct DescriptionTests {
    private func read(_ text: String) throws -> RTSPDescription { try RTSPDescription(parsing: bytes(crlf(text))) }

    /// A Hikvision camera's, with its zero byte at the end.
    private static let camera = """
        v=0
        o=- 1109162014219182 1109162014219192 IN IP4 x.y.z.w
        s=Media Presentation
        e=NONE
        c=IN IP4 0.0.0.0
        b=AS:5050
        t=0 0
        a=control:rtsp://192.168.1.64:554/Streaming/Channels/101/
        m=video 0 RTP/AVP 96
        b=AS:5000
        a=control:rtsp://192.168.1.64:554/Streaming/Channels/101/trackID=1
        a=rtpmap:96 H264/90000
        a=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=Z00AKY2NQDwBE/LCAAAOEAACvyAI,aO44gA==
        m=audio 0 RTP/AVP 8
        b=AS:50
        a=control:rtsp://192.168.1.64:554/Streaming/Channels/101/trackID=2
        a=rtpmap:8 PCMA/8000
        a=Media_header:MEDIAINFO=494D4B48010200000400000111710110401F000000FA000000000000000000000000000000000000;
        a=appversion:1.0
        """

    @Test func aCamerasDescription() throws {
        let description = try RTSPDescription(parsing: bytes(crlf(Self.camera)) + [0, 0])
        try #require(description.tracks.count == 2)
        let video = description.tracks[0]
        #expect(video.description.codec == .h264 && video.description.payloadType == 96)
        #expect(video.description.clockRate == 90_000)
        #expect(video.description.parameterSets.map(\.count) == [21, 4])
        #expect(video.control == "rtsp://192.168.1.64:554/Streaming/Channels/101/trackID=1")
        #expect(description.tracks[1].description == TrackDescription(codec: .pcma, payloadType: 8))
        #expect(description.unsupported.isEmpty)
    }

    @Test func whatCamerasLeaveOut() throws {
        // No version, no rtpmap for fixed types, no control, spaces before lines, a line that is none, CR alone.
        let text =
            "\u{feff}s=x\r\r\nm=audio 0 RTP/AVP 0\r\nnonsense\r\n m=audio 0 RTP/AVP 9\n a=sendonly\u{1}\nm=video 0 RTP/AVP 26"
        let description = try RTSPDescription(parsing: bytes(text))
        #expect(description.tracks.map(\.description.codec) == [.pcmu, .g722])
        #expect(description.tracks.allSatisfy { $0.control == nil })
        #expect(description.tracks.map(\.mLineIndex) == [0, 1])
        #expect(description.unsupported == ["video 26"])
    }

    @Test func everyCodec() throws {
        let description = try read(
            """
            v=0
            o=- 0 0 IN IP4 127.0.0.1
            s=No Name
            t=0 0
            a=control:*
            a=range:npt=now-
            m=video 0 RTP/AVP 96
            a=rtpmap:96 H265/90000
            a=fmtp:96 sprop-vps=QAEMAf//AWAAAAMAkAAAAwAAAwB4mZgJ;sprop-sps=QgEBAWAAAAMAkAAAAwAAAwB4oAPAgBDllmZJMrwFoCAAAAMAIAAAAwMh;sprop-pps=RAHBc9GJ
            a=control:streamid=0
            m=video 0 RTP/AVPF 97
            a=rtpmap:97 vp8/90000
            m=video 0 RTP/AVP 98
            a=rtpmap:98 VP9/90000
            m=video 0 RTP/AVP 99
            a=rtpmap:99 AV1/90000
            a=fmtp:99 profile=0;level-idx=8
            m=audio 0 RTP/AVP 100
            a=rtpmap:100 opus/48000/2
            m=audio 0 RTP/AVP 101
            a=rtpmap:101 MPEG4-GENERIC/44100/2
            a=fmtp:101 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=121056E500
            m=audio 0 RTP/AVP 102
            a=rtpmap:102 mpeg4-generic/16000
            m=application 0 RTP/AVP 107
            a=rtpmap:107 vnd.onvif.metadata/90000
            m=video 0 RTP/AVP 103
            a=rtpmap:103 H264/90000
            a=fmtp:103 packetization-mode=2
            m=audio 0 RTP/AVP 104
            a=rtpmap:104 MP4A-LATM/44100
            m=video 0 RAW/RAW/UDP 33
            m=video 0 RTP/AVP 105
            a=rtpmap:105 PCMU/8000
            """)
        #expect(
            description.tracks.map(\.description.codec) == [.h265, .vp8, .vp9, .av1, .opus, .aac, .aac])
        let tracks = description.tracks.map(\.description)
        #expect(tracks[0].parameterSets.count == 3)
        #expect(
            tracks[5].clockRate == 44_100 && tracks[5].channels == 2
                && tracks[5].parameterSets == [[0x12, 0x10, 0x56, 0xe5, 0]])
        #expect(tracks[6].clockRate == 16_000 && tracks[6].channels == 1 && tracks[6].parameterSets == [[0x14, 0x08]])
        #expect(
            description.unsupported == [
                "application vnd.onvif.metadata", "video H264", "audio MP4A-LATM", "video 33", "video PCMU",
            ])
        #expect(description.control == "*" && description.range == .live)
    }

    @Test func parameterSetsWithStartCodesOrNone() throws {
        // 00 00 00 01 before each set
        let withCodes = try read(
            "v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets=AAAAAWdNACmNjUA8ARPywgAADhAAAr8gCA==,AAAAAWjuOIA=,,!!"
        )
        #expect(
            withCodes.tracks[0].description.parameterSets == (try read(Self.camera)).tracks[0].description.parameterSets
        )
        let none = try read(
            "v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets=AAAA,/////w==")
        #expect(none.tracks[0].description.parameterSets.isEmpty)
    }

    @Test func aacWithoutUse() throws {
        for fmtp in ["config=F800", "config=12", "mode=CELP-cbr;config=1210", "config=11F0"] {
            let description = try read(
                "v=0\nm=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/44100/2\na=fmtp:97 \(fmtp)")
            #expect(description.tracks.isEmpty, "\(fmtp)")
        }
    }

    @Test func boundsOfADescription() {
        func failure(_ text: String) -> SDPError? {
            do {
                _ = try RTSPDescription(parsing: bytes(text))
                return nil
            } catch {
                return error
            }
        }
        #expect(failure(String(repeating: "m=audio 0 RTP/AVP 0\r\n", count: 17)) == .tooManyMedia(limit: 16))
        #expect(failure("") != nil && failure("m=audio x RTP/AVP 0") != nil)
        #expect(failure("v=0\r\n" + String(repeating: "a=x\r\n", count: 5000)) == .tooManyLines(limit: 4096))
    }

    // MARK: Writing

    @Test func whatWeWriteWeRead() throws {
        let published = try read(Self.camera).tracks.map(\.description)
        let tracks =
            published + [
                TrackDescription(codec: .vp8), TrackDescription(codec: .vp9, formatParameters: "profile-id=2;x=y"),
                TrackDescription(codec: .av1, formatParameters: "level-idx=8;profile=0;tier=0"),
                TrackDescription(codec: .opus, formatParameters: "minptime=10;useinbandfec=1;stereo=1"),
                TrackDescription(codec: .pcma), TrackDescription(codec: .pcmu, channels: 2),
                TrackDescription(codec: .g722),
                TrackDescription(codec: .aac, clockRate: 44_100, channels: 2, parameterSets: [[0x12, 0x10]]),
            ]
        let text = RTSPDescription.text(name: "a stream\r\nm=x", tracks: tracks, sessionID: .max)
        let again = try RTSPDescription(parsing: bytes(text))
        #expect(again.unsupported.isEmpty)
        #expect(again.tracks.map(\.description.codec) == tracks.map(\.codec))
        #expect(again.tracks.map(\.description.parameterSets) == tracks.map(\.parameterSets))
        #expect(again.tracks.map(\.description.channels) == tracks.map(\.channels))
        #expect(again.tracks.map(\.control) == tracks.indices.map { "trackID=\($0)" })
        // One fixed type each; the second PCMA and what has no fixed type get numbers of their own.
        #expect(again.tracks.map(\.description.payloadType) == [96, 8, 97, 98, 99, 100, 101, 102, 9, 103])
        #expect(again.tracks.map(\.description.payloadType) == RTSPDescription.payloadTypes(tracks))
        #expect(
            text.contains(
                "a=fmtp:96 packetization-mode=1;profile-level-id=4D0029;sprop-parameter-sets=Z00AKY2NQDwBE/LCAAAOEAACvyAI,aO44gA==\r\n"
            ))
        #expect(text.contains("a=fmtp:98 profile-id=2\r\n") && text.contains("a=fmtp:100 sprop-stereo=1\r\n"))
        #expect(
            text.contains(
                "a=fmtp:103 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1210\r\n"
            ))
        #expect(text.contains("s=a stream  m=x\r\n") && text.contains("a=range:npt=now-\r\n"))
    }

    @Test func parametersOfPublishersCannotAddLines() throws {
        let track = TrackDescription(codec: .vp9, formatParameters: "profile-id=1\r\na=control:stolen")
        let text = RTSPDescription.text(name: "x", tracks: [track], sessionID: 1)
        #expect(try RTSPDescription(parsing: bytes(text)).tracks[0].control == "trackID=0")
    }

    // MARK: Bitstream

    private let sps: [UInt8] = [0x67, 0x4d, 0x00, 0x29, 0x8d, 0x8d, 0x40, 0x3c]
    private let pps: [UInt8] = [0x68, 0xee, 0x38, 0x80]

    @Test func parameterSetsAreFoundInTheBitstream() {
        var collector = ParameterSetCollector(codec: .h264)
        collector.add([0x41, 0x9a, 1, 2, 3].span.bytes)
        #expect(collector.sets.isEmpty)
        collector.add(pps.span.bytes)
        collector.add(([0x78, 0, 8] + sps + [0, 4] + pps + [0, 2, 0x65, 0x88]).span.bytes)
        #expect(collector.sets == [sps, pps])
        let newer: [UInt8] = [0x67, 0x4d, 0x00, 0x29, 0x8d, 0x8d, 0x50, 0x3c]
        collector.add(newer.span.bytes)
        #expect(collector.sets == [newer, pps])
        // Lengths that point outside
        collector.add([0x78, 0xff, 0xff, 0x67].span.bytes)
        collector.add([0x78, 0, 0, 0x67].span.bytes)
        #expect(collector.sets == [newer, pps])
        var other = ParameterSetCollector(codec: .vp8)
        other.add(sps.span.bytes)
        #expect(other.sets.isEmpty)
    }

    @Test func parameterSetsAreBounded() {
        var collector = ParameterSetCollector(codec: .h264)
        // Sets of numbers 0...300: Exp-Golomb of the first bits
        for id in UInt32(0)..<300 {
            let code = id + 1
            let length = 32 - code.leadingZeroBitCount
            let bits = UInt64(code) << UInt64(32 - (2 * length - 1))
            collector.add(
                ([0x68] + (0..<4).map { UInt8(truncatingIfNeeded: bits >> UInt64(24 - 8 * $0)) } + [0x80]).span.bytes)
        }
        #expect(collector.sets.count == 16)
        var large = ParameterSetCollector(codec: .h264)
        large.add((sps + [UInt8](repeating: 1, count: 20_000)).span.bytes)
        #expect(large.sets.isEmpty)
    }

    // MARK: AAC

    @Test func accessUnitsOfAPacket() {
        let format = MPEG4Generic()
        // Two units of 3 and 2 bytes: header of 32 bits.
        let two: [UInt8] = [0, 32, 0, 3 << 3, 0, 2 << 3, 1, 2, 3, 4, 5]
        #expect(format.units(in: two.span.bytes).ranges == [6..<9, 9..<11])
        let one = MPEG4Generic.header(unitSize: 300) + [UInt8](repeating: 7, count: 300)
        #expect(format.units(in: one.span.bytes).ranges == [4..<304])
        let part = MPEG4Generic.header(unitSize: 4000) + [UInt8](repeating: 7, count: 300)
        #expect(format.units(in: part.span.bytes).ranges == [4..<304])
        #expect(format.units(in: part.span.bytes).wholeSize == 4000)
        // Interleaved, empty, cut: nothing is made up.
        for bad: [UInt8] in [
            [], [0], [0, 16], [0, 16, 0, 8 | 1, 5], [0, 16, 0, 0, 5], [0, 255, 0, 8, 5], [0, 32, 0, 8, 0, 80, 1],
            [0xff, 0xff, 0, 8, 5],
        ] {
            #expect(format.units(in: bad.span.bytes).ranges.isEmpty)
        }
        #expect(MPEG4Generic("mode=AAC-lbr") == MPEG4Generic(sizeLength: 6, indexLength: 2, indexDeltaLength: 2))
        #expect(MPEG4Generic("sizelength=-5;indexlength=99") == MPEG4Generic(sizeLength: 0, indexLength: 32))
        #expect(MPEG4Generic("sizelength=0").units(in: two.span.bytes).ranges.isEmpty)
    }

    @Test func audioSpecificConfigs() {
        func parse(_ bytes: [UInt8]) -> AudioSpecificConfig? { AudioSpecificConfig(parsing: bytes.span.bytes) }
        #expect(parse([0x12, 0x10]) == AudioSpecificConfig(sampleRate: 44_100, channels: 2))
        #expect(parse([0x11, 0x90]) == AudioSpecificConfig(sampleRate: 48_000, channels: 2))
        // HE-AAC, said outright
        #expect(parse([0x2b, 0x92, 0x08, 0x00])?.objectType == 5)
        // A rate in 24 bits
        #expect(parse([0x17, 0x80, 0x56, 0x22, 0x10])?.sampleRate == 44_100)
        #expect(parse([]) == nil && parse([0x12]) == nil && parse([0x12, 0x00]) == nil && parse([0x16, 0x90]) == nil)
        #expect(AudioSpecificConfig(sampleRate: 44_100, channels: 2).bytes == [0x12, 0x10])
        #expect(AudioSpecificConfig(sampleRate: 44_101, channels: 2).bytes == nil)
    }
}
