import CLibAV
import Glibc
import MediaFormats
import Wire

/// Writes frames into a file that is readable up to its last fragment at any moment. One thread at a time.
///
/// MP4 as fragments (`moof` + `mdat`), Matroska and WebM as clusters of known size in a segment of unknown size, MPEG-TS
/// as it is: nothing that has been written is ever touched again, so the output need not be able to go back. `Remuxer`
/// makes the final file of it.
///
/// - Times are `frame.time - origin`, also of pictures out of order (B frames), which are decoded before they are shown; a gap stays a gap: in MP4 the sample before it lasts so long.
/// - Parameter sets and sizes may change at key frames, since they stay in the stream (`avc3`, `hev1`; the other codecs
///   have them there anyway). Tracks cannot be added: begin a new file.
/// - MP4 keeps the newest frame of each track back until the next one tells how long it lasts.
package final class Muxer {
    package struct Settings: Sendable, Equatable {
        /// A fragment ends when it spans so much time of the stream: what a crash can cost.
        package var fragmentDuration: Interval = .milliseconds(500)
        /// ... or when it holds so much, since it is in memory until then.
        package var fragmentBytes = 4 << 20

        package init() {}
    }

    /// Two frames of a track further apart are not of one recording: MP4 counts a sample's duration in 31 bits.
    private static let longestGap = Interval.seconds(4 * 3_600)

    package let format: ContainerFormat
    package let tracks: [MuxerTrack]
    private let settings: Settings
    private let origin: Interval
    private let output: OutputContext
    private var states: [TrackState]
    private let packet: UnsafeMutablePointer<AVPacket>
    private var fragmentStart: Interval?
    private var fragmentFill = 0
    private var isFinished = false

    /// Fragments ended so far.
    package private(set) var fragments = 0
    /// Length of the output up to the last ended fragment: what a reader can rely on.
    package private(set) var wholeLength: Int64 = 0
    /// From the origin to the end of what has been written.
    package private(set) var duration = Interval.zero
    /// Frames written per track.
    package private(set) var frameCounts: [Int]

    private struct TrackState {
        var decodeTimes: DecodeTimes
        /// Reference to the frame kept back (MP4), with its decoding time in `timeBase`.
        var held: HeldFrame?
        var lastTime: Int64?
        var lastTicks: Int64?
        var lastDuration: Int64
    }

    private struct HeldFrame {
        var data: [UInt8]
        /// When it is decoded, and when it is shown.
        var ticks: Int64
        var shown: Int64
        var isKeyFrame: Bool
        /// When it is decoded.
        var time: Interval
        var duration: Int64
    }

    /// Writes the file's head at once.
    ///
    /// - Parameters:
    ///   - origin: the stream time that becomes the file's zero; no frame may be before it.
    ///   - metadata: of the file, in libavformat's names (`creation_time`).
    package init(
        format: ContainerFormat, tracks: [MuxerTrack], origin: Interval, output: any ByteOutput,
        settings: Settings = Settings(), metadata: [String: String] = [:]
    ) throws(ContainerError) {
        self.format = format
        self.tracks = tracks
        self.origin = origin
        self.settings = settings
        guard let packet = av_packet_alloc() else { throw .system(errno: ENOMEM) }
        self.packet = packet
        states = tracks.map { track in
            TrackState(
                decodeTimes: DecodeTimes(
                    track.description.codec, parameterSets: track.parameterSets, leastStep: .nanoseconds(1)),
                lastDuration: track.usualDuration)
        }
        frameCounts = Array(repeating: 0, count: tracks.count)
        do {
            self.output = try OutputContext(format: format, output: output)
        } catch {
            var owned: UnsafeMutablePointer<AVPacket>? = packet
            av_packet_free(&owned)
            throw error
        }
        // Streams of this file must not be moved to begin at zero one by one.
        self.output.context.pointee.avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED
        for (index, track) in tracks.enumerated() {
            try track.fill(try self.output.newStream(), in: format, inBand: true, index: index)
        }
        for (key, value) in metadata { av_dict_set(&self.output.context.pointee.metadata, key, value, 0) }
        try self.output.writeHeader(options: Self.options(format))
        try self.output.flush()
        wholeLength = output.size
    }

    deinit {
        var owned: UnsafeMutablePointer<AVPacket>? = packet
        av_packet_free(&owned)
    }

    private static func options(_ format: ContainerFormat) -> [String: String] {
        switch format {
        case .mp4:
            // Fragments end where we say. No edit lists: `tfdt` says where a track begins.
            ["movflags": "frag_custom+empty_moov+default_base_moof+frag_discont+skip_trailer", "use_editlist": "0"]
        // Clusters end where we say, too; the limit of libavformat is above ours.
        case .webm, .mkv: ["cluster_time_limit": "30000", "cluster_size_limit": "16777216"]
        case .ts: ["mpegts_flags": "resend_headers+pat_pmt_at_frames"]
        }
    }

    /// - Parameters:
    ///   - frame: those of a track come in the order in which they are decoded.
    ///   - track: index into `tracks`.
    package func write(_ frame: MediaFrame, track: Int) throws(ContainerError) {
        precondition(!isFinished && track >= 0 && track < tracks.count, "an open file and a track of it")
        guard !frame.data.isEmpty else { return }
        let shown = max(0, (frame.time - origin).nanoseconds)
        let time =
            tracks[track].description.isVideo
            ? max(0, states[track].decodeTimes.next(.nanoseconds(shown)).nanoseconds) : shown
        if let last = states[track].lastTime, time - last > Self.longestGap.nanoseconds {
            throw .system(errno: ERANGE)
        }
        try endFragmentIfDue(before: .nanoseconds(time))
        let timeBase = tracks[track].timeBase
        var ticks = av_rescale_q(time, weir_rational(1, 1_000_000_000), timeBase)
        // Two frames at one time (clock glitches of publishers) would be refused.
        if let last = states[track].lastTicks, ticks <= last { ticks = last + 1 }
        if let last = states[track].lastTime { states[track].lastDuration = max(1, time - last) }
        let duration = frame.duration?.nanoseconds ?? states[track].lastDuration
        states[track].lastTime = time
        states[track].lastTicks = ticks
        let new = HeldFrame(
            data: frame.data, ticks: ticks,
            shown: max(ticks, av_rescale_q(shown, weir_rational(1, 1_000_000_000), timeBase)),
            isKeyFrame: frame.isKeyFrame, time: .nanoseconds(time), duration: duration)
        frameCounts[track] += 1
        self.duration = max(self.duration, .nanoseconds(time + duration))
        guard format == .mp4 else { return try emit(new, track: track, until: nil) }
        let previous = states[track].held
        states[track].held = new
        if let previous { try emit(previous, track: track, until: ticks) }
    }

    /// Ends the fragment: all but the frames kept back is with the output when this returns.
    package func cut() throws(ContainerError) {
        guard fragmentFill > 0 else { return }
        try output.write(nil)
        try output.flush()
        fragmentFill = 0
        fragmentStart = nil
        fragments += 1
        wholeLength = output.output.size
    }

    /// Whether something waits in memory for the end of its fragment.
    package var hasOpenFragment: Bool { fragmentFill > 0 }

    /// Writes what is kept back and ends the last fragment. Nothing may follow.
    package func finish() throws(ContainerError) {
        guard !isFinished else { return }
        isFinished = true
        for index in states.indices {
            guard let held = states[index].held else { continue }
            states[index].held = nil
            try emit(held, track: index, until: nil)
        }
        try cut()
        try output.writeTrailer()
        wholeLength = output.output.size
    }

    private func endFragmentIfDue(before time: Interval) throws(ContainerError) {
        guard let start = fragmentStart else { return }
        if time - start >= settings.fragmentDuration || fragmentFill >= settings.fragmentBytes { try cut() }
    }

    /// - Parameter until: decoding time of the next frame, if it is known.
    private func emit(_ frame: HeldFrame, track: Int, until: Int64?) throws(ContainerError) {
        let stream = output.stream(track)
        let timeBase = tracks[track].timeBase
        let nanoseconds = weir_rational(1, 1_000_000_000)
        let duration = until.map { $0 - frame.ticks } ?? max(1, av_rescale_q(frame.duration, nanoseconds, timeBase))
        try frame.data.withReference(in: packet)
        packet.pointee.stream_index = Int32(track)
        packet.pointee.pts = frame.shown
        packet.pointee.dts = frame.ticks
        packet.pointee.duration = duration
        packet.pointee.flags = frame.isKeyFrame ? AV_PKT_FLAG_KEY : 0
        av_packet_rescale_ts(packet, timeBase, stream.pointee.time_base)
        defer { av_packet_unref(packet) }
        try output.write(packet)
        if fragmentStart == nil { fragmentStart = frame.time }
        fragmentFill += frame.data.count
    }
}

extension [UInt8] {
    /// Copies the bytes into a packet of libav's own memory: some muxers keep packets.
    fileprivate func withReference(in packet: UnsafeMutablePointer<AVPacket>) throws(ContainerError) {
        guard count <= Int32.max - 64, av_new_packet(packet, Int32(count)) == 0, let target = packet.pointee.data else {
            throw .system(errno: ENOMEM)
        }
        withUnsafeBytes { source in
            guard let base = source.baseAddress else { return }
            UnsafeMutableRawPointer(target).copyMemory(from: base, byteCount: count)
        }
    }
}
