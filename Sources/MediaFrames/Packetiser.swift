import MediaFormats
import Wire

/// Frames of one track to RTP payloads: the way back from `StreamAssembler`, for streams that come from files and
/// cameras.
///
/// Payloads are at most `limit` bytes long and of about equal size within a unit. Of a picture the last payload's packet
/// has the marker; of sound each packet stands alone and has none (RFC 3551 §4.1 keeps it for talk spurts).
package struct Packetiser: Sendable {
    /// With header, extensions, SRTP, UDP and IPv6 it fits an Ethernet frame.
    package static let maxPayload = 1_200
    /// Smaller ones would be nothing but headers.
    package static let minLimit = 64

    package let codec: Codec
    package let limit: Int
    /// VP8, VP9: number of the next picture, 15 bits.
    var pictureID: UInt16

    /// - Parameter pictureID: number of the first picture; its upper bit is ignored.
    package init(codec: Codec, limit: Int = maxPayload, pictureID: UInt16 = 0) {
        self.codec = codec
        self.limit = max(Self.minLimit, limit)
        self.pictureID = pictureID & 0x7fff
    }

    /// The payloads of one frame in the form of `MediaFrame.data`, in the order in which they are to be sent. Empty if
    /// there is nothing in the frame that can be sent.
    package mutating func payloads(of data: [UInt8], isKeyFrame: Bool) -> [[UInt8]] {
        guard !data.isEmpty else { return [] }
        switch codec {
        case .h264: return h264(data)
        case .h265: return h265(data)
        case .vp8: return vp8(data)
        case .vp9: return vp9(data, isKeyFrame: isKeyFrame)
        case .av1: return av1(data, isKeyFrame: isKeyFrame)
        case .aac: return aac(data)
        case .opus, .pcmu, .pcma, .g722: return [data]
        }
    }

    /// The fewest pieces of at most `limit` bytes, their sizes a byte apart at most.
    static func split(_ bytes: ArraySlice<UInt8>, limit: Int) -> [ArraySlice<UInt8>] {
        let count = (bytes.count + limit - 1) / limit
        return (0..<count).map { index in
            let from = bytes.startIndex + bytes.count * index / count
            let to = bytes.startIndex + bytes.count * (index + 1) / count
            return bytes[from..<to]
        }
    }

    mutating func nextPictureID() -> UInt16 {
        defer { pictureID = (pictureID + 1) & 0x7fff }
        return pictureID
    }
}

// MARK: - VP8, VP9

extension Packetiser {
    private mutating func vp8(_ data: [UInt8]) -> [[UInt8]] {
        // X; I with 15 bits of picture number (RFC 7741 §4.2).
        let id = nextPictureID()
        let rest: [UInt8] = [0x80, 0x80 | UInt8(id >> 8), UInt8(id & 0xff)]
        return Self.split(data[...], limit: limit - 4).enumerated().map { index, piece in
            [index == 0 ? 0x90 : 0x80] + rest + piece
        }
    }

    /// In flexible mode: each picture says which one it needs, so that receivers want no structure of layers.
    private mutating func vp9(_ data: [UInt8], isKeyFrame: Bool) -> [[UInt8]] {
        let id = nextPictureID()
        var descriptor: [UInt8] = [0x90, 0x80 | UInt8(id >> 8), UInt8(id & 0xff)]
        if !isKeyFrame {
            // P; one reference, the picture before.
            descriptor[0] |= 0x40
            descriptor.append(1 << 1)
        }
        let pieces = Self.split(data[...], limit: limit - descriptor.count)
        return pieces.enumerated().map { index, piece in
            var payload = descriptor + piece
            if index == 0 { payload[0] |= 0x08 }
            if index == pieces.count - 1 { payload[0] |= 0x04 }
            return payload
        }
    }
}

// MARK: - AAC

extension Packetiser {
    /// AU-headers-length, then one AU header: 13 bits of size, 3 of index (RFC 3640 §3.3.6, `AAC-hbr`).
    private func aac(_ data: [UInt8]) -> [[UInt8]] {
        let longest = (1 << 13) - 1
        guard data.count <= longest else { return [] }
        let header: [UInt8] = [0, 16, UInt8(data.count >> 5), UInt8(truncatingIfNeeded: data.count << 3)]
        return Self.split(data[...], limit: limit - header.count).map { header + $0 }
    }
}
