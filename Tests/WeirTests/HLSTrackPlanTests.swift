import MediaFormats
import Testing
import Weir

@Suite struct HLSTrackPlanTests {
    private static func codecs(_ codecs: [Codec], _ sound: HLSTrackPlan.Sound = .published) -> [Codec] {
        let plan = HLSTrackPlan(codecs.map { TrackDescription(codec: $0) }, sound: sound)
        return plan.inputs.indices.map { plan.codecs[$0] ?? plan.inputs[$0].codec }
    }

    @Test func whatHLSCanHoldStaysAsItIs() {
        for codec in [Codec.h264, .h265, .vp9, .av1] {
            #expect(Self.codecs([.opus, codec]) == [.opus, codec])
            #expect(HLSTrackPlan([TrackDescription(codec: codec)], sound: .published).codecs.isEmpty)
        }
        #expect(Self.codecs([.aac]) == [.aac])
    }

    @Test func whatHLSCannotHoldIsMadeIntoWhatEveryPlayerPlays() {
        #expect(Self.codecs([.vp8, .pcma]) == [.h264, .aac])
        #expect(Self.codecs([.pcmu, .g722], .both) == [.aac, .aac])
        let plan = HLSTrackPlan([TrackDescription(codec: .vp8), TrackDescription(codec: .opus)], sound: .published)
        #expect(plan.makesPictures && !plan.makesSound && plan.targets == [[0], [1]])
    }

    @Test func transportStreamsHaveFewerCodecs() {
        for codec in [Codec.vp8, .vp9, .av1] {
            let tracks = [TrackDescription(codec: codec), TrackDescription(codec: .opus)]
            let plan = HLSTrackPlan(tracks, sound: .both, isTransportStream: true)
            #expect(plan.codecs == [0: .h264, 1: .aac])
        }
        let tracks = [TrackDescription(codec: .h265), TrackDescription(codec: .aac)]
        #expect(HLSTrackPlan(tracks, sound: .published, isTransportStream: true).codecs.isEmpty)
    }

    @Test func soundIsMadeAsConfigured() {
        #expect(Self.codecs([.h264, .opus], .aac) == [.h264, .aac])
        let both = HLSTrackPlan([TrackDescription(codec: .opus), TrackDescription(codec: .h264)], sound: .both)
        // Frames of the one sound go to two tracks.
        #expect(both.targets == [[0, 1], [2]] && both.codecs == [1: .aac])
        #expect(both.makesSound && !both.makesPictures)
    }
}
