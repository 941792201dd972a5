/// Frames to messages (RFC 6455 §5.4), within bounds.
///
/// Payloads are copied together as they come, so that what a connection can hold is the size of one message, whatever
/// buffers its fragments arrived in.
struct MessageAssembler {
    /// What a frame says, apart from its payload.
    enum Kind: Equatable {
        case text, binary, continuation
    }

    enum Output: Equatable {
        /// More fragments must follow.
        case incomplete
        case text([UInt8])
        case binary
    }

    enum Failure: Error, Equatable {
        /// A continuation of nothing, or a new message within another.
        case outOfOrder
        case tooLong, tooManyFragments
    }

    private let maxBytes: Int
    private let maxFragments: Int
    private var payload: [UInt8] = []
    private var fragments = 0
    private var kind: Kind?

    init(maxBytes: Int, maxFragments: Int) {
        self.maxBytes = maxBytes
        self.maxFragments = maxFragments
    }

    /// Whether a message has begun and not ended.
    var isPartial: Bool { kind != nil }

    mutating func append(
        _ frameKind: Kind, isFinal: Bool, _ bytes: some Collection<UInt8>
    ) throws(Failure) -> Output {
        switch (frameKind, kind) {
        case (.continuation, nil), (.text, .some), (.binary, .some): throw .outOfOrder
        case (.text, nil), (.binary, nil): kind = frameKind
        case (.continuation, .some): break
        }
        fragments += 1
        guard fragments <= maxFragments else { throw .tooManyFragments }
        guard bytes.count <= maxBytes - payload.count else { throw .tooLong }
        // Nobody reads a binary message, but its fragments must still be followed.
        if kind == .text { payload.append(contentsOf: bytes) }
        guard isFinal else { return .incomplete }
        let output: Output = kind == .text ? .text(payload) : .binary
        payload = []
        fragments = 0
        kind = nil
        return output
    }
}
