/// Milliseconds from the server's answer to each step of a join.
package struct JoinStages: Sendable, Equatable {
    package var ice: Double
    package var dtls: Double
    package var media: Double

    package init(ice: Double, dtls: Double, media: Double) {
        self.ice = ice
        self.dtls = dtls
        self.media = media
    }
}

/// The media side of one client, as the runner sees it.
package protocol MediaClient: Sendable {
    /// SDP.
    var offer: String { get }
    /// Begins with what the server answered.
    /// - Parameter timeout: until media flows; then `stages` throws.
    func connect(answer: String, timeout: Duration) throws
    /// Waits for media.
    func stages() async throws -> JoinStages
    /// Why the client ended by itself, if it did.
    var endReason: String? { get }
    /// Says goodbye to the server. May be called more than once.
    func close()
}

/// What makes clients and measures them.
package protocol MediaSource: Sendable {
    associatedtype Client: MediaClient
    func makePublisher(stream: Int) throws -> Client
    func makePlayer(stream: Int, isMeasured: Bool) throws -> Client
    /// What is sent from now on counts.
    func beginWindow() async
    func endWindow() async -> MediaWindow
    func stop()
}
