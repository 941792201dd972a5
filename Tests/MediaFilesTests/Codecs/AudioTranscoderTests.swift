import MediaFiles
import MediaFormats
import MediaFrames
import Testing
import Wire

/// G.711 µ-law (ITU-T G.711) of samples from -1 to 1.
private func muLaw(_ sample: Double) -> UInt8 {
    let value = Int(max(-1, min(1, sample)) * 32_000)
    let magnitude = min(abs(value) + 132, 32_767)
    let exponent = max(0, Int.bitWidth - 1 - magnitude.leadingZeroBitCount - 7)
    let mantissa = magnitude >> (exponent + 3) & 0x0f
    return ~(UInt8(value < 0 ? 0x80 : 0) | UInt8(exponent << 4) | UInt8(mantissa))
}

/// 20 ms packets of a tone of 1 kHz that begins at `onset`; silence before.
private func tone(seconds: Int, onset: Interval, at time: (Int) -> Interval = { .milliseconds(Int64($0) * 20) })
    -> [MediaFrame]
{
    (0..<(seconds * 50)).map { index in
        let data = (0..<160).map { sample -> UInt8 in
            let place = index * 160 + sample
            guard Int64(place) * 125_000 >= onset.nanoseconds else { return muLaw(0) }
            return muLaw(0.5 * Double([0, 707, 1_000, 707, 0, -707, -1_000, -707][place % 8]) / 1_000)
        }
        return MediaFrame(track: 1, data: data, time: time(index), duration: .milliseconds(20))
    }
}

/// When the tone begins in decoded sound: the first sample that is loud.
private func onset(_ sound: [PCM]) -> Interval? {
    for pcm in sound {
        if let index = pcm.samples.firstIndex(where: { abs($0) > 0.2 }) {
            return pcm.time + .nanoseconds(Int64(index / pcm.channels) * 1_000_000_000 / Int64(pcm.rate))
        }
    }
    return nil
}

private func transcoded(_ frames: [MediaFrame], from: Codec, to: Codec) throws -> (AudioTranscoder, [MediaFrame]) {
    let transcoder = try AudioTranscoder(from: TrackDescription(codec: from), to: to)
    var out: [MediaFrame] = []
    for frame in frames { out += try transcoder.transcode(frame) }
    out += try transcoder.finish()
    return (transcoder, out)
}

private func decoded(_ frames: [MediaFrame], _ track: TrackDescription) throws -> [PCM] {
    let decoder = try PCMDecoder(track, channels: 1)
    return try frames.compactMap { try decoder.decode($0) }
}

@Suite struct AudioTranscoderTests {
    @Test(arguments: [Codec.aac, .opus]) func soundStaysAtItsTime(_ codec: Codec) throws {
        let frames = tone(seconds: 6, onset: .milliseconds(5_000))
        #expect(
            onset(try decoded(frames, TrackDescription(codec: .pcmu))).map { abs($0.milliseconds - 5_000) < 2 } == true)
        let (transcoder, out) = try transcoded(frames, from: .pcmu, to: codec)
        let heard = try #require(onset(try decoded(out, transcoder.output)))
        #expect(abs(heard.microseconds - 5_000_000) < 1_000, "heard at \(heard.microseconds) µs")
        // Encoders' delay: the first frames are early, the last ones hold the end.
        #expect(out[0].time < .zero && out[0].time > .milliseconds(-30))
        let end = out.last.map { $0.time + ($0.duration ?? .zero) }
        #expect(end! >= .milliseconds(5_999))
        #expect(zip(out, out.dropFirst()).allSatisfy { abs(($1.time - $0.time - $0.duration!).nanoseconds) <= 2 })
        #expect(out.allSatisfy { $0.track == 1 && $0.isKeyFrame })
        #expect(transcoder.output.codec == codec && transcoder.output.clockRate == 48_000)
        if codec == .aac {
            // AAC-LC, 48 kHz, mono; the encoder adds that there is no SBR.
            let configuration = transcoder.output.parameterSets
            #expect(configuration.count == 1 && configuration[0].prefix(2) == [0x11, 0x88])
            #expect(out[0].parameterSets == configuration && out[1].parameterSets == nil)
        }
    }

    @Test func opusToAACAndBackKeepsTime() throws {
        let (first, opus) = try transcoded(tone(seconds: 3, onset: .milliseconds(1_500)), from: .pcmu, to: .opus)
        let there = try AudioTranscoder(from: first.output, to: .aac)
        var aac: [MediaFrame] = []
        for frame in opus { aac += try there.transcode(frame) }
        aac += try there.finish()
        let back = try AudioTranscoder(from: there.output, to: .opus)
        var again: [MediaFrame] = []
        for frame in aac { again += try back.transcode(frame) }
        again += try back.finish()
        let heard = try #require(onset(try decoded(again, back.output)))
        #expect(abs(heard.microseconds - 1_500_000) < 8_000, "heard at \(heard.microseconds) µs")
    }

    @Test(arguments: [200, -200, 1_000] as [Int64]) func clocksThatRunApartAreFollowedWithoutHoles(_ millionths: Int64)
        throws
    {
        // Packets whose times run faster or slower than their samples, for five minutes.
        let frames = tone(seconds: 300, onset: .seconds(290)) { index in
            let nominal = Int64(index) * 20_000_000
            return .nanoseconds(nominal + nominal / 1_000_000 * millionths)
        }
        let (transcoder, out) = try transcoded(frames, from: .pcmu, to: .aac)
        #expect(zip(out, out.dropFirst()).allSatisfy { abs(($1.time - $0.time - $0.duration!).nanoseconds) <= 2 })
        let heard = try #require(onset(try decoded(out, transcoder.output)))
        let wanted = 290_000_000 + 290 * millionths
        #expect(abs(heard.microseconds - wanted) < 5_000, "off by \(heard.microseconds - wanted) µs")
    }

    @Test func shortHolesAreFilledAndLongOnesStay() throws {
        // 60 ms are missing after one second, five seconds after two.
        let frames = tone(seconds: 4, onset: .milliseconds(3_000)) { index in
            .milliseconds(Int64(index) * 20 + (index >= 50 ? 60 : 0) + (index >= 100 ? 5_000 : 0))
        }
        let (transcoder, out) = try transcoded(frames, from: .pcmu, to: .aac)
        let steps = zip(out, out.dropFirst()).map { $1.time - $0.time }
        #expect(steps.filter { $0 > .milliseconds(25) }.count == 1)
        #expect(abs(steps.max()!.milliseconds - 5_000) < 45)
        #expect(zip(out, out.dropFirst()).allSatisfy { $0.time < $1.time })
        let heard = try #require(onset(try decoded(out, transcoder.output)))
        #expect(abs(heard.milliseconds - 8_060) <= 5)
    }

    @Test func soundThatOverlapsIsCut() throws {
        // Times fall back by 100 ms after one second.
        let frames = tone(seconds: 3, onset: .milliseconds(2_000)) { index in
            .milliseconds(Int64(index) * 20 - (index >= 50 ? 100 : 0))
        }
        let (transcoder, out) = try transcoded(frames, from: .pcmu, to: .aac)
        #expect(zip(out, out.dropFirst()).allSatisfy { $0.time < $1.time })
        let heard = try #require(onset(try decoded(out, transcoder.output)))
        #expect(abs(heard.milliseconds - 1_900) <= 25)
    }

    @Test(arguments: [Codec.pcma, .g722]) func otherTelephoneCodecsAreRead(_ codec: Codec) throws {
        let silence = (0..<100).map { index in
            MediaFrame(
                track: 0, data: [UInt8](repeating: 0xd5, count: 160), time: .milliseconds(Int64(index) * 20),
                duration: .milliseconds(20))
        }
        let (_, out) = try transcoded(silence, from: codec, to: .opus)
        let end = try #require(out.last.map { $0.time + ($0.duration ?? .zero) })
        #expect(abs(end.milliseconds - 2_000) <= 40)
    }

    @Test func damagedPacketsAreLeftOut() throws {
        let (first, opus) = try transcoded(tone(seconds: 2, onset: .zero), from: .pcmu, to: .opus)
        let transcoder = try AudioTranscoder(from: first.output, to: .aac)
        var count = 0
        for (index, frame) in opus.enumerated() {
            var damaged = frame
            if index % 10 == 5 { damaged.data = [0xff, 0xff, 0xff] }
            count += try transcoder.transcode(damaged).count
        }
        #expect(count > 80)
        #expect(throws: CodecError.unsupported(.vp8)) {
            try AudioTranscoder(from: TrackDescription(codec: .opus), to: .vp8)
        }
    }
}
