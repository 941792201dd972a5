import MediaFormats
import Wire

/// Puts the payloads of one picture (access unit, temporal unit, frame) together, in the form that
/// `MediaFrame.data` has. What the payload formats of the codecs have in common is here; each has a file of its own.
///
/// Payloads come in the order of their numbers without gaps: who calls has seen to that. Bytes are hostile: what breaks
/// a rule of the payload format breaks the picture (`isBroken`), and no more than `maxBytes` are kept.
struct PictureBuilder: Sendable {
    /// Far above any picture that a publisher sends, and a bound on what a hostile one can make us keep.
    static let maxBytes = 16 * 1024 * 1024

    private static let firstCapacity = 8 * 1024

    static let startCode: [UInt8] = [0, 0, 0, 1]

    let codec: Codec

    /// What there is of the picture.
    var data: [UInt8] = []
    /// There is a part of a picture in `data`, not only parameter sets or the like.
    var hasPicture = false
    var isBroken = false
    var size: VideoSize?
    /// A fragmented unit has begun and not ended.
    var fragmentIsOpen = false

    /// H264, H265: the sets known so far, kept from picture to picture; AV1: the last sequence header.
    var sets: ParameterSets
    var sequenceHeader: [UInt8]

    // What is known of the picture's own units (H264, H265, AV1).
    var hasKeySlice = false
    var hasIntraSlice = false
    var hasInterSlice = false
    var hasSequenceParameterSet = false
    var setsInPicture = 0
    /// H264, H265: where in `data` the fragmented unit begins.
    var fragmentStart = 0
    /// AV1: the OBU that is coming in, header first, without its size field if it had none.
    var obu: [UInt8] = []
    /// VP8, VP9.
    var temporal: TemporalPlace?
    /// VP9: where each spatial layer's frame begins in `data`.
    var layerStarts: [Int] = []

    init(_ description: TrackDescription) {
        codec = description.codec
        let nals = codec == .h264 || codec == .h265
        sets = ParameterSets(codec: codec, known: nals ? description.parameterSets : [])
        sequenceHeader = codec == .av1 ? description.parameterSets.first ?? [] : []
    }

    /// Adds the payload of the picture's next packet.
    mutating func append(_ payload: RawSpan) {
        guard !isBroken, payload.byteCount > 0 else { return }
        guard data.count + obu.count + payload.byteCount <= Self.maxBytes else {
            isBroken = true
            return
        }
        switch codec {
        case .h264: appendH264(payload)
        case .h265: appendH265(payload)
        case .vp8: appendVP8(payload)
        case .vp9: appendVP9(payload)
        case .av1: appendAV1(payload)
        case .opus, .pcmu, .pcma, .g722, .aac: append(payload, from: 0)
        }
    }

    /// The picture is over. `nil`, if nothing decodable came of it.
    mutating func finish() -> Picture? {
        defer { reset() }
        guard !isBroken, !fragmentIsOpen, hasPicture else { return nil }
        switch codec {
        case .h264, .h265: return finishUnits()
        case .vp8: return Picture(data: data, isKeyFrame: data[0] & 1 == 0, size: size, temporal: temporal)
        case .vp9: return finishVP9()
        case .av1: return finishAV1()
        case .opus, .pcmu, .pcma, .g722, .aac: return Picture(data: data, isKeyFrame: true)
        }
    }

    /// Forgets the picture; parameter sets stay.
    mutating func reset() {
        // What went into a frame is the frame's. The next picture gets some memory at once, but not as much as a key
        // frame before it took: frames are kept by others, with all the memory that they have.
        let capacity = min(data.count, Self.firstCapacity)
        data = []
        data.reserveCapacity(capacity)
        obu.removeAll(keepingCapacity: true)
        layerStarts.removeAll(keepingCapacity: true)
        (hasPicture, isBroken, fragmentIsOpen) = (false, false, false)
        (hasKeySlice, hasIntraSlice, hasInterSlice) = (false, false, false)
        (hasSequenceParameterSet, setsInPicture) = (false, 0)
        (size, temporal) = (nil, nil)
    }

    mutating func append(_ bytes: RawSpan, from start: Int) {
        hasPicture = true
        data.append(bytes, from: start)
    }
}

/// What became of the packets of one picture.
struct Picture: Sendable {
    var data: [UInt8]
    var isKeyFrame: Bool
    var size: VideoSize?
    /// Key frames of H264, H265 and AV1: what they need, in the form of `TrackDescription.parameterSets`.
    var parameterSets: [[UInt8]] = []
    var temporal: TemporalPlace?
}
