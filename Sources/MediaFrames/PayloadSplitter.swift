import MediaFormats
import Wire

/// RTP payloads of a size that players can be sent, made of a publisher's: encoders fill Ethernet frames to the last byte
/// and, in TCP connections, write NAL units of 64 KiB, while what players get carries header extensions and an
/// authentication tag besides.
///
/// What fits is passed on as it is, without a copy. What does not is split by the rules of its payload format; a fragment
/// that is too long is joined with those that follow and cut anew, so that few packets become few.
///
/// Payloads come in the order of their numbers; bytes are hostile. What can be split by no rule is left out.
package struct PayloadSplitter: Sendable {
    /// One payload to be sent; its bytes go beside it.
    package struct Piece: Sendable, Equatable, BitwiseCopyable {
        package var timestamp: UInt32
        package var marker: Bool
    }

    /// The rest of a fragmented NAL unit, to be cut anew.
    struct OpenUnit: Sendable {
        /// Payload header and fragment header, the latter without its start and end bits.
        var header: [UInt8]
        var timestamp: UInt32
        /// The next piece is the unit's first.
        var isFirst: Bool
        var bytes: [UInt8]
    }

    let codec: Codec
    let limit: Int
    private let channels: Int
    private let aac: MPEG4Generic
    var open: OpenUnit?
    /// Reused for what is made anew.
    var buffer: [UInt8] = []

    /// - Parameter limit: longest payload that is given out; at least `Packetiser.minLimit`.
    package init(_ track: TrackDescription, limit: Int) {
        codec = track.codec
        self.limit = max(Packetiser.minLimit, limit)
        channels = max(1, track.channels)
        func bits(_ name: String, _ usual: Int) -> Int {
            AACPackets.parameter(name, in: track.formatParameters).flatMap { Int($0) }.map { min(max(0, $0), 16) }
                ?? usual
        }
        aac = MPEG4Generic(
            sizeLength: bits("sizelength", 13), indexLength: bits("indexlength", 3),
            indexDeltaLength: bits("indexdeltalength", 3))
    }

    /// Something before the next payload is missing.
    package mutating func lose() { open = nil }

    /// Gives out the payload, or what it has been made into, in order.
    ///
    /// - Returns: false if it was too long, and could not be split.
    package mutating func split(
        _ payload: RawSpan, timestamp: UInt32, marker: Bool, _ give: (Piece, RawSpan) -> Void
    ) -> Bool {
        if open == nil, payload.byteCount <= limit {
            give(Piece(timestamp: timestamp, marker: marker), payload)
            return true
        }
        switch codec {
        case .h264, .h265: return splitUnits(payload, Piece(timestamp: timestamp, marker: marker), give)
        case .vp8: return splitVP8(payload, Piece(timestamp: timestamp, marker: marker), give)
        case .vp9: return splitVP9(payload, Piece(timestamp: timestamp, marker: marker), give)
        case .av1: return splitAV1(payload, Piece(timestamp: timestamp, marker: marker), give)
        case .aac: return splitAAC(payload, Piece(timestamp: timestamp, marker: marker), give)
        case .pcmu, .pcma, .g722: return splitSamples(payload, Piece(timestamp: timestamp, marker: marker), give)
        // A packet of Opus is one thing.
        case .opus: return false
        }
    }

    /// How many pieces of at most `room` bytes that many make: the fewest.
    func pieces(of count: Int, room: Int) -> Int { max(1, (count + room - 1) / room) }

    /// Bytes of one of the pieces, whose sizes are a byte apart at most.
    func range(_ index: Int, of pieces: Int, in bytes: Range<Int>) -> Range<Int> {
        let from = bytes.lowerBound + bytes.count * index / pieces
        return from..<(bytes.lowerBound + bytes.count * (index + 1) / pieces)
    }

    mutating func give(_ piece: Piece, _ give: (Piece, RawSpan) -> Void) {
        give(piece, unsafe buffer.span.bytes)
    }
}

// MARK: - Sound

extension PayloadSplitter {
    /// G.711 and G.722: a byte per channel is a tick of the RTP clock (RFC 3551 §4.5.2, §4.5.14).
    private func splitSamples(_ payload: RawSpan, _ piece: Piece, _ give: (Piece, RawSpan) -> Void) -> Bool {
        let most = limit / channels * channels
        guard most > 0, payload.byteCount % channels == 0 else { return false }
        var at = 0
        while at < payload.byteCount {
            let end = min(at + most, payload.byteCount)
            var piece = piece
            piece.timestamp &+= UInt32(truncatingIfNeeded: at / channels)
            piece.marker = piece.marker && at == 0
            give(piece, payload.extracting(at..<end))
            at = end
        }
        return true
    }

    /// Each access unit in packets of its own (RFC 3640 §3.2.1, §3.2.3); the marker is on the end of each unit.
    private mutating func splitAAC(_ payload: RawSpan, _ piece: Piece, _ give: (Piece, RawSpan) -> Void) -> Bool {
        let (units, wholeSize) = aac.units(in: payload)
        guard !units.isEmpty else { return false }
        let header = 2 + (aac.sizeLength + aac.indexLength + 7) / 8
        for (number, unit) in units.enumerated() {
            let count = pieces(of: unit.count, room: limit - header)
            for index in 0..<count {
                writeHeader(unitSize: wholeSize ?? unit.count)
                buffer.append(payload.extracting(range(index, of: count, in: unit)))
                // What follows a part of a unit is another packet's, and says by its marker whether it is the end.
                let isEnd = index == count - 1 && (wholeSize == nil || piece.marker)
                self.give(
                    Piece(
                        timestamp: piece.timestamp &+ UInt32(number) &* AACPackets.samplesPerUnit, marker: isEnd), give)
            }
        }
        return true
    }

    private mutating func writeHeader(unitSize: Int) {
        let bits = aac.sizeLength + aac.indexLength
        buffer.removeAll(keepingCapacity: true)
        buffer.appendBigEndian(UInt16(bits))
        let bytes = (bits + 7) / 8
        // Size, index 0, left-aligned in whole bytes: at most 32 bits.
        let value = UInt64(unitSize) << UInt64(aac.indexLength + 8 * bytes - bits)
        for index in 0..<bytes { buffer.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * (bytes - 1 - index)))) }
    }
}
