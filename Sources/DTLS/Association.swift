import Wire

/// A finished handshake without OpenSSL: what the peer may still say (RFC 6347 §4.2.4, RFC 5246 §7.2), and goodbye.
///
/// Media travels as SRTP, so records are rare: an alert, or the last flight of a peer that has lost ours. An `SSL`
/// object costs 72 KiB for that, this, with its last flight, about 0.8 KB.
package struct Association {
    package enum Event: Equatable, Sendable {
        /// Nothing for us: media's business, forged, seen before, or meaningless here.
        case nothing
        /// The peer repeats its Finished: it lacks our last flight.
        case wantsLastFlight
        /// close_notify.
        case closed
        /// A fatal alert, by its description (RFC 5246 §7.2).
        case failed(alert: UInt8)
    }

    private static let finished: UInt8 = 20
    private static let handshakeHeaderLength = 12
    private static let alertLength = 2
    private static let warning: UInt8 = 1
    private static let fatal: UInt8 = 2
    private static let closeNotify: UInt8 = 0

    private let keys: RecordKeys
    private let ours: RecordKeys.Writer
    private var window = RecordWindow()
    private var nextSequence: UInt64
    private var nextNonce: UInt64

    /// - Parameters:
    ///   - nextSequence: above that of every record sent under these keys.
    ///   - nextNonce: explicit nonce that no record sent under these keys has had.
    package init(keys: RecordKeys, ours: RecordKeys.Writer, nextSequence: UInt64, nextNonce: UInt64) {
        self.keys = keys
        self.ours = ours
        self.nextSequence = nextSequence
        self.nextNonce = nextNonce
    }

    /// Reads the records of one datagram, up to one that is not authentic: what follows a forgery deserves no
    /// arithmetic either. Records that are not protected cannot be trusted and are passed over.
    package mutating func read(_ datagram: RawSpan) -> Event {
        var event = Event.nothing
        var offset = 0
        while let record = DTLSRecord(parsing: datagram, at: offset) {
            offset = record.fragment.upperBound
            guard record.epoch == DTLSRecord.protectedEpoch, record.version == DTLSRecord.version,
                record.type == DTLSRecord.ContentType.alert || record.type == DTLSRecord.ContentType.handshake,
                window.isFresh(record.sequence)
            else { continue }
            guard let plain = keys.open(record, of: datagram, writer: ours == .client ? .server : .client) else {
                return event
            }
            window.accept(record.sequence)
            if record.type == DTLSRecord.ContentType.handshake {
                if plain.count >= Self.handshakeHeaderLength, plain[0] == Self.finished { event = .wantsLastFlight }
            } else if plain.count == Self.alertLength {
                if plain[1] == Self.closeNotify { return .closed }
                // Other warnings, such as no_renegotiation, change nothing.
                if plain[0] == Self.fatal { return .failed(alert: plain[1]) }
            }
        }
        return event
    }

    /// A datagram with our close_notify; `nil` if OpenSSL cannot do it.
    package mutating func sealCloseNotify() -> [UInt8]? {
        let record = keys.seal(
            type: DTLSRecord.ContentType.alert, plaintext: [Self.warning, Self.closeNotify], sequence: nextSequence,
            nonce: nextNonce, writer: ours)
        nextSequence += 1
        nextNonce &+= 1
        return record
    }
}
