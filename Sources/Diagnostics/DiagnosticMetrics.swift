import ControlPlane
import WeirMetrics

/// What is counted of the diagnostic folder.
struct DiagnosticMetrics: Sendable {
    let openLogs: Gauge
    let files: Gauge
    let bytes: Gauge
    let leftOut: Counter
    private let registry: MetricsRegistry

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        openLogs = registry.gauge("weir_diagnostics_open_logs", help: "Logs of sessions that are being written")
        files = registry.gauge(
            "weir_diagnostics_files", help: "Bug reports and logs in the folder when it was last looked at")
        bytes = registry.gauge("weir_diagnostics_bytes", help: "Their size")
        leftOut = registry.counter(
            "weir_diagnostics_lines_left_out_total", help: "Lines of logs that found no room")
    }

    /// - Parameter what: `report`, or the kind of a log.
    func count(_ what: String, _ error: DiagnosticError?) {
        registry.counter(
            "weir_diagnostics_files_total", help: "Bug reports and logs that were asked for, by how that ended",
            labels: [("kind", what), ("result", error?.label ?? "kept")]
        ).increment()
    }
}

extension DiagnosticError {
    /// Value of the metrics label `result`.
    var label: String {
        switch self {
        case .off: "off"
        case .tooManyFiles: "too_many_files"
        case .folderFull: "folder_full"
        case .diskFull: "disk_full"
        case .tooManyLogs: "too_many_logs"
        case .tooManyReports: "too_many_reports"
        case .timeout: "timeout"
        case .storage: "storage"
        }
    }
}
