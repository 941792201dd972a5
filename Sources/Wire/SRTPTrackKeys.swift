import Synchronization

/// Keys of one RTP track that signalling has told (MIKEY, SDES) and no handshake.
package struct SRTPTrackKeys: Sendable, Hashable {
    package let material: SRTPKeyingMaterial
    /// Of `localKey`.
    package let ledger: SRTPKeyLedger

    package init(_ material: SRTPKeyingMaterial, ledger: SRTPKeyLedger) {
        self.material = material
        self.ledger = ledger
    }

    /// No two keys have one ledger, and key bytes are not to be compared in passing.
    package static func == (a: SRTPTrackKeys, b: SRTPTrackKeys) -> Bool { a.ledger === b.ledger }

    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(ledger)) }
}

/// How much of a key has been used for sending. A key outlives what sends: a player may pause and play on, on another
/// thread. No index may serve twice under one key (RFC 3711 §9.1), so one sender at a time has it, and each begins behind
/// the last.
package final class SRTPKeyLedger: Sendable {
    package struct Progress: Sendable, Equatable {
        /// The next 48-bit index of RTP; nil: none has been sent.
        package var nextRTP: Int64?
        /// The last index of SRTCP; 0: none.
        package var lastRTCP: UInt32 = 0

        package init() {}
        package var isUnused: Bool { self == Progress() }
    }

    private let state = Mutex((progress: Progress(), isTaken: false))

    package init() {}

    /// Nil while another sender has the key.
    package func take() -> Progress? {
        state.withLock { state in
            guard !state.isTaken else { return nil }
            state.isTaken = true
            return state.progress
        }
    }

    /// Nothing is sent any more by who took it.
    package func giveBack(_ progress: Progress) {
        state.withLock { $0 = (progress, false) }
    }
}
