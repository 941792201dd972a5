import NIOCore
import RTP
import RTSP
import Wire

/// Packets of a stream as they go into connections: frames (RFC 2326 §10.12) one behind another, with track `i` in
/// channels `2i` and `2i + 1`. Made once, sent to every player with these channels as it is.
struct InterleavedBatch: Sendable {
    struct Frame: Sendable {
        /// Place of the frame, header included.
        var range: Range<Int>
        var track: Int
        var isRTCP: Bool
        /// Begins a picture that needs none before it.
        var isKeyFrameStart: Bool
        var sequence: UInt16
        var timestamp: UInt32
        /// When the server received it.
        var arrival: Instant
    }

    /// The clock of a track's sender, by its last report.
    struct Report: Sendable {
        var ntp: NTPTime
        var timestamp: UInt32
    }

    /// A track's source as it was when the batch was made.
    struct Source: Sendable {
        var ssrc: UInt32
        var packets: UInt32 = 0
        var octets: UInt32 = 0
        var report: Report?
        /// Of the packet that came last.
        var last: (timestamp: UInt32, arrival: Instant)?

        /// A sender report with the clock that is known; nil without one.
        func senderReport(cname: String) -> [UInt8]? {
            guard let report else { return nil }
            var packet: [UInt8] = []
            RTCPWriter.senderReport(
                SenderReport(
                    ssrc: ssrc, ntp: report.ntp, rtpTimestamp: report.timestamp, packetCount: packets,
                    octetCount: octets, blocks: []), into: &packet)
            RTCPWriter.sdesCNAME(ssrc: ssrc, cname: cname, into: &packet)
            return packet
        }
    }

    var bytes: ByteBuffer
    var frames: [Frame]
    /// By track.
    var sources: [Source]

    var isEmpty: Bool { frames.isEmpty }

    /// First frame that video may begin with.
    func keyFrame(of videoTracks: Set<Int>) -> Frame? {
        frames.first { $0.isKeyFrameStart && videoTracks.contains($0.track) }
    }
}

/// Batches from the last key frame on; the first holds it. Nothing if there is none, or too much.
struct StoredPictures: Sendable {
    private(set) var batches: [InterleavedBatch] = []
    private var bytes = 0
    /// Of the key frame.
    private var timestamp: UInt32 = 0

    /// - Parameters:
    ///   - key: The key frame in the batch, if there is one.
    ///   - afterGap: Something is missing before the batch.
    mutating func keep(_ batch: InterleavedBatch, _ key: InterleavedBatch.Frame?, afterGap: Bool, limit: Int) {
        // Parameter sets and the picture behind them may come in two batches: one key frame, by its time.
        let isNew = key.map { batches.isEmpty || $0.timestamp != timestamp } ?? false
        if isNew || afterGap {
            batches = []
            bytes = 0
        }
        if isNew, let key { timestamp = key.timestamp }
        guard isNew || !batches.isEmpty else { return }
        bytes += batch.bytes.readableBytes
        guard bytes <= limit else {
            // What is left of it could not be shown.
            batches = []
            return
        }
        batches.append(batch)
    }
}

/// Channels of one player: for each track of the stream the pair it is sent in, or none.
package struct ChannelLayout: Sendable, Hashable {
    private var channels: [RTSPTransport.Pair<UInt8>?]

    package init(_ tracks: [RTSPSetUpTrack], of count: Int) {
        channels = Array(repeating: nil, count: count)
        for track in tracks {
            guard channels.indices.contains(track.index), case .interleaved(let pair) = track.path else { continue }
            channels[track.index] = pair
        }
    }

    subscript(track: Int) -> RTSPTransport.Pair<UInt8>? { channels.indices.contains(track) ? channels[track] : nil }

    /// Batches may be sent as they are.
    var isPlain: Bool {
        channels.enumerated().allSatisfy { index, pair in
            pair == RTSPTransport.Pair(UInt8(truncatingIfNeeded: 2 * index), UInt8(truncatingIfNeeded: 2 * index + 1))
        }
    }

    /// The frames that pass `isWanted`, in the channels of this layout.
    func bytes(
        of batch: InterleavedBatch, allocator: ByteBufferAllocator, where isWanted: (InterleavedBatch.Frame) -> Bool
    ) -> ByteBuffer {
        var out = allocator.buffer(capacity: batch.bytes.readableBytes)
        for frame in batch.frames where isWanted(frame) {
            guard let pair = self[frame.track] else { continue }
            let at = out.writerIndex
            var piece = batch.bytes
            piece.moveReaderIndex(to: frame.range.lowerBound)
            piece.moveWriterIndex(to: frame.range.upperBound)
            out.writeImmutableBuffer(piece)
            out.setInteger(frame.isRTCP ? pair.rtcp : pair.rtp, at: at + 1)
        }
        return out
    }
}

/// Puts a stream's packets into batches. Used by one thread at a time.
struct BatchBuilder {
    struct Track {
        var payloadType: UInt8
        var source: InterleavedBatch.Source
        /// Highest number sent; what is older is a retransmission that comes too late for a connection.
        var last: Int64?
    }

    private static let capacity = 64 << 10
    private static let headerLength = 12

    private(set) var tracks: [Track]
    private let allocator: ByteBufferAllocator
    private let cname: String
    private var bytes: ByteBuffer
    private var frames: [InterleavedBatch.Frame] = []

    init(tracks: [Track], cname: String, allocator: ByteBufferAllocator = ByteBufferAllocator()) {
        self.tracks = tracks
        self.cname = cname
        self.allocator = allocator
        bytes = allocator.buffer(capacity: Self.capacity)
    }

    var waitingBytes: Int { bytes.readableBytes }

    /// - Parameter number: Extended; what is late is left out: a connection has its own order, and no loss.
    mutating func add(
        track: Int, number: Int64, timestamp: UInt32, marker: Bool, isKeyFrameStart: Bool, arrival: Instant,
        _ payload: RawSpan
    ) {
        guard tracks.indices.contains(track), payload.byteCount > 0,
            payload.byteCount <= InterleavedFrame.maxPayload - Self.headerLength, number > tracks[track].last ?? .min
        else { return }
        tracks[track].last = number
        tracks[track].source.last = (timestamp, arrival)
        tracks[track].source.packets &+= 1
        tracks[track].source.octets &+= UInt32(truncatingIfNeeded: payload.byteCount)
        let start = bytes.writerIndex
        let sequence = UInt16(truncatingIfNeeded: number)
        writeHeader(channel: 2 * track, length: Self.headerLength + payload.byteCount)
        bytes.writeMultipleIntegers(
            UInt8(0x80), tracks[track].payloadType & 0x7f | (marker ? 0x80 : 0), sequence, timestamp,
            tracks[track].source.ssrc
        )
        payload.withUnsafeBytes { _ = bytes.writeBytes($0) }
        frames.append(
            InterleavedBatch.Frame(
                range: start..<bytes.writerIndex, track: track, isRTCP: false, isKeyFrameStart: isKeyFrameStart,
                sequence: sequence, timestamp: timestamp, arrival: arrival))
    }

    /// Passes the relation of the publisher's clocks on, as a report of our own.
    mutating func report(track: Int, ntp: NTPTime, timestamp: UInt32) {
        guard tracks.indices.contains(track) else { return }
        tracks[track].source.report = InterleavedBatch.Report(ntp: ntp, timestamp: timestamp)
        guard let packet = tracks[track].source.senderReport(cname: cname) else { return }
        addRTCP(packet, track: track, timestamp: timestamp)
    }

    /// The end of all sources.
    mutating func bye() {
        for index in tracks.indices {
            var packet: [UInt8] = []
            RTCPWriter.receiverReport(ssrc: tracks[index].source.ssrc, blocks: [], into: &packet)
            RTCPWriter.bye(ssrcs: [tracks[index].source.ssrc], into: &packet)
            addRTCP(packet, track: index, timestamp: 0)
        }
    }

    private mutating func addRTCP(_ packet: [UInt8], track: Int, timestamp: UInt32) {
        let start = bytes.writerIndex
        writeHeader(channel: 2 * track + 1, length: packet.count)
        bytes.writeBytes(packet)
        frames.append(
            InterleavedBatch.Frame(
                range: start..<bytes.writerIndex, track: track, isRTCP: true, isKeyFrameStart: false, sequence: 0,
                timestamp: timestamp, arrival: .zero))
    }

    private mutating func writeHeader(channel: Int, length: Int) {
        bytes.writeMultipleIntegers(
            InterleavedFrame.magic, UInt8(truncatingIfNeeded: channel), UInt16(truncatingIfNeeded: length))
    }

    /// What has been added since the last batch; nil if there is nothing.
    mutating func take() -> InterleavedBatch? {
        guard !frames.isEmpty else { return nil }
        let batch = InterleavedBatch(bytes: bytes, frames: frames, sources: tracks.map(\.source))
        frames = []
        bytes = allocator.buffer(capacity: Self.capacity)
        return batch
    }
}
