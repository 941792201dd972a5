/// Takes clients into a load and out of it.
struct Joining<Media: MediaSource, Time: Clock>: Sendable where Time.Duration == Duration {
    enum Role: Sendable { case publisher, player(isMeasured: Bool) }

    let options: LoadPlanOptions
    let signalling: any Signalling
    let media: Media
    let clock: Time

    func name(_ stream: Int) -> String { "\(options.prefix)-\(stream)" }

    /// - Throws: why there is no media; then nothing of the client is left.
    func join(_ role: Role, stream: Int) async throws -> (Member<Media.Client>, JoinSample) {
        let client =
            switch role {
            case .publisher: try media.makePublisher(stream: stream)
            case .player(let isMeasured): try media.makePlayer(stream: stream, isMeasured: isMeasured)
            }
        var session: SignalledSession?
        do {
            let begin = clock.now
            let answered =
                switch role {
                case .publisher: try await signalling.publish(name: name(stream), offer: client.offer)
                case .player: try await signalling.play(name: name(stream), offer: client.offer)
                }
            session = answered
            let signallingTime = begin.duration(to: clock.now).milliseconds
            try client.connect(answer: answered.answer, timeout: .seconds(options.joinTimeout))
            let stages = try await withTaskCancellationHandler {
                try await client.stages()
            } onCancel: {
                client.close()
            }
            try Task.checkCancellation()
            return (
                Member(client: client, session: answered), JoinSample(signalling: signallingTime, stages: stages)
            )
        } catch {
            client.close()
            if let session { await shielded { await session.end() } }
            throw error
        }
    }

    /// Ends the session before the transport: a server that hears of both in the other order has nothing to end.
    func leave(_ member: Member<Media.Client>) async {
        await member.session.end()
        member.client.close()
    }

    /// Ends all, several at once, within `limit`.
    /// - Returns: whether all could be told.
    func leave(_ members: [Member<Media.Client>], within limit: Duration) async -> Bool {
        let isInTime: Void? = try? await LoadGenerator.within(limit, on: clock, else: { CancellationError() }) {
            try await paced(
                count: members.count, rate: .infinity, limit: options.joinsInFlight, clock: clock
            ) { index in
                await leave(members[index])
            }
        }
        if isInTime == nil { for member in members { member.client.close() } }
        return isInTime != nil
    }
}
