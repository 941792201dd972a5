/// Settings of all hooks together; what is of one application is in `Application`.
package struct HookSettings: Hashable, Sendable {
    /// False: nobody is asked, everything is allowed (`disable_rest_requests` of the original).
    package var isEnabled: Bool
    /// Of this server, in every body.
    package var nodeId: String
    /// For one answer. A direct call counts from its request on, time in the queue included.
    package var timeout: Duration
    /// POSTs to one application's backend at the same time.
    package var concurrency: Int
    /// Events and calls that one session may have waiting.
    package var sessionQueue: Int
    /// Events of all sessions of one application that may wait.
    package var backlog: Int
    /// Signs the hooks of applications without credentials of their own; empty: none.
    package var secretKey: String
    package var keepAlive: KeepAlive

    /// `StreamKeepAliveEvent` (reference part 1.6).
    package struct KeepAlive: Hashable, Sendable {
        package var isEnabled: Bool
        package var interval: Duration
        package var applications: Set<String>

        package init(
            isEnabled: Bool = false, interval: Duration = .seconds(10), applications: Set<String> = ["defaultApp"]
        ) {
            self.isEnabled = isEnabled
            self.interval = interval
            self.applications = applications
        }
    }

    package init(
        isEnabled: Bool = true, nodeId: String = "weir", timeout: Duration = .seconds(15), concurrency: Int = 64,
        sessionQueue: Int = 256, backlog: Int = 20_000, secretKey: String = "", keepAlive: KeepAlive = KeepAlive()
    ) {
        self.isEnabled = isEnabled
        self.nodeId = nodeId
        self.timeout = timeout
        self.concurrency = concurrency
        self.sessionQueue = sessionQueue
        self.backlog = backlog
        self.secretKey = secretKey
        self.keepAlive = keepAlive
    }

    /// When the backend is back, some call finds out within `timeout`: a third for the wait, half for the probe.
    var breaker: CircuitBreaker.Settings {
        let longest = min(CircuitBreaker.Settings().maxWait, timeout / 3)
        return .init(firstWait: min(.seconds(1), longest), maxWait: longest)
    }

    var probeTimeout: Duration { timeout / 2 }
}
