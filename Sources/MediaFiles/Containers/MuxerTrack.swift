import CLibAV
import Glibc
import MediaFormats
import MediaFrames

/// One track of a file to be written: all that its header says.
package struct MuxerTrack: Sendable, Equatable {
    package var description: TrackDescription
    /// H264, H265: NAL units; AV1: the sequence header; AAC: the configuration. As in `MediaFrame.parameterSets`.
    package var parameterSets: [[UInt8]]
    package var size: VideoSize?
    package var rotation: VideoRotation
    /// Where the container has no form for the turn, a tag says it: to our own reader, players do not heed it.
    package var tagsRotation = false
    /// VP9 §6.2: 0 is 8 bits and 4:2:0, what browsers send; 2 is 10 or 12 bits.
    package var vp9Profile: Int

    /// - Parameter first: the first frame of the track, which for video must be a key frame.
    package init(_ description: TrackDescription, first: MediaFrame? = nil) {
        self.description = description
        parameterSets = first?.parameterSets ?? description.parameterSets
        size = first?.size
        rotation = first?.rotation ?? .none
        vp9Profile = 0
        // uncompressed_header(): two marker bits, then the low and the high bit of the profile.
        if description.codec == .vp9, let byte = first?.data.first, byte >> 6 == 2 {
            vp9Profile = Int(byte >> 5 & 1) | Int(byte >> 4 & 1) << 1
        }
    }

    /// Ticks per second that its times are written in.
    var timeBase: AVRational { weir_rational(1, Int32(description.isVideo ? 90_000 : description.sampleRate)) }

    /// What a frame lasts when nothing tells: 1/30 s, or 20 ms of sound.
    package var usualDuration: Int64 { description.isVideo ? 33_333_333 : 20_000_000 }

    /// Whether parameter sets may come, and change, within the file.
    var isParameterised: Bool { description.codec == .h264 || description.codec == .h265 }

    /// Fills the parameters of a new stream.
    ///
    /// - Parameter inBand: parameter sets may change in the file: sample entries `avc3` and `hev1` of MP4. Otherwise
    ///   `avc1` and `hvc1`, which the players of Apple insist on.
    func fill(
        _ stream: UnsafeMutablePointer<AVStream>, in format: ContainerFormat, inBand: Bool, index: Int
    ) throws(ContainerError) {
        guard let parameters = stream.pointee.codecpar else { throw .system(errno: ENOMEM) }
        guard format.holds(description.codec) else {
            throw .unsupported(codec: description.codec.name, container: format.rawValue)
        }
        stream.pointee.time_base = timeBase
        parameters.pointee.codec_id = description.codec.libavID
        if description.isVideo {
            guard let size, size.width > 0, size.height > 0, size.width <= 65_535, size.height <= 65_535 else {
                throw .missingParameters(track: index)
            }
            parameters.pointee.codec_type = AVMEDIA_TYPE_VIDEO
            parameters.pointee.width = Int32(size.width)
            parameters.pointee.height = Int32(size.height)
            parameters.pointee.format = vp9Profile >= 2 ? AV_PIX_FMT_YUV420P10LE.rawValue : AV_PIX_FMT_YUV420P.rawValue
            if description.codec == .vp9 { parameters.pointee.profile = Int32(vp9Profile) }
            stream.pointee.sample_aspect_ratio = weir_rational(1, 1)
            parameters.pointee.sample_aspect_ratio = weir_rational(1, 1)
        } else {
            parameters.pointee.codec_type = AVMEDIA_TYPE_AUDIO
            parameters.pointee.sample_rate = Int32(description.sampleRate)
            av_channel_layout_default(&parameters.pointee.ch_layout, Int32(max(1, description.channels)))
            switch description.codec {
            case .opus: parameters.pointee.frame_size = 960
            case .aac: parameters.pointee.frame_size = 1_024
            case .pcmu, .pcma: parameters.pointee.bits_per_coded_sample = 8
            case .g722: parameters.pointee.bits_per_coded_sample = 4
            default: break
            }
        }
        let needsSets = isParameterised || description.codec == .aac
        guard !needsSets || !parameterSets.isEmpty else { throw .missingParameters(track: index) }
        try setExtradata(
            parameters, CodecConfiguration.extradata(for: description, parameterSets: parameterSets))
        if format == .mp4 { parameters.pointee.codec_tag = Self.mp4Tag(description.codec, inBand: inBand) }
        guard rotation != .none else { return }
        if format.carriesRotation {
            try setRotation(stream)
        } else if tagsRotation {
            av_dict_set(&stream.pointee.metadata, Self.rotationTag, String(rotation.rawValue), 0)
        }
    }

    /// Clockwise degrees, as a tag of a track of Matroska.
    static let rotationTag = "rotate"

    /// Sample entry of MP4; 0: the muxer's own choice.
    static func mp4Tag(_ codec: Codec, inBand: Bool) -> UInt32 {
        switch codec {
        case .h264: inBand ? tag("avc3") : tag("avc1")
        case .h265: inBand ? tag("hev1") : tag("hvc1")
        default: 0
        }
    }

    /// libav keeps a tag's first character in the lowest byte.
    private static func tag(_ name: StaticString) -> UInt32 {
        name.withUTF8Buffer { $0.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }
    }

    private func setExtradata(
        _ parameters: UnsafeMutablePointer<AVCodecParameters>, _ bytes: [UInt8]
    ) throws(ContainerError) {
        guard !bytes.isEmpty else { return }
        guard let memory = av_mallocz(bytes.count + Int(weir_av_input_padding)) else { throw .system(errno: ENOMEM) }
        bytes.withUnsafeBytes { memory.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        parameters.pointee.extradata = memory.assumingMemoryBound(to: UInt8.self)
        parameters.pointee.extradata_size = Int32(bytes.count)
    }

    private func setRotation(_ stream: UnsafeMutablePointer<AVStream>) throws(ContainerError) {
        let bytes = 9 * MemoryLayout<Int32>.size
        guard let memory = av_stream_new_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, bytes) else {
            throw .system(errno: ENOMEM)
        }
        memory.withMemoryRebound(to: Int32.self, capacity: 9) { matrix in
            // Clockwise here, although av_display_rotation_get answers counter-clockwise.
            av_display_rotation_set(matrix, Double(rotation.rawValue))
        }
    }
}

extension Codec {
    var libavID: AVCodecID {
        switch self {
        case .vp8: AV_CODEC_ID_VP8
        case .vp9: AV_CODEC_ID_VP9
        case .h264: AV_CODEC_ID_H264
        case .h265: AV_CODEC_ID_HEVC
        case .av1: AV_CODEC_ID_AV1
        case .opus: AV_CODEC_ID_OPUS
        case .aac: AV_CODEC_ID_AAC
        case .pcmu: AV_CODEC_ID_PCM_MULAW
        case .pcma: AV_CODEC_ID_PCM_ALAW
        case .g722: AV_CODEC_ID_ADPCM_G722
        }
    }

    init?(libavID: AVCodecID) {
        guard let codec = Codec.allCases.first(where: { $0.libavID == libavID }) else { return nil }
        self = codec
    }
}
