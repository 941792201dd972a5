import Logging
import RESTHooks

/// What the REST API and the statistics need beside the control plane; given by the assembly.
package struct RESTServices: Sendable {
    /// Of this server, in every object.
    package var nodeId: String
    package var applications: Applications
    /// Sets the log level of one session; nil takes it back.
    package var setSessionLogLevel: @Sendable (_ sessionId: String, Logger.Level?) -> Void
    /// Of this process, now.
    package var process: @Sendable () -> ProcessFigures
    /// nil: this server records nothing.
    package var recordings: (any RecordLibrary)?
    /// nil: this server pulls nothing.
    package var pulls: (any StreamPulls)?

    package init(
        nodeId: String, applications: Applications,
        setSessionLogLevel: @escaping @Sendable (_ sessionId: String, Logger.Level?) -> Void = { _, _ in },
        process: @escaping @Sendable () -> ProcessFigures = { ProcessFigures() },
        recordings: (any RecordLibrary)? = nil, pulls: (any StreamPulls)? = nil
    ) {
        self.nodeId = nodeId
        self.applications = applications
        self.setSessionLogLevel = setSessionLogLevel
        self.process = process
        self.recordings = recordings
        self.pulls = pulls
    }
}

package struct ProcessFigures: Hashable, Sendable {
    package var threads: Int
    /// Bytes.
    package var residentMemory: Int
    package var uptime: Duration

    package init(threads: Int = 0, residentMemory: Int = 0, uptime: Duration = .zero) {
        self.threads = threads
        self.residentMemory = residentMemory
        self.uptime = uptime
    }
}
