import MediaFormats
import Playback
import RTP
import RTSP
import Wire

/// Writes units as RTP packets, and their clocks as sender reports, in interleaved frames: channel 2·track and 2·track+1.
package struct PacketWriter {
    private struct Lane {
        let payloadType: UInt8
        let ssrc = UInt32.random(in: 1 ... .max)
        var sequence = UInt16.random(in: 0 ... .max)
        var packets: UInt32 = 0
        var octets: UInt32 = 0
    }

    private var lanes: [Lane]
    /// Nanoseconds since 1970 of the time zero.
    private let began: UInt64

    package init(_ tracks: [TrackDescription], began: UInt64) {
        lanes = tracks.map { Lane(payloadType: $0.payloadType) }
        self.began = began
    }

    package mutating func append(_ unit: MediaUnit, timestamp: UInt32, into bytes: inout [UInt8]) {
        for (index, payload) in unit.payloads.enumerated() {
            let marker = unit.isVideo && index == unit.payloads.count - 1
            let lane = lanes[unit.track]
            let length = RTPHeader.fixedLength + payload.count
            // PCM of a file in one piece, at most.
            guard length <= InterleavedFrame.maxPayload else { continue }
            bytes += [InterleavedFrame.magic, UInt8(truncatingIfNeeded: 2 * unit.track)]
            bytes.appendBigEndian(UInt16(length))
            bytes += [0x80, lane.payloadType | (marker ? 0x80 : 0)]
            bytes.appendBigEndian(lane.sequence)
            bytes.appendBigEndian(timestamp)
            bytes.appendBigEndian(lane.ssrc)
            bytes += payload
            lanes[unit.track].sequence &+= 1
            lanes[unit.track].packets &+= 1
            lanes[unit.track].octets &+= UInt32(truncatingIfNeeded: payload.count)
        }
    }

    /// - Parameters:
    ///   - timestamps: by track, of one moment.
    ///   - elapsed: from the time zero to that moment.
    package mutating func append(report timestamps: [UInt32], elapsed: Interval, into bytes: inout [UInt8]) {
        let ntp = NTPTime(unixNanoseconds: began &+ UInt64(bitPattern: elapsed.nanoseconds))
        for (index, timestamp) in timestamps.enumerated() {
            let lane = lanes[index]
            var packet: [UInt8] = []
            RTCPWriter.senderReport(
                SenderReport(
                    ssrc: lane.ssrc, ntp: ntp, rtpTimestamp: timestamp, packetCount: lane.packets,
                    octetCount: lane.octets, blocks: []), into: &packet)
            RTCPWriter.sdesCNAME(ssrc: lane.ssrc, cname: "weir", into: &packet)
            InterleavedFrame.append(packet, channel: UInt8(truncatingIfNeeded: 2 * index + 1), into: &bytes)
        }
    }
}
