import Wire

/// Look-up of header extension elements (RFC 8285).
package enum RTPExtensions {
    /// Profile of the one-byte form (RFC 8285 §4.2).
    package static let oneByteProfile: UInt16 = 0xbede
    /// Profile of the two-byte form; its low four bits are free for the application (RFC 8285 §4.3).
    package static let twoByteProfile: UInt16 = 0x1000
    /// In the one-byte form: nothing after an element with this ID may be read.
    private static let stopID: UInt8 = 15

    /// Where the value of the first element with this ID lies in the packet, and its bytes. `nil` if there is none,
    /// if the block has neither form, or if an element before it runs past the end of the block.
    /// The two-byte form allows values of 0 bytes.
    package static func find(id: UInt8, in packet: RawSpan, header: RTPHeader) -> (offset: Int, length: Int)? {
        guard id != 0, header.extensionLength > 0 else { return nil }
        var at = header.extensionOffset
        let end = at + header.extensionLength
        guard end <= packet.byteCount else { return nil }
        if header.extensionProfile == oneByteProfile {
            guard id < stopID else { return nil }
            while at < end {
                let byte = packet[at]
                at += 1
                let found = byte >> 4
                // RFC 8285 §4.2: ID 0 is padding of one byte (the length field of padding is 0 as well).
                if found == 0 { continue }
                if found == stopID { return nil }
                let length = Int(byte & 0x0f) + 1
                guard at + length <= end else { return nil }
                if found == id { return (at, length) }
                at += length
            }
        } else if header.extensionProfile & 0xfff0 == twoByteProfile {
            while at < end {
                let found = packet[at]
                at += 1
                if found == 0 { continue }
                guard at < end else { return nil }
                let length = Int(packet[at])
                at += 1
                guard at + length <= end else { return nil }
                if found == id { return (at, length) }
                at += length
            }
        }
        return nil
    }
}

/// Names of header extensions as `a=extmap` has them.
package enum RTPExtensionURI {
    /// RFC 8843 §15: the m-line of a bundled packet.
    package static let mid = "urn:ietf:params:rtp-hdrext:sdes:mid"
    /// RFC 8852 §3.1: the simulcast layer.
    package static let rid = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
    /// RFC 8852 §3.2: the layer that a retransmission belongs to.
    package static let repairedRid = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
    /// 24 bits, 6.18 fixed point seconds.
    package static let absSendTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
    /// 64 bits NTP, optionally with the clock offset of the capturer.
    package static let absCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01 §2: a 16-bit number per transport.
    package static let transportCC =
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    /// 3GPP TS 26.114 §7.4.5: rotation and camera.
    package static let videoOrientation = "urn:3gpp:video-orientation"
    /// RFC 6464: level from client to mixer.
    package static let audioLevel = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    /// RFC 5450: transmission time offset.
    package static let toffset = "urn:ietf:params:rtp-hdrext:toffset"
    package static let playoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
    package static let videoContentType = "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"
    package static let videoTiming = "http://www.webrtc.org/experiments/rtp-hdrext/video-timing"
    package static let colorSpace = "http://www.webrtc.org/experiments/rtp-hdrext/color-space"
    package static let dependencyDescriptor =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
}
