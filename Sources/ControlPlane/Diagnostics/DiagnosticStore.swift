/// Where reports and logs of sessions are kept; `Diagnostics.DiagnosticFolder` in the server. All names are the store's
/// own: nothing of a client becomes part of a path.
package protocol DiagnosticStore: Sendable {
    /// Keeps a report and returns the name of its file.
    func keepReport(_ text: String, session: String) async throws(DiagnosticError) -> String

    /// Begins a log, which needs one `close` in the end.
    func openLog(_ kind: DiagnosticLogKind, session: String) async throws(DiagnosticError) -> any SessionLog
}

package enum DiagnosticLogKind: String, Sendable, CaseIterable {
    /// Signalling, hooks and states of a session that is debugged.
    case session
    /// What a client pushes of its own log while it is not debugged.
    case client
}

/// A growing file of one session.
package protocol SessionLog: AnyObject, Sendable {
    var fileName: String { get }

    /// Adds text, with its time, in the order of the calls. Never waits; what finds no room is left out and counted.
    func append(_ text: String)

    /// Returns when all that was added is written. Repeated calls do nothing.
    func close() async
}

package enum DiagnosticError: Error, Hashable, Sendable {
    /// The operator has switched it off.
    case off
    case tooManyFiles
    case folderFull
    case diskFull
    /// Logs open at the same time.
    case tooManyLogs
    case tooManyReports
    /// The file system has not answered in time.
    case timeout
    /// `why` is for the log.
    case storage(_ why: String)

    /// Text for the client; never a path.
    package var info: String {
        switch self {
        case .off: "Not kept: diagnostics are switched off"
        case .tooManyFiles: "Not kept: the server has too many diagnostic files"
        case .folderFull: "Not kept: the server's folder for diagnostics is full"
        case .diskFull: "Not kept: the server has too little free space"
        case .tooManyLogs: "Not kept: too many sessions are being debugged"
        case .tooManyReports: "Not kept: too many bug reports of this session"
        case .timeout, .storage: "Not kept: the server cannot write the file"
        }
    }
}
