extension LoadPeer: MediaClient {
    package func connect(answer: String, timeout: Duration) throws { try accept(answer: answer, timeout: timeout) }

    package func stages() async throws -> JoinStages {
        let times = try await waitUntilReady()
        return JoinStages(ice: times.ice, dtls: times.dtls, media: times.media)
    }

    package var endReason: String? { failure?.description }
}

extension LoadMedia: MediaSource {}
