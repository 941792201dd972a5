/// What became of the wish for a picture of a stream.
package enum SnapshotOutcome: Hashable, Sendable {
    /// A PNG file.
    case png([UInt8])
    /// Nothing is published under that name.
    case noStream
    /// No picture of the stream could be decoded; the reason is for people.
    case failed(String)
    /// Too many are being made.
    case busy
    /// This server makes none.
    case notServed
}

/// Makes a picture of a stream that is published, in bounded time; given by the assembly.
package typealias SnapshotMaker = @Sendable (_ streamName: String) async -> SnapshotOutcome

extension ControlPlane {
    /// A picture of a published stream, for the operator.
    package nonisolated func snapshot(of name: String) async -> SnapshotOutcome {
        guard context.registry.availability(name) == .available else { return .noStream }
        guard let make = context.snapshots else { return .notServed }
        return await make(name)
    }
}
