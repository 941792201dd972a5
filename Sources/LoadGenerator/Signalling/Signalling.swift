/// How a client of the load tells the server what it wants: an SDP offer goes out, an answer comes back.
package protocol Signalling: Sendable {
    /// Asks to publish a stream of this name.
    /// - Throws: `SignallingFailure`, also when the answer does not come in time.
    func publish(name: String, offer: String) async throws -> SignalledSession
    /// Asks to play a stream of this name.
    /// - Throws: `SignallingFailure`, also when the answer does not come in time.
    func play(name: String, offer: String) async throws -> SignalledSession
    /// Closes every connection. Sessions that were not ended end with them, if the protocol ties them together.
    func close() async
    /// Sessions that the server ended without being asked, as far as the protocol tells. The reasons of the first few.
    var lostSessions: LostSessions { get }
    /// How the server calls itself; nil if it does not tell.
    func serverVersion() async -> String?
}

/// One stream that the server answered.
package struct SignalledSession: Sendable {
    /// SDP of the server.
    package let answer: String
    /// Tells the server that the stream is over; takes bounded time and never fails: a server that is gone has ended it.
    package let end: @Sendable () async -> Void

    package init(answer: String, end: @escaping @Sendable () async -> Void) {
        self.answer = answer
        self.end = end
    }
}

/// Sessions that the server ended by itself.
package struct LostSessions: Sendable, Equatable {
    /// How many reasons are kept.
    static let keptReasons = 5

    package private(set) var count = 0
    package private(set) var reasons: [String] = []

    package init() {}

    package mutating func add(_ reason: String) {
        count += 1
        if reasons.count < Self.keptReasons { reasons.append(reason) }
    }
}

/// Why a stream was not answered. The text names the address, what happened, and what the server said.
package struct SignallingFailure: Error, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// The address cannot be used.
        case badAddress
        /// No connection, TLS included.
        case connect
        /// The wait was longer than allowed.
        case timeout
        /// The connection ended before the answer.
        case disconnected
        /// The server said no.
        case refused
        /// What came is not what the protocol allows.
        case protocolViolation
        /// The load is over.
        case closed
    }

    package let code: Code
    package let description: String
    /// HTTP status, if there was one.
    package let status: Int?

    package init(_ code: Code, _ description: String, status: Int? = nil) {
        self.code = code
        self.description = description
        self.status = status
    }
}
