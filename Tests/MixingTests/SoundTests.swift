import Foundation
import Mixing
import Testing

/// How strong one frequency is in samples at 48 kHz: 1 for a full-scale sine.
func goertzel(_ samples: [Float], _ frequency: Double) -> Double {
    let omega = 2 * Double.pi * frequency / 48_000
    let factor = 2 * cos(omega)
    var (one, two) = (0.0, 0.0)
    for sample in samples { (one, two) = (Double(sample) + factor * one - two, one) }
    return sqrt(max(0, one * one + two * two - factor * one * two)) / Double(max(1, samples.count)) * 2
}

func tone(_ frequency: Double, _ amplitude: Float = 1) -> (Int) -> Float {
    { Float(sin(Double($0) * 2 * .pi * frequency / 48_000)) * amplitude }
}

@Suite struct LimiterTests {
    private func limited(_ samples: [Float], block: Int = 960) -> [Float] {
        var limiter = Limiter(channels: 2)
        var out: [Float] = []
        let padded = samples + [Float](repeating: 0, count: Limiter.latency * 2)
        for start in stride(from: 0, to: padded.count, by: block * 2) {
            var part = Array(padded[start..<min(start + block * 2, padded.count)])
            limiter.process(&part)
            out += part
        }
        return Array(out.dropFirst(Limiter.latency * 2))
    }

    private func stereo(_ count: Int, _ wave: (Int) -> Float) -> [Float] {
        (0..<count).flatMap { [wave($0), wave($0)] }
    }

    @Test func whatIsBelowTheCeilingComesOutAsItWentIn() {
        let samples = stereo(20_000) { tone(440, 0.88)($0) }
        let same = limited(samples) == samples
        #expect(same)
    }

    @Test func nothingIsEverAboveTheCeiling() {
        var random = SystemRandomNumberGenerator()
        let waves: [(Int) -> Float] = [
            { tone(440, 3)($0) }, { $0 % 5_000 == 2_500 ? 40 : 0.1 }, { _ in .random(in: -4...4, using: &random) },
            { $0 < 10_000 ? 0 : 2 }, { $0 == 7_000 ? .nan : ($0 == 8_000 ? .infinity : 0.5) },
        ]
        for (index, wave) in waves.enumerated() {
            for block in [1, 7, 960, 4_800] {
                let peak = limited(stereo(20_000, wave), block: block).map(abs).max() ?? 0
                #expect(peak <= Limiter.ceiling, "wave \(index)")
            }
        }
    }

    @Test func loudSumsAreTurnedDownNotCut() {
        // Two full tones: cut off they would have strong sums and differences of each other.
        let samples = stereo(48_000) { tone(440)($0) + tone(1_000)($0) }
        let out = limited(samples)
        let left = stride(from: 0, to: out.count, by: 2).map { out[$0] }.dropFirst(4_800)
        for wanted in [440.0, 1_000] {
            let strength = goertzel(Array(left), wanted)
            #expect(strength > 0.3 && strength < 0.6, "\(wanted) Hz: \(strength)")
        }
        for unwanted in [120.0, 1_320, 1_560, 2_440, 3_000] {
            let strength = goertzel(Array(left), unwanted)
            #expect(strength < 0.03, "\(unwanted) Hz: \(strength)")
        }
    }

    @Test func afterAPeakTheSoundComesBack() {
        let out = limited(stereo(96_000) { $0 == 10_000 ? 8 : 0.5 })
        #expect(out[2 * 10_000] <= Limiter.ceiling)
        #expect(out[2 * 9_000] == 0.5)
        #expect(abs(out[2 * 60_000] - 0.5) < 0.005)
    }
}

@Suite struct SoundPlacerTests {
    private func packet(_ value: Float, _ count: Int = 960) -> [Float] { Array(repeating: value, count: count * 2) }

    /// Left channel of what is on from `position` on.
    private func take(_ placer: inout SoundPlacer, at position: Int64, _ count: Int) -> [Float] {
        var mix = [Float](repeating: 0, count: count * 2)
        placer.add(to: &mix, at: position)
        return stride(from: 0, to: mix.count, by: 2).map { mix[$0] }
    }

    @Test func tremblingTimesLeaveNoHoles() {
        var placer = SoundPlacer()
        for index in 0..<100 { placer.place(packet(1), at: Int64(index * 960 + [0, 200, -300, 90][index % 4])) }
        let heard = take(&placer, at: 0, 95_000)
        let isWhole = heard.dropFirst(300).allSatisfy { $0 == 1 }
        #expect(isWhole)
    }

    @Test func soundIsAddedToWhatIsThere() {
        var placer = SoundPlacer()
        placer.place(packet(0.25), at: 100)
        var mix = [Float](repeating: 0.5, count: 4_000)
        placer.add(to: &mix, at: 0)
        #expect(mix[2 * 99] == 0.5 && mix[2 * 100] == 0.75 && mix[2 * 1_059] == 0.75 && mix[2 * 1_060] == 0.5)
    }

    @Test func holesStayAndOverlapsAreCut() {
        var placer = SoundPlacer()
        placer.place(packet(1), at: 0)
        placer.place(packet(2), at: 5_000)
        placer.place(packet(3), at: 5_100)
        placer.place(packet(4), at: 200)
        let heard = take(&placer, at: 0, 10_000)
        #expect(heard[959] == 1 && heard[960] == 0 && heard[4_999] == 0)
        #expect(heard[5_000] == 2 && heard[5_959] == 2)
        #expect(heard[5_960] == 3 && heard[6_059] == 3 && heard[6_060] == 0)
    }

    @Test func clocksThatRunApartAreFollowed() {
        var placer = SoundPlacer()
        // 300 ppm fast for two minutes: 1,728 samples.
        for index in 0..<6_000 {
            placer.place(packet(1), at: Int64(Double(index) * 960 * 1.0003))
            _ = take(&placer, at: Int64(index) * 960, 960)
        }
        let expected = Int64(6_000 * 960 * 1.0003)
        #expect(abs((placer.end ?? 0) - expected) < 100)
    }

    @Test func partsOfBlocksAreGivenOnce() {
        var placer = SoundPlacer()
        placer.place((0..<960).flatMap { [Float($0), Float($0)] }, at: 10)
        var heard: [Float] = []
        for position in stride(from: 0, to: 1_000, by: 7) { heard += take(&placer, at: Int64(position), 7) }
        let expected = (0..<heard.count).map { (10..<970).contains($0) ? Float($0 - 10) : 0 }
        let isSame = heard == expected
        #expect(isSame)
    }
}
