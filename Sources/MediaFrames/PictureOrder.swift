import MediaFormats
import Wire

/// Whether a track's pictures come in another order than they are shown in (B frames), which WebRTC has no way to put
/// right. Looks at payloads in the order of their numbers, without decoding them.
package struct PictureOrder: Sendable {
    /// What shows that pictures are out of order.
    package enum Evidence: String, Sendable, CaseIterable {
        /// A sequence parameter set says so.
        case parameterSets = "its parameter sets announce reordered pictures"
        case slices = "it has B slices"
        case timestamps = "its timestamps go back"
    }

    /// Timestamps that go back further are a clock that was set anew.
    private static let maxBack: Int32 = 10 * 90_000

    private let codec: Codec
    /// A sequence parameter set says that there is no reordering: B slices then refer to what was shown before.
    private var isInOrder = false
    private var latest: UInt32?
    private var current: UInt32?
    /// The first that was found.
    package private(set) var evidence: Evidence?

    package init(_ track: TrackDescription) {
        codec = track.codec
        for set in track.parameterSets { unit(unsafe set.span.bytes) }
    }

    /// - Parameter timestamp: the packet's RTP time (90 kHz).
    package mutating func look(at payload: RawSpan, timestamp: UInt32) {
        guard evidence == nil, codec == .h264 || codec == .h265, payload.byteCount > 1 else { return }
        look(at: timestamp)
        switch codec {
        case .h264:
            switch payload[0] & 0x1f {
            case 1, 7: unit(payload)
            case 24: aggregate(payload, from: 1)
            case 28 where payload[1] & 0x9f == 0x81 && payload.byteCount > 2:
                // The slice's header follows that of the fragment.
                slice(payload.extracting(1..<payload.byteCount))
            default: break
            }
        case .h265:
            switch payload[0] >> 1 & 0x3f {
            case 33: unit(payload)
            case 48: aggregate(payload, from: 2)
            default: break
            }
        default: break
        }
    }

    /// The source has begun anew.
    package mutating func restart() { (latest, current) = (nil, nil) }

    private mutating func look(at timestamp: UInt32) {
        guard timestamp != current else { return }
        current = timestamp
        guard let last = latest else {
            latest = timestamp
            return
        }
        let step = Int32(bitPattern: timestamp &- last)
        if step < 0, step > -Self.maxBack {
            evidence = .timestamps
        } else {
            latest = timestamp
        }
    }

    private mutating func aggregate(_ payload: RawSpan, from start: Int) {
        var at = start
        while at + 2 < payload.byteCount {
            let length = Int(payload.loadBigEndian(at: at, as: UInt16.self))
            guard length > 0, at + 2 + length <= payload.byteCount else { return }
            unit(payload.extracting((at + 2)..<(at + 2 + length)))
            at += 2 + length
        }
    }

    private mutating func unit(_ nal: RawSpan) {
        guard nal.byteCount > 2 else { return }
        switch NALUnits.kind(codec, nal[0]) {
        case .sequenceParameterSet:
            guard let count = NALUnits.reorderedPictures(codec, sequenceParameterSet: nal) else { return }
            isInOrder = count == 0
            if count > 0, evidence == nil { evidence = .parameterSets }
        case .slice where codec == .h264: slice(nal)
        default: break
        }
    }

    private mutating func slice(_ nal: RawSpan) {
        guard evidence == nil, !isInOrder, NALUnits.isBidirectional(h264Slice: nal) else { return }
        evidence = .slices
    }
}
