import Logging
import RESTHooks

/// What the REST API and the statistics need beside the control plane; given by the assembly.
package struct RESTServices: Sendable {
    /// Of this server, in every object.
    package var nodeId: String
    package var applications: Applications
    /// Makes a picture of a published stream; nil: this server cannot.
    package var snapshot: (@Sendable (_ streamName: String) async -> SnapshotOutcome)?
    /// Sets the log level of one session; nil takes it back.
    package var setSessionLogLevel: @Sendable (_ sessionId: String, Logger.Level?) -> Void
    /// Of this process, now.
    package var process: @Sendable () -> ProcessFigures

    package init(
        nodeId: String, applications: Applications,
        snapshot: (@Sendable (_ streamName: String) async -> SnapshotOutcome)? = nil,
        setSessionLogLevel: @escaping @Sendable (_ sessionId: String, Logger.Level?) -> Void = { _, _ in },
        process: @escaping @Sendable () -> ProcessFigures = { ProcessFigures() }
    ) {
        self.nodeId = nodeId
        self.applications = applications
        self.snapshot = snapshot
        self.setSessionLogLevel = setSessionLogLevel
        self.process = process
    }
}

package enum SnapshotOutcome: Hashable, Sendable {
    case png([UInt8])
    /// Nothing is published under that name.
    case noStream
    /// The stream has no picture that could be decoded; the reason is for people.
    case failed(String)
    /// Too many are being made.
    case busy
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
