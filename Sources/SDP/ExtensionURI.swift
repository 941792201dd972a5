/// Header extensions that answers may accept (RFC 8285).
package enum ExtensionURI {
    package static let mid = "urn:ietf:params:rtp-hdrext:sdes:mid"
    package static let absSendTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
    package static let transportCC =
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    package static let videoOrientation = "urn:3gpp:video-orientation"
    package static let audioLevel = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
}
