import CLibAV
import Glibc
import Wire

/// One source of a `Remuxer`: its newest packet, waiting for its turn. One thread.
final class RemuxLane {
    let input: InputContext
    let packet: UnsafeMutablePointer<AVPacket>
    /// Track of the target that `packet` belongs to.
    private(set) var track = 0
    /// By stream of the source: its track in the target.
    private let map: [Int?]
    private let offset: Int64
    /// When `packet` is due in the target, in nanoseconds.
    private var time: Int64 = 0
    private var isFull = false
    private var isAtEnd = false

    /// - Parameter offset: added to all times.
    init(input: InputContext, map: [Int?], offset: Interval) throws(ContainerError) {
        guard let packet = av_packet_alloc() else { throw .system(errno: ENOMEM) }
        self.packet = packet
        self.input = input
        self.map = map
        self.offset = max(0, offset.nanoseconds)
    }

    deinit {
        var owned: UnsafeMutablePointer<AVPacket>? = packet
        av_packet_free(&owned)
    }

    /// The lane whose packet is due first; nil when all are at their ends.
    static func earliest(of lanes: [RemuxLane]) throws(ContainerError) -> RemuxLane? {
        var first: RemuxLane?
        for lane in lanes where try lane.fill() {
            guard let known = first, known.time <= lane.time else {
                first = lane
                continue
            }
        }
        return first
    }

    /// The packet has been taken, or is not wanted.
    func drop() {
        av_packet_unref(packet)
        isFull = false
    }

    /// Gives the packet's times in ticks of the target.
    func retime(to timeBase: AVRational) {
        guard let from = input.context.pointee.streams[Int(packet.pointee.stream_index)]?.pointee.time_base else {
            return
        }
        av_packet_rescale_ts(packet, from, timeBase)
        let shift = av_rescale_q(offset, Self.nanoseconds, timeBase)
        packet.pointee.pts = Self.shifted(packet.pointee.pts, shift)
        packet.pointee.dts = Self.shifted(packet.pointee.dts, shift)
    }

    private static let nanoseconds = weir_rational(1, 1_000_000_000)

    private static func shifted(_ ticks: Int64, _ shift: Int64) -> Int64 {
        guard ticks != weir_av_nopts else { return ticks }
        let sum = ticks.addingReportingOverflow(shift)
        return sum.overflow ? ticks : sum.partialValue
    }

    /// Reads the next packet of a track that is taken along, if there is none yet. False: the end.
    private func fill() throws(ContainerError) -> Bool {
        while !isFull, !isAtEnd {
            guard try input.read(into: packet) else {
                isAtEnd = true
                break
            }
            let stream = Int(packet.pointee.stream_index)
            guard stream < map.count, let target = map[stream], packet.pointee.pts != weir_av_nopts,
                let timeBase = input.context.pointee.streams[stream]?.pointee.time_base
            else {
                av_packet_unref(packet)
                continue
            }
            let due = packet.pointee.dts == weir_av_nopts ? packet.pointee.pts : packet.pointee.dts
            track = target
            time = Self.shifted(av_rescale_q(due, timeBase, Self.nanoseconds), offset)
            isFull = true
        }
        return isFull
    }
}

/// Tells now and then how much of all sources has been read.
struct ProgressReport {
    private static let step: Int64 = 1 << 20

    private let length: Int64
    private let lengths: [Int64]
    private let share: Range<Double>
    private let tell: (Double) -> Bool
    private var next: Int64 = 0

    /// - Parameters:
    ///   - lengths: bytes of each source.
    ///   - share: of the whole work that this reading is.
    ///   - tell: false stops.
    init(lengths: [Int64], share: Range<Double>, tell: @escaping (Double) -> Bool) {
        self.lengths = lengths
        length = max(1, lengths.reduce(0, +))
        self.share = share
        self.tell = tell
    }

    /// - Returns: whether to go on.
    mutating func pass(_ progress: [Int64]) -> Bool {
        var done: Int64 = 0
        for (index, bytes) in progress.enumerated() { done += min(bytes, lengths[index]) }
        guard done >= next else { return true }
        next = done + max(Self.step, length / 100)
        return tell(share.lowerBound + Double(done) / Double(length) * (share.upperBound - share.lowerBound))
    }
}
