import MediaFormats
import Wire

/// CMAF parts (ISO/IEC 23000-19): an initialisation section, and per part one movie fragment.
///
/// Written here and not by libavformat: a part may have no picture in it (a publisher that shows a still slide) and each
/// fragment must say its true time, gap or overlap; libavformat writes no empty fragment and takes each fragment's
/// beginning from the end of the one before. See docs/architecture.md.
package struct FragmentedMP4: RenditionWriter {
    /// Of a fragment without its media: enough for a part of 60 pictures and 20 packets of sound.
    private static let headReserve = 2_048
    /// `sample_depends_on`: 2 = on no other; key frames.
    private static let syncFlags: UInt32 = 0x0200_0000
    /// `sample_depends_on`: 1 = on others; `sample_is_non_sync_sample`.
    private static let dependentFlags: UInt32 = 0x0101_0000

    private var tracks: [OutputTrack] = []
    private var sequenceNumber: UInt32 = 0

    package init() {}

    package var isTransportStream: Bool { false }

    package mutating func begin(_ tracks: [OutputTrack]) -> [UInt8]? {
        self.tracks = tracks
        var out = BoxWriter(reserving: 1_536)
        out.box("ftyp") { box in
            box.text("iso6")
            box.u32(0)
            box.text("iso6")
            box.text("cmfc")
            box.text("mp41")
        }
        out.box("moov") { box in
            box.movieHeader(nextTrack: UInt32(tracks.count + 1))
            for (index, track) in tracks.enumerated() { box.track(track, number: UInt32(index + 1)) }
            box.box("mvex") { box in
                for index in tracks.indices {
                    box.fullBox("trex") { box in
                        box.u32(UInt32(index + 1))
                        box.u32(1)
                        box.zeros(12)
                    }
                }
            }
        }
        return out.bytes
    }

    package mutating func part(_ samples: [[Sample]], isFirst: Bool) -> [UInt8] {
        sequenceNumber &+= 1
        let bytes = samples.joined().reduce(0) { $0 + $1.data.count }
        var out = BoxWriter(reserving: bytes + bytes / 64 + Self.headReserve)
        /// Where the positions of media data and the sizes of samples are to be filled in, per track.
        var runs: [(offsetAt: Int, sizesAt: Int, stride: Int)?] = []
        out.box("moof") { box in
            box.fullBox("mfhd") { $0.u32(sequenceNumber) }
            for (index, track) in tracks.enumerated() {
                runs.append(box.trackFragment(samples[index], of: track, number: UInt32(index + 1)))
            }
        }
        let fragment = out.count
        out.box("mdat") { box in
            for (index, track) in tracks.enumerated() {
                guard let run = runs[index] else { continue }
                // Counted from the start of the fragment, which is where the part starts.
                box.store(UInt32(clamping: box.count), at: run.offsetAt)
                for (number, sample) in samples[index].enumerated() {
                    let start = box.count
                    box.media(sample.data, of: track)
                    box.store(UInt32(clamping: box.count - start), at: run.sizesAt + number * run.stride)
                }
            }
        }
        assert(out.count >= fragment)
        return out.bytes
    }

    fileprivate static func flags(_ sample: Sample) -> UInt32 { sample.isKeyFrame ? syncFlags : dependentFlags }
}

extension OutputTrack {
    /// Nearest tick to a time on the output's line. Rounding absolute times keeps durations from drifting.
    func ticks(_ time: Interval) -> Int64 {
        let scale = Int64(timescale)
        let seconds = time.nanoseconds / 1_000_000_000
        let rest = time.nanoseconds % 1_000_000_000
        return seconds &* scale &+ (rest &* scale &+ 500_000_000) / 1_000_000_000
    }
}

extension BoxWriter {
    fileprivate mutating func movieHeader(nextTrack: UInt32) {
        fullBox("mvhd") { box in
            box.zeros(8)
            box.u32(1_000)
            box.u32(0)
            box.u32(0x1_0000)
            box.u16(0x100)
            box.zeros(10)
            box.matrix(a: 1, b: 0, c: 0, d: 1)
            box.zeros(24)
            box.u32(nextTrack)
        }
    }

    fileprivate mutating func track(_ track: OutputTrack, number: UInt32) {
        box("trak") { box in
            box.trackHeader(track, number: number)
            box.box("mdia") { box in
                box.fullBox("mdhd") { box in
                    box.zeros(8)
                    box.u32(track.timescale)
                    box.u32(0)
                    // Language: undetermined
                    box.u16(0x55c4)
                    box.u16(0)
                }
                box.fullBox("hdlr") { box in
                    box.u32(0)
                    box.text(track.isVideo ? "vide" : "soun")
                    box.zeros(12)
                    box.text("Weir")
                    box.u8(0)
                }
                box.box("minf") { box in
                    if track.isVideo {
                        box.fullBox("vmhd", flags: 1) { $0.zeros(8) }
                    } else {
                        box.fullBox("smhd") { $0.zeros(4) }
                    }
                    box.box("dinf") { box in
                        box.fullBox("dref") { box in
                            box.u32(1)
                            // The media are in this very file.
                            box.fullBox("url ", flags: 1) { _ in }
                        }
                    }
                    box.sampleTable(track)
                }
            }
        }
    }

    private mutating func trackHeader(_ track: OutputTrack, number: UInt32) {
        // Enabled, in the movie, in the preview
        fullBox("tkhd", flags: 7) { box in
            box.zeros(8)
            box.u32(number)
            box.zeros(8)
            box.zeros(8)
            box.u16(0)
            box.u16(track.isVideo ? 0 : 1)
            box.u16(track.isVideo ? 0 : 0x100)
            box.u16(0)
            let (width, height) = (Int32(clamping: track.size?.width ?? 0), Int32(clamping: track.size?.height ?? 0))
            // A turn around the corner, and back into the picture
            switch track.rotation {
            case .none: box.matrix(a: 1, b: 0, c: 0, d: 1)
            case .clockwise90: box.matrix(a: 0, b: 1, c: -1, d: 0, x: height)
            case .clockwise180: box.matrix(a: -1, b: 0, c: 0, d: -1, x: width, y: height)
            case .clockwise270: box.matrix(a: 0, b: -1, c: 1, d: 0, y: width)
            }
            box.u32(UInt32(clamping: width) << 16)
            box.u32(UInt32(clamping: height) << 16)
        }
    }

    /// All samples are in fragments, so the tables are empty but for the description.
    private mutating func sampleTable(_ track: OutputTrack) {
        box("stbl") { box in
            box.fullBox("stsd") { box in
                box.u32(1)
                box.sampleEntry(track)
            }
            box.fullBox("stts") { $0.u32(0) }
            box.fullBox("stsc") { $0.u32(0) }
            box.fullBox("stsz") { $0.zeros(8) }
            box.fullBox("stco") { $0.u32(0) }
        }
    }

    /// - Returns: where its run's positions are to be filled in; nil if there are no samples, then there is no fragment.
    fileprivate mutating func trackFragment(
        _ samples: [Sample], of track: OutputTrack, number: UInt32
    ) -> (offsetAt: Int, sizesAt: Int, stride: Int)? {
        guard let first = samples.first else { return nil }
        let isReordered = samples.contains { $0.time != $0.decodeTime }
        let perSample = track.isVideo
        var run = (offsetAt: 0, sizesAt: 0, stride: 8)
        box("traf") { box in
            // default-base-is-moof, and for sound: every sample is one to begin with.
            box.fullBox("tfhd", flags: perSample ? 0x02_0000 : 0x02_0020) { box in
                box.u32(number)
                if !perSample { box.u32(FragmentedMP4.flags(first)) }
            }
            // Sound that began before the line's zero loses that much of its first frame: what follows stays in its place.
            let position = { (time: Interval) in max(0, track.ticks(time)) }
            box.fullBox("tfdt", version: 1) { $0.u64(UInt64(position(first.decodeTime))) }
            // Offset of the data; duration and size of each sample, flags and composition offsets where they differ
            var flags: UInt32 = 0x0000_0301
            if perSample { flags |= 0x400 }
            if isReordered { flags |= 0x800 }
            box.fullBox("trun", version: 1, flags: flags) { box in
                box.u32(UInt32(samples.count))
                run.offsetAt = box.count
                box.u32(0)
                run.sizesAt = box.count + 4
                run.stride = 8 + (perSample ? 4 : 0) + (isReordered ? 4 : 0)
                for (index, sample) in samples.enumerated() {
                    let here = position(sample.decodeTime)
                    let next = index + 1 < samples.count ? samples[index + 1].decodeTime : sample.end
                    box.u32(UInt32(clamping: position(next) - here))
                    box.u32(0)
                    if perSample { box.u32(FragmentedMP4.flags(sample)) }
                    if isReordered {
                        box.u32(UInt32(bitPattern: Int32(clamping: track.ticks(sample.time) - here)))
                    }
                }
            }
        }
        return run
    }

    /// A sample as its sample entry promises it: NAL units behind their lengths, without those that the entry has.
    fileprivate mutating func media(_ data: [UInt8], of track: OutputTrack) {
        let codec: Codec
        switch track.configuration {
        case .h264: codec = .h264
        case .h265: codec = .h265
        case .vp9, .av1, .opus, .aac: return raw(data)
        }
        for range in NALUnits.ranges(annexB: unsafe data.span.bytes) {
            let kind = NALUnits.kind(codec, data[range.lowerBound])
            guard !kind.isParameterSet, kind != .noise else { continue }
            u32(UInt32(clamping: range.count))
            raw(data[range])
        }
    }
}
