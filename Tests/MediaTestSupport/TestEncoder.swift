import CLibAV
import MediaFormats
import MediaFrames
import Wire

/// Real bitstreams for tests, made by libavcodec: small pictures whose grey level counts, and a tone.
package struct TestClip: Sendable {
    package var description: TrackDescription
    package var frames: [MediaFrame]

    package init(description: TrackDescription, frames: [MediaFrame]) {
        self.description = description
        self.frames = frames
    }

    package static let frameInterval = Interval.nanoseconds(33_333_333)
    package static let soundInterval = Interval.milliseconds(20)

    /// - Parameters:
    ///   - first: index of the first picture, which says its time.
    ///   - keyEvery: pictures from one key frame to the next.
    ///   - paint: Y, U and V by picture, column and row, instead of the usual pattern.
    package static func video(
        _ codec: Codec, count: Int, size: VideoSize = VideoSize(width: 160, height: 96), keyEvery: Int = 15,
        track: Int = 0, first: Int = 0, rotation: VideoRotation = .none, paint: Paint? = nil
    ) throws -> TestClip {
        let encoder = try TestEncoder(video: codec, size: size, keyEvery: keyEvery)
        encoder.paint = paint
        var frames: [MediaFrame] = []
        var sets: [[UInt8]] = []
        for (data, index, isKey) in try encoder.encode(pictures: count) {
            var frame = MediaFrame(
                track: track, data: data, time: frameInterval * Int64(first + index), isKeyFrame: isKey,
                rotation: rotation)
            if isKey {
                frame.size = size
                let found = parameterSets(codec, data)
                if !found.isEmpty, found != sets {
                    frame.parameterSets = found
                    sets = found
                }
            }
            frames.append(frame)
        }
        return TestClip(description: TrackDescription(codec: codec), frames: frames)
    }

    package typealias Paint = (_ index: Int, _ column: Int, _ row: Int) -> (UInt8, UInt8, UInt8)

    /// - Parameter wave: sound by sample at 48 kHz, instead of the usual tone.
    package static func audio(
        _ codec: Codec, count: Int, track: Int = 1, from: Interval = .zero, wave: ((Int) -> Float)? = nil
    ) throws -> TestClip {
        if codec == .pcmu || codec == .pcma || codec == .g722 {
            let frames = (0..<count).map { index in
                MediaFrame(
                    track: track, data: Array(repeating: UInt8(0x55 + index % 3), count: 160),
                    time: from + soundInterval * Int64(index), duration: soundInterval)
            }
            return TestClip(description: TrackDescription(codec: codec), frames: frames)
        }
        let encoder = try TestEncoder(audio: codec)
        encoder.wave = wave
        let packets = try encoder.encode(packets: count)
        let step = Interval.nanoseconds(Int64(encoder.samplesPerPacket) * 1_000_000_000 / 48_000)
        let frames = packets.enumerated().map { index, data in
            MediaFrame(track: track, data: data, time: from + step * Int64(index), duration: step)
        }
        let description = TrackDescription(
            codec: codec, parameterSets: codec == .aac ? [encoder.configuration] : [])
        return TestClip(description: description, frames: frames)
    }

    /// The parameter sets that a key frame begins with.
    package static func parameterSets(_ codec: Codec, _ data: [UInt8]) -> [[UInt8]] {
        switch codec {
        case .h264: units(data).filter { $0[0] & 0x1f == 7 || $0[0] & 0x1f == 8 }
        case .h265: units(data).filter { (32...34).contains($0[0] >> 1 & 0x3f) }
        case .av1: data.count > 1 && data[0] >> 3 & 15 == 1 ? [Array(data[..<(2 + Int(data[1]))])] : []
        default: []
        }
    }

    package static func units(_ data: [UInt8]) -> [[UInt8]] {
        var units: [[UInt8]] = []
        var at = 0
        var start = -1
        while at + 2 < data.count {
            if data[at] == 0, data[at + 1] == 0, data[at + 2] == 1 {
                if start >= 0 { units.append(Array(data[start..<(data[at - 1] == 0 ? at - 1 : at)])) }
                start = at + 3
                at += 3
            } else {
                at += 1
            }
        }
        if start >= 0 { units.append(Array(data[start...])) }
        return units
    }
}

/// Frames of several tracks as their assemblers would give them out: by time.
package func interleaved(_ clips: TestClip...) -> [MediaFrame] {
    clips.flatMap(\.frames).sorted { ($0.time, $0.track) < ($1.time, $1.track) }
}

package struct TestEncoderError: Error {
    var what: String
    var code: Int32
}

/// One libavcodec encoder.
final class TestEncoder {
    private let context: UnsafeMutablePointer<AVCodecContext>
    private let codec: Codec
    private let keyEvery: Int
    var paint: TestClip.Paint?
    var wave: ((Int) -> Float)?

    private static let names: [Codec: String] = [
        .h264: "libx264", .h265: "libx265", .vp8: "libvpx", .vp9: "libvpx-vp9", .av1: "libaom-av1", .opus: "libopus",
        .aac: "aac",
    ]
    /// Fast, one thread, no look-ahead and no B frames.
    private static let options: [Codec: [String: String]] = [
        .h264: ["preset": "ultrafast", "tune": "zerolatency"],
        .h265: [
            "preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none:pools=none:repeat-headers=1",
        ],
        .vp8: ["deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"],
        .vp9: ["deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"],
        .av1: ["usage": "realtime", "cpu-used": "8", "lag-in-frames": "0", "row-mt": "0"],
        .opus: ["frame_duration": "20"],
    ]

    init(video codec: Codec, size: VideoSize, keyEvery: Int) throws {
        self.codec = codec
        self.keyEvery = keyEvery
        context = try Self.make(codec)
        context.pointee.width = Int32(size.width)
        context.pointee.height = Int32(size.height)
        context.pointee.pix_fmt = AV_PIX_FMT_YUV420P
        context.pointee.time_base = weir_rational(1, 30)
        context.pointee.framerate = weir_rational(30, 1)
        context.pointee.gop_size = Int32(keyEvery)
        context.pointee.keyint_min = Int32(keyEvery)
        context.pointee.max_b_frames = 0
        context.pointee.bit_rate = 200_000
        context.pointee.thread_count = 1
        try open()
    }

    init(audio codec: Codec) throws {
        self.codec = codec
        keyEvery = 1
        context = try Self.make(codec)
        context.pointee.sample_rate = 48_000
        av_channel_layout_default(&context.pointee.ch_layout, 2)
        context.pointee.sample_fmt = codec == .aac ? AV_SAMPLE_FMT_FLTP : AV_SAMPLE_FMT_FLT
        context.pointee.bit_rate = 64_000
        context.pointee.flags |= Int32(AV_CODEC_FLAG_GLOBAL_HEADER)
        try open()
    }

    deinit {
        var owned: UnsafeMutablePointer<AVCodecContext>? = context
        avcodec_free_context(&owned)
    }

    var samplesPerPacket: Int { Int(context.pointee.frame_size) }
    var configuration: [UInt8] {
        guard let data = context.pointee.extradata else { return [] }
        return Array(UnsafeBufferPointer(start: data, count: Int(context.pointee.extradata_size)))
    }

    private static func make(_ codec: Codec) throws -> UnsafeMutablePointer<AVCodecContext> {
        guard let name = names[codec], let encoder = avcodec_find_encoder_by_name(name),
            let context = avcodec_alloc_context3(encoder)
        else { throw TestEncoderError(what: "no encoder of \(codec)", code: 0) }
        return context
    }

    private func open() throws {
        av_log_set_level(AV_LOG_ERROR)
        for (key, value) in Self.options[codec] ?? [:] {
            let result = av_opt_set(context, key, value, Int32(AV_OPT_SEARCH_CHILDREN))
            guard result >= 0 else { throw TestEncoderError(what: "option \(key)", code: result) }
        }
        let result = avcodec_open2(context, nil, nil)
        guard result >= 0 else { throw TestEncoderError(what: "open \(codec)", code: result) }
    }

    func encode(pictures count: Int) throws -> [(data: [UInt8], index: Int, isKey: Bool)] {
        var result: [(data: [UInt8], index: Int, isKey: Bool)] = []
        for index in 0...count {
            var frame: UnsafeMutablePointer<AVFrame>?
            if index < count {
                frame = try picture(index)
            }
            try send(frame)
            av_frame_free(&frame)
            try drain { packet in
                result.append(
                    (
                        Array(UnsafeBufferPointer(start: packet.pointee.data, count: Int(packet.pointee.size))),
                        Int(packet.pointee.pts), packet.pointee.flags & AV_PKT_FLAG_KEY != 0
                    ))
            }
        }
        guard result.count == count else { throw TestEncoderError(what: "\(result.count) of \(count)", code: 0) }
        if codec == .av1 { for index in result.indices { result[index].data = withoutDelimiter(result[index].data) } }
        return result
    }

    func encode(packets count: Int) throws -> [[UInt8]] {
        var result: [[UInt8]] = []
        var phase = 0.0
        var moment = 0
        while result.count < count {
            var frame: UnsafeMutablePointer<AVFrame>? = av_frame_alloc()
            frame!.pointee.nb_samples = context.pointee.frame_size
            frame!.pointee.format = context.pointee.sample_fmt.rawValue
            frame!.pointee.sample_rate = 48_000
            av_channel_layout_default(&frame!.pointee.ch_layout, 2)
            av_frame_get_buffer(frame, 0)
            let planar = context.pointee.sample_fmt == AV_SAMPLE_FMT_FLTP
            for i in 0..<Int(frame!.pointee.nb_samples) {
                phase += 0.0576
                let value = wave?(moment) ?? Float(phase.truncatingRemainder(dividingBy: 2) - 1) * 0.2
                moment += 1
                for channel in 0..<2 {
                    let plane = planar ? channel : 0
                    let at = planar ? i : 2 * i + channel
                    frame!.pointee.extended_data[plane]!.withMemoryRebound(to: Float.self, capacity: at + 1) {
                        $0[at] = value
                    }
                }
            }
            try send(frame)
            av_frame_free(&frame)
            try drain { packet in
                result.append(Array(UnsafeBufferPointer(start: packet.pointee.data, count: Int(packet.pointee.size))))
            }
        }
        return Array(result.prefix(count))
    }

    private func picture(_ index: Int) throws -> UnsafeMutablePointer<AVFrame>? {
        let frame = av_frame_alloc()!
        frame.pointee.width = context.pointee.width
        frame.pointee.height = context.pointee.height
        frame.pointee.format = AV_PIX_FMT_YUV420P.rawValue
        av_frame_get_buffer(frame, 0)
        let line = { (plane: Int) -> Int in
            plane == 0 ? Int(frame.pointee.linesize.0) : Int(frame.pointee.linesize.1)
        }
        for plane in 0..<3 {
            let rows = Int(frame.pointee.height) / (plane == 0 ? 1 : 2)
            let columns = Int(frame.pointee.width) / (plane == 0 ? 1 : 2)
            let data = [frame.pointee.data.0, frame.pointee.data.1, frame.pointee.data.2][plane]!
            for row in 0..<rows {
                for column in 0..<columns {
                    var value = plane == 0 ? (row ^ column) / 2 + index * 4 : 128
                    if let paint {
                        let step = plane == 0 ? 1 : 2
                        let (y, u, v) = paint(index, column * step, row * step)
                        value = Int([y, u, v][plane])
                    }
                    data[row * line(plane) + column] = UInt8(truncatingIfNeeded: value)
                }
            }
        }
        frame.pointee.pts = Int64(index)
        frame.pointee.pict_type = index % keyEvery == 0 ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE
        return frame
    }

    /// A temporal delimiter is the first OBU of a unit: two bytes.
    private func withoutDelimiter(_ data: [UInt8]) -> [UInt8] {
        data.count > 2 && data[0] >> 3 & 15 == 2 ? Array(data[2...]) : data
    }

    private func send(_ frame: UnsafeMutablePointer<AVFrame>?) throws {
        let result = avcodec_send_frame(context, frame)
        guard result >= 0 else { throw TestEncoderError(what: "send", code: result) }
    }

    private func drain(_ body: (UnsafeMutablePointer<AVPacket>) -> Void) throws {
        var packet = av_packet_alloc()
        defer { av_packet_free(&packet) }
        while let packet, avcodec_receive_packet(context, packet) >= 0 {
            body(packet)
            av_packet_unref(packet)
        }
    }
}
