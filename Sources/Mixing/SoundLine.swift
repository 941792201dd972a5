import MediaFiles
import MediaFormats
import MediaFrames
import Wire

/// Sound of one source laid onto the mix's line of samples, without gaps and overlaps where its times only tremble.
///
/// Pure: what is decoded goes in, what is due comes out. Positions are samples of the mix, from its beginning.
package struct SoundPlacer {
    private static let channels = SoundEncoder.channels
    /// In samples. From so far on something is missing or too much; what is below is stretched.
    private static let tolerance: Int64 = Int64(SoundEncoder.rate) * 15 / 1_000
    /// At most one sample in so many is added or left out, which nobody hears.
    private static let stretch: Int64 = 200

    private struct Block {
        var start: Int64
        var samples: [Float]

        var end: Int64 { start + Int64(samples.count / SoundPlacer.channels) }
    }

    /// In order, without overlaps.
    private var blocks: [Block] = []
    /// Where the newest block ends.
    package private(set) var end: Int64?

    package init() {}

    /// - Parameters:
    ///   - samples: interleaved stereo.
    ///   - position: where its time says that it begins.
    package mutating func place(_ samples: [Float], at position: Int64) {
        let count = Int64(samples.count / Self.channels)
        guard count > 0 else { return }
        guard let end else { return append(samples, at: position) }
        let difference = position - end
        if difference > Self.tolerance {
            append(samples, at: position)
        } else if difference < -Self.tolerance {
            guard count > -difference else { return }
            append(Array(samples[(Int(-difference) * Self.channels)...]), at: end)
        } else {
            let most = count / Self.stretch
            append(Self.stretched(samples, by: Int(min(max(difference, -most), most))), at: end)
        }
    }

    /// Adds what there is from `position` on, and forgets it.
    ///
    /// - Parameter mix: interleaved stereo; what is earlier than `position` is lost.
    package mutating func add(to mix: inout [Float], at position: Int64) {
        let wanted = position + Int64(mix.count / Self.channels)
        var used = 0
        for block in blocks {
            guard block.start < wanted else { break }
            let from = max(block.start, position)
            let to = min(block.end, wanted)
            if from < to {
                let source = Int(from - block.start) * Self.channels
                let target = Int(from - position) * Self.channels
                for index in 0..<(Int(to - from) * Self.channels) {
                    mix[target + index] += block.samples[source + index]
                }
            }
            guard block.end <= wanted else { break }
            used += 1
        }
        blocks.removeFirst(used)
    }

    private mutating func append(_ samples: [Float], at start: Int64) {
        let block = Block(start: start, samples: samples)
        blocks.append(block)
        end = block.end
    }

    /// The same sound in some samples more or less, by straight lines between them.
    static func stretched(_ samples: [Float], by difference: Int) -> [Float] {
        let count = samples.count / channels
        let target = count + difference
        guard difference != 0, count > 1, target > 1 else { return samples }
        let step = Float(count - 1) / Float(target - 1)
        var result: [Float] = []
        result.reserveCapacity(target * channels)
        for index in 0..<target {
            let place = Float(index) * step
            let before = min(Int(place), count - 2)
            let share = place - Float(before)
            for channel in 0..<channels {
                let low = samples[before * channels + channel]
                let high = samples[(before + 1) * channels + channel]
                result.append(low + (high - low) * share)
            }
        }
        return result
    }
}

/// One track of sound of the mix: reads and decodes as far as is needed, no further. One thread.
final class SoundLine {
    private let source: MixTrack
    private let demuxer: Demuxer
    private let decoder: PCMDecoder
    private var placer = SoundPlacer()
    private var isAtEnd = false

    init(_ source: MixTrack, isCancelled: @escaping () -> Bool) throws(MixError) {
        self.source = source
        demuxer = try source.open(isCancelled)
        do throws(CodecError) {
            decoder = try PCMDecoder(
                source.description, rate: SoundEncoder.rate, channels: SoundEncoder.channels)
        } catch {
            throw .decoding(source.path, error)
        }
    }

    /// Adds this track's sound to the mix.
    func add(to mix: inout [Float], at position: Int64) throws(MixError) {
        let wanted = position + Int64(mix.count / SoundEncoder.channels)
        while !isAtEnd, placer.end ?? .min < wanted { try decode() }
        placer.add(to: &mix, at: position)
    }

    private func decode() throws(MixError) {
        let frame: MediaFrame
        do throws(ContainerError) {
            guard let sample = try demuxer.next() else {
                isAtEnd = true
                return
            }
            frame = sample.frame
        } catch {
            throw .reading(source.path, error)
        }
        do throws(CodecError) {
            guard let pcm = try decoder.decode(frame) else { return }
            placer.place(pcm.samples, at: MixClock.samples(pcm.time + source.shift))
        } catch {
            // Sound that cannot be decoded is silence.
            guard error.isDamagedData else { throw .decoding(source.path, error) }
        }
    }
}
