/// What the connections of one event loop share, on that loop.
final class HLSLoop {
    var requests = HLSRequestMemo()
    var turn = ProcessorTurn()
}

@available(*, unavailable)
extension HLSLoop: Sendable {}
