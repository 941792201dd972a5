import CLibAV
import Glibc
import MediaFormats
import Wire

/// Makes the final file of one written as fragments, or one file of several with the tracks of all: same samples, not
/// encoded anew, with an index at its front (fast-start MP4; Matroska and WebM with cues and duration).
///
/// Reads the sources twice: the first time to know how large the index will be. Several are read side by side, so what is
/// in memory does not grow with them. One thread; blocks on the disk.
package struct Remuxer {
    /// A file of `Muxer`, perhaps torn.
    package struct Source: Equatable, Sendable {
        package var path: String
        /// Read only so many bytes of it (`TornFile.wholeLength`).
        package var limit: Int64?
        /// What its times are later in the target: not negative.
        package var offset: Interval
        /// Name that its tracks get; nil: none.
        package var title: String?

        package init(path: String, limit: Int64? = nil, offset: Interval = .zero, title: String? = nil) {
            self.path = path
            self.limit = limit
            self.offset = offset
            self.title = title
        }
    }

    package struct Result: Equatable, Sendable {
        package var duration: Interval
        package var bytes: Int64
        /// Samples per track, in the order of the sources and of their tracks.
        package var samples: [Int]
    }

    /// Spare bytes of an index whose size was measured: lengths in its boxes may need more room at their real places.
    private static let indexSlack: Int64 = 4 << 10
    /// From here on chunk offsets may need 64 bits, when the index in front of the media moves it up.
    private static let wideOffsets: Int64 = 3 << 30

    private let sources: [Source]
    private let format: ContainerFormat
    private let metadata: [String: String]
    /// Called now and then with the share that is done; false stops with `.cancelled`.
    private let progress: (Double) -> Bool

    /// Of one file.
    package init(
        source: String, limit: Int64? = nil, format: ContainerFormat, metadata: [String: String] = [:],
        progress: @escaping (Double) -> Bool = { _ in true }
    ) {
        self.init(
            sources: [Source(path: source, limit: limit)], format: format, metadata: metadata, progress: progress)
    }

    /// - Parameter metadata: of the file, in libavformat's names (`title`, `creation_time`).
    package init(
        sources: [Source], format: ContainerFormat, metadata: [String: String] = [:],
        progress: @escaping (Double) -> Bool = { _ in true }
    ) {
        self.sources = sources
        self.format = format
        self.metadata = metadata
        self.progress = progress
    }

    /// - Parameter output: must be able to go back.
    package func run(into output: any ByteOutput) throws(ContainerError) -> Result {
        var plan = Plan()
        let first = try pass(into: CountingOutput(), reserving: nil, plan: &plan, share: 0..<0.4)
        var index = first.indexBytes + first.indexBytes / 64 + Self.indexSlack
        if first.result.bytes > Self.wideOffsets { index += index / 2 }
        return try pass(into: output, reserving: index, plan: &plan, share: 0.4..<1).result
    }

    /// What the first pass has learnt for the second.
    private struct Plan {
        /// By track of the target: none where the codec has no parameter sets, or its record cannot be read.
        var scans: [Int: ParameterSetScan]?
    }

    private func pass(
        into output: any ByteOutput, reserving index: Int64?, plan: inout Plan, share: Range<Double>
    ) throws(ContainerError) -> (result: Result, indexBytes: Int64) {
        let target = try OutputContext(format: format, output: output)
        let isFirst = plan.scans == nil
        var scans = plan.scans ?? [:]
        var lanes: [RemuxLane] = []
        for source in sources {
            let input = try InputContext(path: source.path, limit: source.limit)
            let map = try addStreams(input, target, title: source.title, scans: &scans, isFirst: isFirst)
            lanes.append(try RemuxLane(input: input, map: map, offset: source.offset))
        }
        let tracks = Int(target.context.pointee.nb_streams)
        guard tracks > 0 else { throw .wrongFormat }
        for (key, value) in metadata { av_dict_set(&target.context.pointee.metadata, key, value, 0) }
        try target.writeHeader(options: options(reserving: index))
        var samples = Array(repeating: 0, count: tracks)
        var end = Interval.zero
        let delays = try samples.map { _ throws(ContainerError) in try PacketDelay() }
        var report = ProgressReport(lengths: lanes.map(\.input.length), share: share, tell: progress)
        while let lane = try RemuxLane.earliest(of: lanes) {
            let packet = lane.packet
            defer { lane.drop() }
            let to = lane.track
            if isFirst {
                scans[to]?.scan(packet.bytes)
            } else if let scan = scans[to], !scan.hasForeignSets, let less = scan.stripped(packet.bytes) {
                try packet.replace(less)
            }
            samples[to] += 1
            let timeBase = target.stream(to).pointee.time_base
            lane.retime(to: timeBase)
            packet.pointee.stream_index = Int32(to)
            packet.pointee.pos = -1
            if delays[to].exchange(packet) {
                end = max(end, packet.endTime(timeBase))
                try target.write(packet, interleaved: true)
            }
            guard report.pass(lanes.map(\.input.progress)) else { throw .cancelled }
        }
        guard let packet = av_packet_alloc() else { throw .system(errno: ENOMEM) }
        defer {
            var owned: UnsafeMutablePointer<AVPacket>? = packet
            av_packet_free(&owned)
        }
        for (index, delay) in delays.enumerated() where delay.last(into: packet) {
            end = max(end, packet.endTime(target.stream(index).pointee.time_base))
            try target.write(packet, interleaved: true)
            av_packet_unref(packet)
        }
        try target.write(nil, interleaved: true)
        try target.flush()
        let before = output.size
        try target.writeTrailer()
        plan.scans = scans
        guard samples.contains(where: { $0 > 0 }) else { throw .wrongFormat }
        return (Result(duration: end, bytes: output.size, samples: samples), output.size - before)
    }

    /// - Returns: by stream of the source its stream in the target; nil: not taken along.
    private func addStreams(
        _ input: InputContext, _ target: OutputContext, title: String?, scans: inout [Int: ParameterSetScan],
        isFirst: Bool
    ) throws(ContainerError) -> [Int?] {
        var map: [Int?] = []
        for index in 0..<Int(input.context.pointee.nb_streams) {
            guard let stream = input.context.pointee.streams[index], let parameters = stream.pointee.codecpar,
                let codec = Codec(libavID: parameters.pointee.codec_id), format.holds(codec)
            else {
                map.append(nil)
                continue
            }
            let track = Int(target.context.pointee.nb_streams)
            map.append(track)
            if isFirst, format == .mp4, codec == .h264 || codec == .h265 {
                scans[track] = ParameterSetScan(codec: codec, record: parameters.extradataBytes)
            }
            let new = try target.newStream()
            guard let copy = new.pointee.codecpar, avcodec_parameters_copy(copy, parameters) >= 0 else {
                throw .system(errno: ENOMEM)
            }
            copy.pointee.codec_tag = format == .mp4 ? tag(codec, inBand: scans[track]?.hasForeignSets ?? true) : 0
            new.pointee.time_base = stream.pointee.time_base
            new.pointee.sample_aspect_ratio = stream.pointee.sample_aspect_ratio
            if let title { setTitle(title, new) }
            if let turn = av_dict_get(stream.pointee.metadata, MuxerTrack.rotationTag, nil, 0), format != .mp4 {
                av_dict_set(&new.pointee.metadata, MuxerTrack.rotationTag, turn.pointee.value, 0)
            }
            var size = 0
            if let matrix = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size), size > 0,
                let memory = av_stream_new_side_data(new, AV_PKT_DATA_DISPLAYMATRIX, size)
            {
                UnsafeMutableRawPointer(memory).copyMemory(from: matrix, byteCount: size)
            }
        }
        return map
    }

    /// MP4 has a track's name as that of its handler; Matroska as the track's title.
    private func setTitle(_ title: String, _ stream: UnsafeMutablePointer<AVStream>) {
        av_dict_set(&stream.pointee.metadata, format == .mp4 ? "handler_name" : "title", title, 0)
    }

    private func tag(_ codec: Codec, inBand: Bool) -> UInt32 { MuxerTrack.mp4Tag(codec, inBand: inBand) }

    private func options(reserving index: Int64?) -> [String: String] {
        switch format {
        case .mp4:
            guard let index else { return [:] }
            return ["moov_size": String(index)]
        case .webm, .mkv:
            guard let index else { return [:] }
            return ["reserve_index_space": String(index)]
        case .ts: return [:]
        }
    }
}

/// Keeps the newest packet of a stream back until the next tells how long it lasts: libavformat reads no durations of
/// Opus from fragments, and a last sample without one would be outside of its track.
private final class PacketDelay {
    private let held: UnsafeMutablePointer<AVPacket>
    private var isFull = false
    private var lastStep: Int64 = 1

    init() throws(ContainerError) {
        guard let packet = av_packet_alloc() else { throw .system(errno: ENOMEM) }
        held = packet
    }

    deinit {
        var owned: UnsafeMutablePointer<AVPacket>? = held
        av_packet_free(&owned)
    }

    /// Takes the packet's contents and gives those of the one before. False: there was none; the packet is empty.
    func exchange(_ packet: UnsafeMutablePointer<AVPacket>) -> Bool {
        let next = packet.pointee.dts
        let before = held.pointee
        if isFull, next != weir_av_nopts, before.dts != weir_av_nopts, next > before.dts {
            lastStep = next - before.dts
            held.pointee.duration = lastStep
        }
        var other = AVPacket()
        withUnsafeMutablePointer(to: &other) { spare in
            av_packet_move_ref(spare, packet)
            av_packet_move_ref(packet, held)
            av_packet_move_ref(held, spare)
        }
        defer { isFull = true }
        return isFull
    }

    func last(into packet: UnsafeMutablePointer<AVPacket>) -> Bool {
        guard isFull else { return false }
        isFull = false
        av_packet_move_ref(packet, held)
        if packet.pointee.duration <= 0 { packet.pointee.duration = lastStep }
        return true
    }
}

extension UnsafeMutablePointer<AVPacket> {
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: pointee.data, count: Int(pointee.size)) }

    /// When what is in the packet is over; zero if it does not say.
    func endTime(_ timeBase: AVRational) -> Interval {
        guard pointee.pts != weir_av_nopts else { return .zero }
        let end = pointee.pts.addingReportingOverflow(max(0, pointee.duration))
        guard !end.overflow else { return .zero }
        return .nanoseconds(av_rescale_q(end.partialValue, timeBase, weir_rational(1, 1_000_000_000)))
    }

    /// Other bytes with the same times.
    func replace(_ bytes: [UInt8]) throws(ContainerError) {
        guard let fresh = av_packet_alloc() else { throw .system(errno: ENOMEM) }
        var owned: UnsafeMutablePointer<AVPacket>? = fresh
        defer { av_packet_free(&owned) }
        guard av_new_packet(fresh, Int32(bytes.count)) == 0, av_packet_copy_props(fresh, self) >= 0,
            let target = fresh.pointee.data
        else { throw .system(errno: ENOMEM) }
        bytes.withUnsafeBytes { UnsafeMutableRawPointer(target).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        av_packet_unref(self)
        av_packet_move_ref(self, fresh)
    }
}

extension UnsafeMutablePointer<AVCodecParameters> {
    var extradataBytes: [UInt8] {
        guard let data = pointee.extradata, pointee.extradata_size > 0 else { return [] }
        return [UInt8](UnsafeBufferPointer(start: data, count: Int(pointee.extradata_size)))
    }
}
