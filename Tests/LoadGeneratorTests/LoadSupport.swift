import LoadGenerator
import Testing

/// Waits until something is true that other tasks bring about.
func eventually(
    _ what: Comment, within limit: Duration = .seconds(120), at place: SourceLocation = #_sourceLocation,
    _ condition: () -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while !condition() {
        try #require(ContinuousClock.now < deadline, what, sourceLocation: place)
        try await Task.sleep(for: .milliseconds(2))
    }
}

/// Why the signalling failed; nil if it did not.
func failure(_ body: () async throws -> Void) async -> SignallingFailure? {
    do {
        try await body()
        return nil
    } catch {
        return error as? SignallingFailure
    }
}
