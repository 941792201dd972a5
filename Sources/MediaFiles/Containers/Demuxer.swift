import CLibAV
import Glibc
import MediaFormats
import MediaFrames
import Wire

/// Reads a media file as frames, in the forms of `MediaFrame`: what a publisher would have sent. One thread at a time;
/// blocks on the disk.
package final class Demuxer {
    /// A frame with what pacing needs beside it.
    package struct Sample: Sendable, Equatable {
        /// `frame.time` counts from the file's beginning, which is zero.
        package var frame: MediaFrame
        /// When a decoder wants it: before `frame.time` where pictures are out of order. What a sender paces by.
        package var decodeTime: Interval
    }

    /// Which tracks of the file are read.
    package enum Selection: Sendable, Equatable {
        /// One of pictures and one of sound: the best of each, as a player would choose.
        case best
        case all
        /// The one of this number in the file (`numbers`).
        case only(Int)
    }

    /// What AAC in ADTS has no place for elsewhere is known of its first frame on.
    package private(set) var tracks: [TrackDescription]
    /// Of the pictures as stored; nil for sound and where the file does not say.
    package let sizes: [VideoSize?]
    package let rotations: [VideoRotation]
    /// By track: its number among the streams of the file.
    package let numbers: [Int]
    /// By track: its name; empty without one.
    package let titles: [String]
    /// Pictures may come in another order than they are shown in (B frames), as far as the file's head says.
    package let reorders: [Bool]
    /// As the file says; zero if it does not.
    package let duration: Interval
    /// The file's own time of what is given out as zero.
    package let start: Interval
    /// When the file's own time was zero, in milliseconds since 1970, as recordings say it.
    package let startedAt: Int64?

    /// Name of the format, as libavformat has it; empty for files.
    package let formatName: String

    private let input: any PacketInput
    private let packet: UnsafeMutablePointer<AVPacket>
    /// By stream of the file: which track it is.
    private let map: [Int?]
    private let filters: [BitstreamFilter?]
    private let zero: Interval
    /// By track: H264 and H265.
    private var forms: [NALUnitForm?]
    /// By track: the first key frame has told its parameter sets.
    private var sentSets: [Bool]
    /// A filter that may have more to give.
    private var draining: Int?

    /// - Parameter isCancelled: asked while reading, from the reading thread.
    package convenience init(
        path: String, selection: Selection = .best, isCancelled: @escaping () -> Bool = { false }
    ) throws(ContainerError) {
        try self.init(InputContext(path: path, isCancelled: isCancelled), selection)
    }

    /// - Parameter descriptor: of a regular file, open for reading; it is closed in any case.
    package convenience init(
        descriptor: Int32, isCancelled: @escaping () -> Bool = { false }
    ) throws(ContainerError) {
        try self.init(InputContext(descriptor: descriptor, isCancelled: isCancelled), .best)
    }

    /// A source in the network. Blocks until it is opened and known.
    ///
    /// - Parameter isCancelled: asked from within calls, now and then; true ends them with `.cancelled`.
    package convenience init(
        url: String, options: NetworkOptions, isCancelled: @escaping () -> Bool
    ) throws(ContainerError) {
        let input = try NetworkInput(url: url, options: options, isCancelled: isCancelled)
        try self.init(input, .best, formatName: input.formatName)
    }

    private init(
        _ input: any PacketInput, _ selection: Selection, formatName: String = ""
    ) throws(ContainerError) {
        self.input = input
        self.formatName = formatName
        var tracks: [TrackDescription] = []
        var sizes: [VideoSize?] = []
        var rotations: [VideoRotation] = []
        var reorders: [Bool] = []
        var map: [Int?] = []
        var filters: [BitstreamFilter?] = []
        var forms: [NALUnitForm?] = []
        var numbers: [Int] = []
        var titles: [String] = []
        let best = [AVMEDIA_TYPE_VIDEO, AVMEDIA_TYPE_AUDIO].map {
            av_find_best_stream(input.context, $0, -1, -1, nil, 0)
        }
        for index in 0..<Int(input.context.pointee.nb_streams) {
            let isWanted =
                switch selection {
                case .best: best.contains(Int32(index))
                case .all: true
                case .only(let number): number == index
                }
            guard isWanted, let stream = input.context.pointee.streams[index],
                stream.pointee.disposition & AV_DISPOSITION_ATTACHED_PIC == 0,
                let parameters = stream.pointee.codecpar, let codec = Codec(libavID: parameters.pointee.codec_id)
            else {
                input.context.pointee.streams[index]?.pointee.discard = AVDISCARD_ALL
                map.append(nil)
                filters.append(nil)
                continue
            }
            let filter = try Self.filter(codec, stream)
            map.append(tracks.count)
            filters.append(filter)
            let configuration = filter?.extradata ?? parameters.extradataBytes
            let form = NALUnitForm(codec: codec, configuration: configuration)
            forms.append(form)
            tracks.append(Self.describe(codec, parameters, configuration, form))
            let size = VideoSize(width: Int(parameters.pointee.width), height: Int(parameters.pointee.height))
            sizes.append(codec.isVideo && size.width > 0 && size.height > 0 ? size : nil)
            rotations.append(Self.rotation(stream))
            numbers.append(index)
            titles.append(Self.title(stream))
            reorders.append(codec.isVideo && parameters.pointee.video_delay > 0)
        }
        guard !tracks.isEmpty else {
            let names = Self.codecNames(input.context)
            throw formatName.isEmpty || names.isEmpty ? .wrongFormat : .unknownCodecs(names)
        }
        guard let packet = av_packet_alloc() else { throw .system(errno: ENOMEM) }
        self.packet = packet
        self.tracks = tracks
        self.sizes = sizes
        self.rotations = rotations
        self.numbers = numbers
        self.titles = titles
        self.reorders = reorders
        self.map = map
        self.filters = filters
        self.forms = forms
        sentSets = Array(repeating: false, count: tracks.count)
        let start = input.context.pointee.start_time
        zero = start == weir_av_nopts ? .zero : .microseconds(start)
        self.start = zero
        startedAt = FileTime.startedAt(input.context.pointee.metadata)
        let length = input.context.pointee.duration
        duration = length > 0 ? min(.microseconds(length), input.longest) : .zero
    }

    deinit {
        var owned: UnsafeMutablePointer<AVPacket>? = packet
        av_packet_free(&owned)
    }

    /// Length of the file.
    package var byteCount: Int64 { input.length }

    /// The next frame in the file's order; nil at its end.
    package func next() throws(ContainerError) -> Sample? {
        while true {
            if let stream = draining, let filter = filters[stream] {
                if filter.receive(into: packet) {
                    defer { av_packet_unref(packet) }
                    if let sample = sample(stream) { return sample }
                    continue
                }
                draining = nil
            }
            guard try input.read(into: packet) else { return nil }
            let stream = Int(packet.pointee.stream_index)
            guard stream < map.count, map[stream] != nil else {
                av_packet_unref(packet)
                continue
            }
            if let filter = filters[stream] {
                if filter.send(packet) { draining = stream }
                continue
            }
            defer { av_packet_unref(packet) }
            if let sample = sample(stream) { return sample }
        }
    }

    /// Goes back to the beginning: for loops. The next frames are as after opening.
    package func rewind() throws(ContainerError) {
        draining = nil
        for filter in filters { filter?.flush() }
        input.renewBudget()
        let result = avformat_seek_file(input.context, -1, .min, input.context.pointee.start_time, .max, 0)
        // A file without an index: from its first byte.
        if result < 0 {
            guard av_seek_frame(input.context, -1, 0, AVSEEK_FLAG_BYTE) >= 0 else { throw input.failure(result) }
        }
        sentSets = Array(repeating: false, count: tracks.count)
    }

    /// Makes a frame of `packet`, which is of a stream that is a track.
    private func sample(_ stream: Int) -> Sample? {
        guard let track = map[stream], let timeBase = input.context.pointee.streams[stream]?.pointee.time_base,
            packet.pointee.size > 0
        else { return nil }
        let presented = packet.pointee.pts == weir_av_nopts ? packet.pointee.dts : packet.pointee.pts
        let decoded = packet.pointee.dts == weir_av_nopts ? packet.pointee.pts : packet.pointee.dts
        guard presented != weir_av_nopts else { return nil }
        let time = Self.interval(presented, timeBase) - zero
        guard time > Interval.zero - input.longest, time < input.longest else { return nil }
        if filters[stream] != nil { learnConfiguration(track) }
        let description = tracks[track]
        let isVideo = description.isVideo
        let isKeyFrame = !isVideo || packet.pointee.flags & AV_PKT_FLAG_KEY != 0
        let data: [UInt8]
        var hasNewSets = false
        if let (units, changed) = forms[track]?.frame(packet.bytes, isKeyFrame: isKeyFrame) {
            data = units
            hasNewSets = changed
        } else if forms[track] == nil {
            data = [UInt8](packet.bytes)
        } else {
            return nil
        }
        var frame = MediaFrame(track: track, data: data, time: time, isKeyFrame: isKeyFrame)
        if !isVideo, packet.pointee.duration > 0 { frame.duration = Self.interval(packet.pointee.duration, timeBase) }
        if isVideo {
            frame.rotation = rotations[track]
            if isKeyFrame {
                frame.size = sizes[track]
                let sets = forms[track]?.sets ?? description.parameterSets
                if !sets.isEmpty, hasNewSets || !sentSets[track] {
                    frame.parameterSets = sets
                    sentSets[track] = true
                }
            }
        }
        return Sample(frame: frame, decodeTime: Self.interval(decoded, timeBase) - zero)
    }

    /// The configuration that a filter has made of the first frame.
    private func learnConfiguration(_ track: Int) {
        guard tracks[track].parameterSets.isEmpty else { return }
        var size = 0
        guard let bytes = av_packet_get_side_data(packet, AV_PKT_DATA_NEW_EXTRADATA, &size), size > 0 else { return }
        tracks[track].parameterSets = [Array(UnsafeBufferPointer(start: bytes, count: size))]
    }

    private static func codecNames(_ context: UnsafeMutablePointer<AVFormatContext>) -> [String] {
        (0..<Int(context.pointee.nb_streams)).compactMap { index in
            guard let parameters = context.pointee.streams[index]?.pointee.codecpar,
                let name = avcodec_get_name(parameters.pointee.codec_id)
            else { return nil }
            return String(cString: name)
        }
    }

    private static func interval(_ ticks: Int64, _ timeBase: AVRational) -> Interval {
        .nanoseconds(av_rescale_q(ticks, timeBase, weir_rational(1, 1_000_000_000)))
    }

    /// What makes raw AAC of ADTS.
    private static func filter(
        _ codec: Codec, _ stream: UnsafeMutablePointer<AVStream>
    ) throws(ContainerError) -> BitstreamFilter? {
        let configuration = stream.pointee.codecpar.extradataBytes
        switch codec {
        case .aac where configuration.isEmpty: return try BitstreamFilter("aac_adtstoasc", for: stream)
        default: return nil
        }
    }

    private static func describe(
        _ codec: Codec, _ parameters: UnsafeMutablePointer<AVCodecParameters>, _ configuration: [UInt8],
        _ form: NALUnitForm?
    ) -> TrackDescription {
        var sets: [[UInt8]] = []
        switch codec {
        case .h264, .h265: sets = form?.sets ?? []
        case .aac: sets = configuration.isEmpty ? [] : [configuration]
        // av1C: four bytes, then the sequence header (AV1-ISOBMFF §2.3.3).
        case .av1: sets = configuration.count > 4 && configuration[0] & 0x80 != 0 ? [Array(configuration[4...])] : []
        default: break
        }
        let channels = Int(parameters.pointee.ch_layout.nb_channels)
        let rate = Int(parameters.pointee.sample_rate)
        switch codec {
        case .aac, .pcmu, .pcma:
            return TrackDescription(
                codec: codec, clockRate: rate > 0 ? rate : nil, channels: channels > 0 ? channels : nil,
                parameterSets: sets)
        default: return TrackDescription(codec: codec, parameterSets: sets)
        }
    }

    /// Matroska has titles; MP4 has names of handlers, of which libavformat's own say nothing.
    private static func title(_ stream: UnsafeMutablePointer<AVStream>) -> String {
        for key in ["title", "handler_name"] {
            guard let entry = av_dict_get(stream.pointee.metadata, key, nil, 0), let value = entry.pointee.value else {
                continue
            }
            let title = String(cString: value)
            if !title.isEmpty, !anonymousHandlers.contains(title) { return title }
        }
        return ""
    }

    private static let anonymousHandlers: Set<String> = [
        "VideoHandler", "SoundHandler", "Core Media Video", "Core Media Audio",
    ]

    private static func rotation(_ stream: UnsafeMutablePointer<AVStream>) -> VideoRotation {
        var size = 0
        guard let bytes = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size), size >= 36 else {
            guard let tag = av_dict_get(stream.pointee.metadata, MuxerTrack.rotationTag, nil, 0),
                let value = tag.pointee.value, let degrees = Int(String(cString: value))
            else { return .none }
            return VideoRotation(rawValue: degrees) ?? .none
        }
        let degrees = bytes.withMemoryRebound(to: Int32.self, capacity: 9) { -av_display_rotation_get($0) }
        guard degrees.isFinite else { return .none }
        let turned = (Int(degrees.rounded()) % 360 + 360) % 360
        return VideoRotation(rawValue: (turned + 45) / 90 * 90 % 360) ?? .none
    }
}
