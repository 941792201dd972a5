import HLS
import MediaFormats
import Testing
import Wire

/// Expected names and records are ffmpeg's for the same streams.
@Suite struct CodecTests {
    private func contains(_ bytes: [UInt8], _ hex: String) -> Bool {
        let wanted = Clip.bytes(hex)
        return bytes.indices.contains { bytes[$0...].starts(with: wanted) }
    }

    private func initialisation(_ configuration: CodecConfiguration) -> [UInt8] {
        var writer = FragmentedMP4()
        return writer.begin([OutputTrack(configuration: configuration, size: Clip.size)]) ?? []
    }

    @Test func h264() throws {
        let track = TrackDescription(codec: .h264, parameterSets: [Clip.sps, Clip.pps])
        let configuration = try #require(CodecConfiguration(track, keyFrame: nil))
        #expect(configuration.name == "avc1.64000d")
        #expect(
            contains(
                initialisation(configuration),
                "617663430164000dffe100186764000dacb202833f3e0220000003002000000781e2854901000668ebc3cb22c0fdf8f800"))
    }

    @Test func h265() throws {
        let track = TrackDescription(codec: .h265, parameterSets: Clip.hevc)
        let configuration = try #require(CodecConfiguration(track, keyFrame: nil))
        #expect(configuration.name == "hvc1.1.6.L60.90")
        // The arrays are complete here, which ffmpeg leaves open.
        #expect(
            contains(
                initialisation(configuration),
                "687663430101600000009000000000003cf000fcfdf8f800000f03a00001001840010c01ffff0160000003"))
    }

    @Test func vp9() throws {
        let frame = MediaFrame(track: 0, data: Clip.vp9KeyFrame, time: .zero)
        let configuration = try #require(CodecConfiguration(TrackDescription(codec: .vp9), keyFrame: frame))
        #expect(configuration.name == "vp09.00.11.08")
        #expect(contains(initialisation(configuration), "7670634301000000000b820202020000"))
    }

    @Test func av1() throws {
        let track = TrackDescription(codec: .av1, parameterSets: [Clip.av1SequenceHeader])
        let configuration = try #require(CodecConfiguration(track, keyFrame: nil))
        #expect(configuration.name == "av01.0.00M.08")
        #expect(contains(initialisation(configuration), "6176314381000c000a0b000000043cfeccdaf90040"))
    }

    @Test func sound() throws {
        let opus = try #require(CodecConfiguration(TrackDescription(codec: .opus), keyFrame: nil))
        #expect(opus.name == "opus")
        #expect(contains(initialisation(opus), "644f707300020000" + "0000bb80000000"))
        let track = TrackDescription(codec: .aac, parameterSets: [[0x11, 0x90]])
        let aac = try #require(CodecConfiguration(track, keyFrame: nil))
        #expect(aac.name == "mp4a.40.2")
        #expect(contains(initialisation(aac), "0502" + "1190" + "060102"))
    }

    @Test func codecsWithoutAPlaceInHLSAndBrokenSetsHaveNoConfiguration() {
        for codec in [Codec.vp8, .pcmu, .pcma, .g722, .h264, .h265, .vp9, .av1] {
            let frame = MediaFrame(track: 0, data: [0], time: .zero, parameterSets: [[0x67, 1]])
            #expect(CodecConfiguration(TrackDescription(codec: codec), keyFrame: frame) == nil)
        }
        // Cut short at every byte: refused or read, never a trap.
        for length in 0..<Clip.hevc[1].count {
            let track = TrackDescription(
                codec: .h265, parameterSets: [Clip.hevc[0], Array(Clip.hevc[1].prefix(length)), Clip.hevc[2]])
            _ = CodecConfiguration(track, keyFrame: nil).map(initialisation)
        }
        for length in 0..<Clip.av1SequenceHeader.count {
            let header = Array(Clip.av1SequenceHeader.prefix(length))
            _ = CodecConfiguration(TrackDescription(codec: .av1, parameterSets: [header]), keyFrame: nil)
        }
    }
}
