/// Encoded frames to RTP payloads. As libwebrtc does, a frame is split into as few packets as it takes, and these are
/// about equal: their sizes differ by a byte at most.
package enum Packetiser {
    /// Largest RTP payload, bytes. With header, extensions, SRTP, UDP and IPv6 it fits an Ethernet frame.
    package static let maxPayload = 1188

    /// One picture (RFC 6184): parameter sets in front go into one STAP-A, units that are too large into FU-A packets.
    ///
    /// - Parameter units: NAL units without start codes, emulation prevention applied.
    static func h264(_ units: [[UInt8]]) -> [[UInt8]] {
        var packets: [[UInt8]] = []
        let parameterSets = units.prefix { NALUnit.isParameterSet($0[0]) }
        if !parameterSets.isEmpty {
            // Highest importance of those inside (§5.7.1).
            var packet = [NALUnit.stapA | NALUnit.highestImportance]
            for unit in parameterSets { packet += [UInt8(unit.count >> 8), UInt8(unit.count & 0xff)] + unit }
            packets.append(packet)
        }
        for unit in units.dropFirst(parameterSets.count) {
            guard unit.count > maxPayload else {
                packets.append(unit)
                continue
            }
            let pieces = split(unit.dropFirst(), limit: maxPayload - NALUnit.fuHeaderLength)
            for (index, piece) in pieces.enumerated() {
                var header = unit[0] & NALUnit.typeMask
                if index == 0 { header |= NALUnit.fuStart }
                if index == pieces.count - 1 { header |= NALUnit.fuEnd }
                packets.append([unit[0] & ~NALUnit.typeMask | NALUnit.fuA, header] + piece)
            }
        }
        return packets
    }

    /// One frame (RFC 7741 §4.2): a descriptor of one byte without extensions.
    static func vp8(_ frame: [UInt8]) -> [[UInt8]] {
        let startOfPartition: UInt8 = 0x10
        return split(frame[...], limit: maxPayload - 1).enumerated().map { index, piece in
            [index == 0 ? startOfPartition : 0] + piece
        }
    }

    /// The fewest pieces of at most `limit` bytes, their sizes a byte apart at most.
    private static func split(_ bytes: ArraySlice<UInt8>, limit: Int) -> [ArraySlice<UInt8>] {
        let count = (bytes.count + limit - 1) / limit
        return (0..<count).map { index in
            let from = bytes.startIndex + bytes.count * index / count
            let to = bytes.startIndex + bytes.count * (index + 1) / count
            return bytes[from..<to]
        }
    }
}

/// The bits of NAL units that clips are made of (H.264 §7.3.1, RFC 6184 §5.3 and §5.8).
enum NALUnit {
    static let slice: UInt8 = 1
    static let idr: UInt8 = 5
    static let sps: UInt8 = 7
    static let pps: UInt8 = 8
    static let stapA: UInt8 = 24
    static let fuA: UInt8 = 28

    static let typeMask: UInt8 = 0x1f
    static let highestImportance: UInt8 = 0x60
    static let fuStart: UInt8 = 0x80
    static let fuEnd: UInt8 = 0x40
    static let fuHeaderLength = 2

    static func isParameterSet(_ header: UInt8) -> Bool { header & typeMask == sps || header & typeMask == pps }
}
