/// Bounds of the folder in which reports and logs of sessions are kept.
package struct DiagnosticSettings: Sendable {
    /// The folder; made if it is not there, readable by its owner only.
    package var folder: String
    /// Files of ours in it. Then nothing new is begun; none is ever removed by the server.
    package var maxFiles = 1_000
    /// Bytes of all of them.
    package var maxBytes = 1 << 30
    /// Bytes that must be free on its file system.
    package var minFree = 256 << 20
    /// Bytes of one log.
    package var maxLogBytes = 16 << 20
    /// Logs open at the same time.
    package var maxOpenLogs = 256
    /// Stands at the top of every report.
    package var server: String

    package init(folder: String, server: String) {
        self.folder = folder
        self.server = server
    }
}
