/// Keeps summed sound below full scale without distorting it: turns it down just before a peak comes and slowly up again.
///
/// What is below the ceiling all the time comes out as it went in, later by `latency`.
package struct Limiter {
    /// -1 dB: what encoders make of a wave may be a little higher than the wave.
    package static let ceiling: Float = 0.891
    /// How much before a peak the gain begins to fall: 5 ms at 48 kHz.
    package static let latency = 240
    /// What the gain is short of one shrinks to 1/e in so many moments: 100 ms.
    private static let release: Float = 1 / 4_800

    private let channels: Int
    /// The last `latency` moments, interleaved: a ring.
    private var delayed: [Float]
    private var at = 0
    /// Smallest gains wanted of late, as (moment, gain) with rising gains: the first is the least of the window.
    private var least: [(moment: Int, gain: Float)] = []
    private var leastFirst = 0
    private var moment = 0
    /// The last `latency` values of the window's least, whose average is the gain.
    private var held: [Float]
    private var sum: Double
    private var released: Float = 1

    package init(channels: Int) {
        self.channels = channels
        delayed = Array(repeating: 0, count: Self.latency * channels)
        held = Array(repeating: 1, count: Self.latency)
        sum = Double(Self.latency)
    }

    /// - Parameter samples: interleaved; become those of `latency` moments before, limited.
    package mutating func process(_ samples: inout [Float]) {
        for start in stride(from: 0, to: samples.count - channels + 1, by: channels) {
            var peak: Float = 0
            for channel in 0..<channels {
                // What is no number would make all that follows none.
                if !samples[start + channel].isFinite { samples[start + channel] = 0 }
                peak = max(peak, abs(samples[start + channel]))
            }
            let wanted = peak > Self.ceiling ? Self.ceiling / peak : 1
            let minimum = leastOfWindow(adding: wanted)
            // Never above what a coming peak wants; up again slowly.
            released = min(minimum, released + (1 - released) * Self.release)
            let slot = moment % Self.latency
            sum += Double(released) - Double(held[slot])
            held[slot] = released
            // Rounding must not push what needs no limiting.
            let gain = sum > Double(Self.latency) - 1e-6 ? 1 : Float(sum / Double(Self.latency))
            for channel in 0..<channels {
                let new = samples[start + channel]
                let out = delayed[at + channel] * gain
                samples[start + channel] = min(max(out, -Self.ceiling), Self.ceiling)
                delayed[at + channel] = new
            }
            at = (at + channels) % delayed.count
            moment += 1
        }
    }

    /// The smallest gain wanted in this moment and the `latency` ones before.
    private mutating func leastOfWindow(adding gain: Float) -> Float {
        while least.count > leastFirst, least[least.count - 1].gain >= gain { least.removeLast() }
        least.append((moment, gain))
        while least[leastFirst].moment < moment - Self.latency { leastFirst += 1 }
        if leastFirst > 4 * Self.latency {
            least.removeFirst(leastFirst)
            leastFirst = 0
        }
        return least[leastFirst].gain
    }
}
