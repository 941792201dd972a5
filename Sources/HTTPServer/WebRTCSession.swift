import ControlPlane
import HTTPTypes

/// One WHIP or WHEP session: the resource that a POST creates.
actor WebRTCSession {
    /// ICE restarts of one session: so many at once, then one per second (RFC 9725 §5, PATCH flooding).
    static let restartBurst = 5.0

    nonisolated let id: String
    nonisolated let kind: SessionKind
    nonisolated let streamName: String
    nonisolated let mediaSessionId: String
    nonisolated let client: ClientSession
    /// Strong, new with every ICE session (RFC 9725 §4.3.1).
    private(set) var entityTag: String

    private let answer: ICEDescription
    private var remote: Set<ICECredentialPair>
    private var restartTokens = restartBurst
    private var lastRestart = ContinuousClock.now

    init(
        id: String, kind: SessionKind, streamName: String, mediaSessionId: String, client: ClientSession,
        offer: String, answer: String
    ) {
        self.id = id
        self.kind = kind
        self.streamName = streamName
        self.mediaSessionId = mediaSessionId
        self.client = client
        self.answer = ICEDescription(answer)
        remote = ICEDescription(offer).credentials
        entityTag = Self.tag(self.answer.ufrag ?? id)
    }

    enum PatchResult: Hashable, Sendable {
        /// Candidates, which an ICE lite server does not need.
        case trickled
        case restarted(fragment: String, entityTag: String)
    }

    /// Serves a PATCH (RFC 9725 §4.3). A fragment with credentials other than the present ones is an ICE restart.
    func patch(_ fragment: ICEFragment, ifMatch: EntityTag.Condition) async throws(Problem) -> PatchResult {
        guard EntityTag.matchesStrongly(ifMatch, entityTag) else {
            throw Problem(
                .preconditionFailed, "The entity tag is not that of the present ICE session",
                remedy: "Send If-Match with the ETag of the last answer, or If-Match: * to restart ICE.")
        }
        guard let credentials = fragment.credentials, !remote.contains(credentials) else { return .trickled }
        guard remote.count <= 1, answer.credentials.count <= 1 else {
            throw Problem(
                .unprocessableContent, "Without BUNDLE there are several ICE sessions, which cannot be restarted",
                remedy: "Offer all media in one BUNDLE group, as WHIP asks.")
        }
        try spendRestart()
        do {
            let local = try await client.restartICE(
                mediaSessionId: mediaSessionId, ufrag: credentials.ufrag, password: credentials.password)
            remote = [credentials]
            entityTag = Self.tag(local.ufrag)
            let pair = ICECredentialPair(ufrag: local.ufrag, password: local.password)
            return .restarted(fragment: answer.fragment(pair), entityTag: entityTag)
        } catch {
            // RFC 9725 §4.3.3: the session goes on as it was.
            throw Problem(
                .serviceUnavailable, "ICE could not be restarted",
                remedy: "Try again, or DELETE the session and create a new one.",
                headers: [.retryAfter: Problem.retrySoon])
        }
    }

    private func spendRestart() throws(Problem) {
        let now = ContinuousClock.now
        let passed = lastRestart.duration(to: now)
        restartTokens = min(Self.restartBurst, restartTokens + passed / .seconds(1))
        lastRestart = now
        guard restartTokens >= 1 else {
            throw Problem(
                .tooManyRequests, "ICE was restarted too often", remedy: "Wait a second before the next restart.",
                headers: [.retryAfter: Problem.retrySoon])
        }
        restartTokens -= 1
    }

    private static func tag(_ ufrag: String) -> String { "\"\(ufrag)\"" }
}
