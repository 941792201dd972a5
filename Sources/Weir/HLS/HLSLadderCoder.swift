import HLS
import MediaFiles
import MediaFormats
import Wire

/// One lower rendition in the making: encoder and container. Whose turn it is touches it, one thread at a time: turns are
/// given out under the stream's lock.
package final class HLSLadderCoder: @unchecked Sendable {
    package let order: LadderWork.Order
    private let rung: LadderRung
    private var writer: any RenditionWriter
    private var encoder: ScaledEncoder?
    /// What the encoder was made for.
    private var map: UInt64?
    private var track: OutputTrack?
    /// Of the part that is being made.
    private var samples: [Sample] = []
    private var wantsKeyFrame = true
    private var isFirst = true
    private var hasNewMap = false
    private var failure: String?
    private var thinner = PictureThinner()
    private var countedDrops = 0

    package init(_ rung: LadderRung, order: LadderWork.Order, isTransportStream: Bool) {
        self.rung = rung
        self.order = order
        writer = if isTransportStream { TransportStream() } else { FragmentedMP4() }
    }

    /// Before the pictures of a part.
    package func begin(_ work: LadderWork) {
        if work.part == 0 || work.isRestart { wantsKeyFrame = true }
        isFirst = true
        hasNewMap = false
        samples = []
        if map != work.map {
            (map, encoder, track) = (work.map, nil, nil)
            wantsKeyFrame = true
        }
    }

    /// - Parameters:
    ///   - slot: the published picture in whose place this one is decoded.
    package func take(_ picture: VideoPicture, slot: Sample, source: OutputTrack) {
        guard failure == nil else { return }
        let isTaken = thinner.takes(at: slot.decodeTime, isFirst: isFirst, framesPerSecond: rung.framesPerSecond)
        isFirst = false
        guard isTaken else { return }
        do throws(CodecError) {
            let size = rung.size(of: source.size ?? picture.size)
            let encoder = try encoder(size)
            guard let encoded = try encoder.encode(picture, time: picture.time, isKey: wantsKeyFrame) else { return }
            if encoded.isKey {
                wantsKeyFrame = false
                describe(encoded, size, source)
            }
            guard track != nil else { return }
            samples.append(
                Sample(
                    data: encoded.data, time: picture.time, decodeTime: slot.decodeTime, duration: slot.duration,
                    isKeyFrame: encoded.isKey))
        } catch {
            failure = "\(error)"
        }
    }

    private func encoder(_ size: VideoSize) throws(CodecError) -> ScaledEncoder {
        if let encoder { return encoder }
        let made = try ScaledEncoder(
            ScaledEncoder.Settings(size: size, bitrate: rung.bitrate, level: LadderRung.level(of: size)))
        encoder = made
        return made
    }

    private func describe(_ encoded: ScaledEncoder.Encoded, _ size: VideoSize, _ source: OutputTrack) {
        guard track == nil else { return }
        let frame = MediaFrame(track: 0, data: [], time: .zero, parameterSets: encoded.parameterSets)
        guard let configuration = CodecConfiguration(TrackDescription(codec: .h264), keyFrame: frame) else { return }
        track = OutputTrack(configuration: configuration, size: size, rotation: source.rotation)
        hasNewMap = true
    }

    /// What has been made of the part so far.
    package var made: [Sample] { samples }

    /// The part that has been made.
    package func finish(_ work: LadderWork) -> LadderResult {
        defer { samples = [] }
        if let failure { return LadderResult(order: order, failure: failure) }
        var map: [UInt8]?
        if hasNewMap, let track { map = writer.begin([track]) }
        // Nothing that a player could begin with is there yet, or nothing at all.
        guard track != nil, !work.isGap else { return LadderResult(order: order) }
        // A picture lasts until the next one that was made, the last one to the end of what the part had.
        let end = work.samples.last?.end
        for index in samples.indices {
            let next = index + 1 < samples.count ? samples[index + 1].decodeTime : end ?? samples[index].end
            samples[index].duration = max(.zero, next - samples[index].decodeTime)
        }
        let media = writer.part([samples], isFirst: work.part == 0)
        return LadderResult(
            order: order, media: media, isIndependent: samples.contains(where: \.isKeyFrame), map: map)
    }

    /// Learns how long a part has taken.
    ///
    /// - Returns: pictures that have been left out since the last time for want of time.
    package func note(work: Interval, media: Interval) -> Int {
        thinner.note(work: work, media: media)
        defer { countedDrops = thinner.dropped }
        return thinner.dropped - countedDrops
    }
}
